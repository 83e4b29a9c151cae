//! A kernel from anywhere is refused, or unpacked to no more than is allowed.
#![no_main]

use hpcvm::guest::bzimage::{BzImage, VMLINUX_LIMIT};
use libfuzzer_sys::fuzz_target;

/// Bytes of the setup code before the payload: one sector and four more.
const SETUP: usize = 5 * 512;

fuzz_target!(|bytes: &[u8]| {
    unpack(bytes);
    unpack(&around(bytes));
});

fn unpack(bytes: &[u8]) {
    let Ok(image) = BzImage::parse(bytes) else { return };
    image.compression();
    if let Ok(vmlinux) = image.vmlinux() {
        assert!(vmlinux.len() <= VMLINUX_LIMIT);
    }
}

/// A sound bzImage around this payload (the kernel's Documentation/arch/x86/boot.rst): a fuzzer
/// does not find the header.
fn around(payload: &[u8]) -> Vec<u8> {
    let mut image = vec![0; SETUP];
    let mut put = |offset: usize, bytes: &[u8]| image[offset..offset + bytes.len()].copy_from_slice(bytes);
    put(0x000, b"MZ");
    put(0x03c, &0x40_u32.to_le_bytes());
    put(0x040, b"PE\0\0");
    put(0x1f1, &[4]);
    put(0x1fe, &[0x55, 0xaa]);
    put(0x202, b"HdrS");
    put(0x206, &[0x0f, 2]);
    put(0x211, &[1]);
    put(0x214, &0x10_0000_u32.to_le_bytes());
    put(0x234, &[1]);
    put(0x236, &[0x7f]);
    put(0x24c, &u32::try_from(payload.len()).expect("a fuzzer's input is short").to_le_bytes());
    image.extend(payload);
    image
}
