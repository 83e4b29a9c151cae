//! From a recipe to an image that is what its manifest says, and the same every time.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};

use serde_json::Value;

use super::harness::{NOBODY, Place, Told, root_or_skip};
use super::images::{MINIMAL, copy, manifest, minimal, recipe};

/// Names of the steps that a build with `--json` told, and their details.
fn steps(told: &Told) -> Vec<(String, String)> {
    let said = told.err();
    let events = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let word = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
    events
        .filter(|event| event["event"] != "end")
        .map(|event| (word(&event, "step"), word(&event, "detail")))
        .collect()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn an_unchanged_recipe_is_not_built_again() {
    let place = minimal();
    let file = recipe(MINIMAL);
    let verified = place.line(&format!("image verify {MINIMAL}")).success();
    assert!(verified.ends_with(": 5 files are as the manifest says\n"), "{verified}");

    let again = place.hpcvm(["build".as_ref(), file.as_os_str()]);
    assert!(again.success().contains(" unchanged: disk "), "{}", again.out());
    assert_eq!(again.err(), "");
    let first = json(
        &place
            .hpcvm(["build".as_ref(), "--json".as_ref(), file.as_os_str()])
            .success(),
    );
    assert_eq!(first["fresh"], false);

    let plan = json(
        &place
            .hpcvm(["plan".as_ref(), "--json".as_ref(), file.as_os_str()])
            .success(),
    );
    assert_eq!((&plan["plan"], &plan["image"]), (&1.into(), &first["image"]));
    assert!(
        plan["steps"]
            .as_array()
            .unwrap()
            .iter()
            .all(|step| step["cached"] == true)
    );
    assert_eq!(plan["missing"], Value::Array(Vec::new()));
    place.nothing_left();
}

#[test]
fn a_manifest_tells_what_was_taken_out() {
    let place = minimal();
    let manifest = manifest(&place, MINIMAL);
    let services = manifest["services-removed"].as_array().unwrap();
    assert!(
        services.iter().any(|service| service["name"] == "dpkg-db-backup"),
        "{services:?}"
    );
    let saved = manifest["purge"].as_array().unwrap().iter();
    let saved: u64 = saved.map(|rule| rule["bytes"].as_u64().unwrap()).sum();
    let bytes = |step: &Value| step["bytes"].as_u64().unwrap();
    let sizes = manifest["steps"].as_array().unwrap();
    assert!(saved > 0 && bytes(&sizes[0]) > bytes(sizes.last().unwrap()) + saved / 2);
    let shown = place.line(&format!("image show {MINIMAL}")).success();
    let release = manifest["kernel"]["release"].as_str().unwrap();
    assert!(shown.contains(release), "{shown}");
}

#[test]
fn a_changed_overlay_does_not_bootstrap_again() {
    drop(minimal());
    let place = Place::with_own_store();
    let include = recipe("include/minimal");
    let text = format!(
        "recipe: 1\nname: overlaid\ninclude: [\"{}\"]\nbase: {{debian: bookworm, architecture: i386}}\n\
         kernel: {{package: linux-image-686}}\noverlays: [site]\n",
        include.display()
    );
    place.write("overlaid.yaml", text);
    place.write("site/etc/site", "one\n");
    let build = || place.line("build --json overlaid.yaml");
    let first = json(&build().success());
    place.write("site/etc/site", "two\n");
    let plan = json(&place.line("plan --json overlaid.yaml").success());
    let cached: Vec<_> = plan["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["cached"] == true)
        .collect();
    assert_eq!(cached[..4], [true, true, true, false], "{plan}");
    assert!(plan["image"].is_null());

    let told = build();
    let second = json(&told.success());
    assert_eq!(second["fresh"], true);
    assert_ne!(first["image"], second["image"]);
    let steps = steps(&told);
    let has = |name: &str| steps.iter().any(|(step, _)| step == name);
    assert!(
        has("overlays") && has("root") && has("disk") && !has("resolve"),
        "{steps:?}"
    );
    let worked = |(step, detail): &&(String, String)| {
        ["fetch", "bootstrap"].contains(&step.as_str()) && (detail.contains("fetching") || detail.contains("unpacking"))
    };
    assert_eq!(steps.iter().find(worked), None);

    let said = place.run("overlaid", &[], "cat /etc/site").success();
    assert_eq!(said, "two\n");
    place.nothing_left();
}

/// Other user, other cache, other store, other folder: the same image.
#[test]
fn two_builds_give_the_same_image() {
    let shared = minimal();
    let there = |place: &Place, options: &[&str], file: &str| {
        let words = ["build", "--json"].iter().chain(options).chain([&file]).copied();
        json(&place.hpcvm(words).success())["image"].clone()
    };
    let file = recipe(MINIMAL);
    // The archive may have moved on since the cached image was resolved.
    let first = there(&shared, &["--update", "--force"], file.to_str().unwrap());

    let mut place = Place::alone();
    for name in [MINIMAL, "include/minimal"] {
        place.write(&format!("recipes/{name}.yaml"), fs::read(recipe(name)).unwrap());
    }
    if root_or_skip("two_builds_give_the_same_image, as another user") {
        place = place.owned_by(NOBODY);
    }
    let file = format!("recipes/{MINIMAL}.yaml");
    assert_eq!(there(&place, &[], &file), first);
    assert_eq!(there(&place, &["--force"], &file), first);
    let said = place.run(MINIMAL, &[], "id -u; echo > made; echo $((2 + 3))").success();
    assert!(said.ends_with("\n5\n"), "{said}");
    place.nothing_left();
}

#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    let place = minimal();
    let folder = copy(&place, MINIMAL);
    let verify = || place.hpcvm(["image".as_ref(), "verify".as_ref(), folder.as_os_str()]);
    verify().success();
    for name in ["image.vdi", "kernel", "initrd", "initrd-full", "files.json"] {
        let path = folder.join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let middle = file.metadata().unwrap().len() / 2;
        let mut byte = [0];
        file.read_exact_at(&mut byte, middle).unwrap();
        file.write_all_at(&[byte[0] ^ 1], middle).unwrap();
        let told = verify();
        assert_eq!(told.code(), 1, "{name}: {}", told.out());
        assert!(told.out().lines().nth(1).unwrap().starts_with(name), "{}", told.out());
        file.write_all_at(&byte, middle).unwrap();
    }
    verify().success();
}

#[test]
fn what_needs_no_image_works() {
    let place = Place::alone();
    assert!(place.line("doctor --for run").success().contains("problems: 0"));
    assert!(place.line("doctor").success().contains("mmdebstrap"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(place.line(&format!("completions {shell}")).success().contains("hpcvm"));
    }
    assert!(place.line("man").success().contains(".TH hpcvm 1"));
    let file = recipe(MINIMAL);
    place.hpcvm(["check".as_ref(), file.as_os_str()]).success();
    assert_eq!(json(&place.line("schema").success())["type"], "object");
    let plan = place.hpcvm(["plan".as_ref(), file.as_os_str()]).success();
    assert!(plan.contains("bootstrap  to do"), "{plan}");
    let left: Vec<_> = fs::read_dir(place.path("home")).unwrap().collect();
    assert_eq!(left.len(), 0, "nothing is written to look at things");
}
