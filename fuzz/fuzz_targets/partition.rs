//! A partition table from anywhere is refused, or survives being written again.
#![no_main]

use hpcvm::image::partition::PartitionTable;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: ([u8; 32], [u8; 32], u64)| {
    let (first, second, disk) = input;
    let mut sector = [0; 512];
    sector[446..478].copy_from_slice(&first);
    sector[478..510].copy_from_slice(&second);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    if let Ok(table) = PartitionTable::decode(&sector, disk) {
        let written = table.encode(&[], disk).expect("a checked table can be written");
        assert_eq!(PartitionTable::decode(&written, disk), Ok(table));
    }
});
