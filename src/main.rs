//! The hpcvm program.
fn main() {}
