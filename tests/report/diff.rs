//! `hpcvm image diff` from outside.

use super::fixture::{Fixture, hpcvm};

#[test]
fn images_that_differ_are_told_apart() {
    let (science, plain) = (Fixture::science(), Fixture::plain());
    let [a, b] = [&science, &plain].map(|fixture| fixture.path().to_str().unwrap());

    let output = hpcvm(&["image", "diff", a, b]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for line in [
        "  - libraries.generation.number: 7\n",
        "  - libcuda.so.1: missing (not-found)\n",
        "  - /usr/share/octave: linked folder sha256:",
        "  - file libraries.json: ",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
    assert!(!said.contains("\nFiles") && !said.contains("\nPackages"), "{said}");

    let output = hpcvm(&["--json", "image", "diff", b, a]);
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(told["libraries"][0]["before"], serde_json::Value::Null);
    assert_eq!(told["files"], serde_json::json!([]));

    let output = hpcvm(&["image", "diff", a, a]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .ends_with(": the same image\n")
    );
}
