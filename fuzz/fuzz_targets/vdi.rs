//! A VDI from anywhere is refused, or can be read to its end.
#![no_main]

use std::io::{Cursor, Read};

use hpcvm::image::vdi::DiskReader;
use libfuzzer_sys::fuzz_target;

/// More than the files the fuzzer makes hold; a sparse disk may claim much more.
const READ_MAX: u64 = 4 << 20;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(disk) = DiskReader::open(Cursor::new(bytes)) {
        let size = disk.header().disk_size;
        let read = std::io::copy(&mut disk.take(READ_MAX), &mut std::io::sink());
        assert_eq!(read.expect("a checked image can be read"), size.min(READ_MAX));
    }
});
