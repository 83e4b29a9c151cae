//! Jobs from end to end.

use super::harness::{Place, told, tree};

#[test]
fn a_job_s_output_and_status_come_back() {
    let Some(tree) = tree("a_job_s_output_and_status_come_back") else { return };
    let place = Place::new(tree);
    let ran = told(&mut place.run(&["--timing", "--", "echo", "hello", "there"]));
    assert_eq!(ran.success(), "hello there\n");
    eprintln!("{}", ran.stderr);
    place.assert_clean();
}
