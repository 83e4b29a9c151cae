//! Lock files: the same packages on another host, or no build.

use std::fs;

use serde_json::Value;

use super::harness::Place;
use super::images::{MINIMAL, minimal, recipe};

const LOCK: &str = "recipes/minimal-i386.lock.json";
const RECIPE: &str = "recipes/minimal-i386.yaml";

fn put_recipe(place: &Place) {
    for name in [MINIMAL, "include/minimal"] {
        place.write(&format!("recipes/{name}.yaml"), fs::read(recipe(name)).unwrap());
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_locked_recipe_is_built_from_its_lock_alone() {
    drop(minimal());
    let here = Place::with_own_store();
    put_recipe(&here);
    here.line(&format!("lock --check {RECIPE}")).fails(120, "HV1605");
    let told = here.line(&format!("lock {RECIPE}")).success();
    assert!(told.starts_with(&format!("{LOCK}: written, ")), "{told}");
    let lock = fs::read_to_string(here.work(LOCK)).unwrap();
    assert!(here.line(&format!("lock {RECIPE}")).success().contains(": unchanged, "));
    here.line(&format!("lock --check {RECIPE}")).success();
    here.line(&format!("build --update {RECIPE}")).fails(120, "HV1606");
    let image = json(&here.line(&format!("build --json {RECIPE}")).success())["image"].clone();

    // A host that has never asked the archive which packages there are, and does not.
    let there = Place::alone();
    put_recipe(&there);
    there.write(LOCK, &lock);
    let told = there.line(&format!("build --json {RECIPE}"));
    assert_eq!(json(&told.success())["image"], image);
    assert!(!told.err().contains("\"resolve\""), "{}", told.err());

    // A package that is not what was locked stops the build, and nothing of it stays.
    let first = json(&lock)["packages"][0]["sha256"].as_str().unwrap().to_owned();
    there.write(LOCK, lock.replace(&first, &"0".repeat(64)));
    there.line(&format!("build {RECIPE}")).fails(122, "HV2004");
    let images = json(&there.line("image ls --json").success());
    assert_eq!(images.as_array().map(Vec::len), Some(1), "{images}");

    // So does a recipe that asks for something else by now.
    there.write(LOCK, &lock);
    let text = fs::read_to_string(there.work(RECIPE)).unwrap();
    there.write(RECIPE, format!("{text}packages: [bc]\n"));
    there.line(&format!("build {RECIPE}")).fails(120, "HV1604");
    there.nothing_left();
}
