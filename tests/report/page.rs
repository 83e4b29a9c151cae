//! What the page says.

use std::fs;

use hpcvm::report::{Facts, render};

use super::fixture::{Fixture, HOSTILE, hpcvm};

#[test]
fn a_page_tells_every_part_of_the_image() {
    let page = Fixture::science().page();
    for part in [
        "<h1>science-i386</h1>",
        // Before and after.
        "392.6 MiB",
        "Purge rules applied",
        "Libraries linked",
        "24.0 MiB",
        // Rules, services, packages, licences.
        "Message catalogues, locale archives",
        "dpkg-db-backup",
        "python3-scipy",
        "1.2-3+deb12u1",
        "libc6&#x2f;copyright",
        "36.0 MiB",
        // Libraries: where they went, and why.
        "generation 7",
        "site-libs",
        "needed before the repository is mounted",
        "no such file in the guest",
        "and 9 more",
        "&#x2f;usr&#x2f;share&#x2f;octave",
        // Origin and proof.
        "minimal-i386.yaml",
        "mksquashfs version 4.5.1",
        "octave-cli --eval &#x27;exit(3)&#x27;",
        "OMP_NUM_THREADS=1",
        // Names of any bytes.
        r"program \xff &amp; &lt;co&gt;",
    ] {
        assert!(page.contains(part), "the page lacks {part}");
    }
}

#[test]
fn an_image_whose_libraries_were_not_weighed_has_no_such_part() {
    let page = Fixture::plain().page();
    for part in ["id=\"libraries\"", "#libraries", "class=\"group-linked\"", ">Linked<"] {
        assert!(!page.contains(part), "{part}");
    }
    assert!(page.contains("id=\"packages\""));
}

#[test]
fn the_same_image_gives_the_same_page() {
    let (fixture, other) = (Fixture::science(), Fixture::science());
    // From another folder, at another time.
    assert_eq!(fixture.page(), other.page());
    let image = fixture.image();
    assert_eq!(render(&Facts::read(&image).unwrap()).unwrap(), fixture.page());
}

#[test]
fn nothing_of_an_image_is_written_as_it_is() {
    let page = Fixture::hostile().page();
    assert!(!page.contains("alert('x')") && !page.contains("<img") && !page.contains("onerror=\""));
    assert!(page.contains("&lt;script&gt;alert(&#x27;x&#x27;)"));
    assert!(!page.contains('\u{202e}') && page.contains(r"\u{202e}\xff"));
    assert_eq!(page.matches("<script>").count(), 1);
    assert_eq!(page.matches("</script>").count(), 1);
    assert_eq!(page.matches("<style>").count(), 1);
    assert!(HOSTILE.contains("<script>"), "the text is not hostile any more");
}

#[test]
fn nothing_is_loaded_from_anywhere() {
    let page = Fixture::science().page();
    assert!(page.contains("default-src &#x27;none&#x27;"));
    for word in ["http:", "https:", "src=", "url(", "@import", "<link", " style=\""] {
        assert!(!page.contains(word), "{word}");
    }
}

#[test]
fn every_reference_leads_somewhere_and_ids_are_single() {
    let page = Fixture::science().page();
    let values = |attribute: &str| -> Vec<String> {
        let start = format!("{attribute}=\"");
        let parts = page.split(&start).skip(1);
        parts.map(|part| part.split('"').next().unwrap().to_owned()).collect()
    };
    let mut ids = values(" id");
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count);
    assert!(count > 10);
    let links = values("href")
        .into_iter()
        .map(|link| link.trim_start_matches('#').to_owned());
    let labels = values("aria-labelledby");
    for id in links.chain(labels.iter().flat_map(|ids| ids.split(' ')).map(str::to_owned)) {
        assert!(ids.contains(&id), "{id}");
    }
}

#[test]
fn the_page_goes_into_a_file() {
    let fixture = Fixture::science();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report & co.html");
    let output = fixture.report(file.to_str().unwrap());
    assert!(output.status.success());
    assert!(output.stdout.is_empty());
    assert_eq!(fs::read_to_string(&file).unwrap(), fixture.page());

    let path = fixture.path().to_str().unwrap();
    let told = hpcvm(&["--json", "image", "show", path, "--report", file.to_str().unwrap()]);
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(told["file"], file.to_str().unwrap());
    assert_eq!(told["length"], fs::metadata(&file).unwrap().len());

    let failed = fixture.report(folder.path().to_str().unwrap());
    assert_eq!(failed.status.code(), Some(122));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("error[HV1301]"));
}

#[test]
fn lists_of_another_image_are_refused() {
    for (name, damage) in [("files.json", "{\"files\":1,\"entries\":[]}"), ("libraries.json", "")] {
        let fixture = Fixture::science();
        fs::write(fixture.path().join(name), damage).unwrap();
        let output = fixture.report("-");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(121), "{said}");
        assert!(said.contains("error[HV1202]") && said.contains(name), "{said}");
        assert!(output.stdout.is_empty());
    }
}
