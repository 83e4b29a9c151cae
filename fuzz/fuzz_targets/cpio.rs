//! A cpio archive from anywhere is refused, or gives entries that can be written again.
#![no_main]

use hpcvm::guest::cpio::{CpioEntry, CpioReader, CpioWriter};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let entries: Result<Vec<CpioEntry>, _> = CpioReader::new(bytes, 1 << 20).collect();
    let Ok(entries) = entries else { return };
    let mut writer = CpioWriter::new(Vec::new());
    if entries.iter().all(|entry| writer.append(entry).is_ok()) {
        let archive = writer.finish().expect("memory can be written to");
        let again: Result<Vec<CpioEntry>, _> = CpioReader::new(&archive[..], 1 << 20).collect();
        assert_eq!(again.expect("what was written can be read"), entries);
    }
});
