//! A line from any guest is refused, or read; what is said of a refused one is short.
#![no_main]

use hpcvm::guest::control::Report;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &str| {
    if let Err(error) = Report::parse(line) {
        assert!(error.0.chars().count() <= 200);
    }
});
