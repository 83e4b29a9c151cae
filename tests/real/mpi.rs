//! Ranks of one MPI program inside one guest.

use std::path::Path;

use super::harness::{Place, Told};
use super::images::{assert_valid, place_with, recipe};

const MPI: &str = "mpi-i386";

/// Compiles and starts `tests/science/ring.c` on `ranks` ranks of a fresh guest.
fn ring(place: &Place, ranks: u32, options: &[&str]) -> Told {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/science/ring.c");
    let input = format!("--input={}:/tmp/ring.c", source.display());
    let options: Vec<&str> = options.iter().copied().chain([input.as_str()]).collect();
    let script = format!("mpiexec -n {ranks} tcc -L/usr/local/lib/tcc -lmpich -run /tmp/ring.c");
    place.run(MPI, &options, &script)
}

#[test]
fn the_mpi_guest_passes_its_validations() {
    let place = place_with(&recipe(MPI));
    let said = place.line(&format!("test {MPI}")).success();
    assert_valid(&said, 8);
    place.nothing_left();
}

#[test]
fn ranks_in_one_guest_talk_to_each_other() {
    let place = place_with(&recipe(MPI));
    // Each lap adds 0 + 1 + ... to the token, and there are 20.
    assert_eq!(ring(&place, 2, &[]).success(), "ranks 2 token 20 sums right\n");
    // More ranks than processors, on one too: slow, not stuck.
    assert_eq!(
        ring(&place, 3, &["--cpus", "1"]).success(),
        "ranks 3 token 60 sums right\n"
    );
    place.nothing_left();
}

#[test]
fn a_rank_that_fails_ends_the_others_and_the_job() {
    let place = place_with(&recipe(MPI));
    // Rank 0 waits for rank 1 then, and would wait for ever.
    let told = ring(&place, 2, &["--env=FAILING=1"]);
    // Hydra gives the status of the rank that failed, or of the other, which it kills: whichever it collects.
    assert!([3, 9].contains(&told.code()), "{}: {}", told.code(), told.err());
    assert_eq!(told.out().matches("ranks").count(), 0, "{}", told.out());
    place.nothing_left();
}
