//! A result disk from any guest is refused, or read without harm.
#![no_main]

use hpcvm::guest::result_disk::{Ending, ResultHeader, blank};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = ResultHeader::decode(bytes);
    // The same bytes behind the right magic and version.
    let mut header = blank();
    let after = &mut header[12..];
    let length = bytes.len().min(after.len());
    after[..length].copy_from_slice(&bytes[..length]);
    if let Some(ResultHeader { ending: Ending::Killed(signal), .. }) = ResultHeader::decode(&header) {
        assert!((1..=64).contains(&signal), "no signal is {signal}");
    }
});
