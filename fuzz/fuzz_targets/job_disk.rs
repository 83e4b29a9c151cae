//! A job description from anywhere is refused, or survives being written again.
#![no_main]

use hpcvm::guest::job_disk::{HEADER_LENGTH, JobDescription, MAGIC, VERSION};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = JobDescription::decode(bytes);
    // The same bytes as records behind a right header: a fuzzer does not find a checksum.
    let mut disk = Vec::with_capacity(HEADER_LENGTH + bytes.len());
    disk.extend_from_slice(MAGIC);
    disk.extend_from_slice(&VERSION.to_le_bytes());
    disk.extend_from_slice(&u32::try_from(bytes.len()).expect("a fuzzer's input is short").to_le_bytes());
    disk.extend_from_slice(&crc32fast::hash(bytes).to_le_bytes());
    disk.extend_from_slice(&[0; 4]);
    disk.extend_from_slice(bytes);
    let Ok(job) = JobDescription::decode(&disk) else { return };
    let written = job.encode().expect("what was read can be written");
    assert_eq!(JobDescription::decode(&written), Ok(job));
});
