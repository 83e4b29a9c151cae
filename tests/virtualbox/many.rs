//! Machines beside each other, on one image that none of them writes to.

use std::fs;

use super::harness::{Place, tree, wait};
use super::jobs::disk;

/// Runs `count` launches at once; each says who it is.
fn at_once(place: &Place, count: usize) {
    let base = fs::read(disk(place)).unwrap();
    let children: Vec<_> = (0..count)
        .map(|index| {
            let script = format!("echo machine {index}; exit {}", index % 100);
            place
                .run(&["--boot-timeout", "9m", "--", "sh", "-c", &script])
                .spawn()
                .unwrap()
        })
        .collect();
    for (index, child) in children.into_iter().enumerate() {
        let ran = wait(child);
        assert_eq!(ran.stdout, format!("machine {index}\n"), "{}", ran.stderr);
        assert_eq!(ran.code(), i32::try_from(index % 100).unwrap(), "{}", ran.stderr);
    }
    place.assert_clean();
    assert!(
        fs::read(disk(place)).unwrap() == base,
        "the image's disk was written to"
    );
}

#[test]
fn eight_at_once() {
    let Some(tree) = tree("eight_at_once") else { return };
    at_once(&Place::new(tree), 8);
}

#[test]
fn thirty_two_at_once() {
    let Some(tree) = tree("thirty_two_at_once") else { return };
    at_once(&Place::new(tree), 32);
}

#[test]
#[ignore = "makes the store of ci/virtualbox/bench"]
fn store_for_the_bench() {
    let store = std::env::var_os("HPCVM_BENCH_STORE").expect("ci/virtualbox/bench names a folder");
    super::guest::store_image(store.as_ref(), super::harness::IMAGE);
}
