//! The kernel stub's LZ4 decoder, compiled for this machine and compared with the LZ4 library.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io::Write};

use lz4::block::CompressionMode;

/// Decodes the block on standard input to as many bytes as the first argument says. The output
/// stands right before the end of its memory, so that a byte too many is a crash.
const PROGRAM: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "lz4.h"

static unsigned char *fenced(unsigned length)
{
	unsigned pages = (length + 4095) & ~4095u;
	unsigned char *start = mmap(0, pages + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(start + pages, 4096, PROT_NONE);
	return start + pages - length;
}

int main(int argc, char **argv)
{
	static unsigned char block[1 << 20];
	unsigned stored = fread(block, 1, sizeof block, stdin), length = atoi(argv[argc - 1]);
	unsigned char *in = fenced(stored), *out = fenced(length);
	for (unsigned i = 0; i < stored; i++)
		in[i] = block[i];
	if (!lz4_block(in, stored, out, length))
		return 1;
	fwrite(out, 1, length, stdout);
	return 0;
}
"#;

fn compiled(folder: &Path) -> PathBuf {
    let (source, program) = (folder.join("decode.c"), folder.join("decode"));
    fs::write(&source, PROGRAM).unwrap();
    let include = concat!("-I", env!("CARGO_MANIFEST_DIR"), "/src/guest/kernel-stub");
    let compiler = Command::new("cc")
        .args(["-Os", "-Wall", "-Werror", include, "-o"])
        .arg(&program)
        .arg(&source)
        .status();
    assert!(compiler.unwrap().success());
    program
}

/// What the decoder makes of `block`; `None` when it refuses it. It must not crash.
fn decode(program: &Path, block: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut command = Command::new(program);
    command
        .arg(length.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(block).unwrap();
    let output = child.wait_with_output().unwrap();
    match output.status.code() {
        Some(0) => Some(output.stdout),
        Some(1) => None,
        other => panic!("the decoder ended with {other:?}"),
    }
}

/// Bytes that repeat themselves more or less, the same at every run.
fn sample(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut next = |below: u32| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state % below
    };
    let mut bytes: Vec<u8> = Vec::new();
    while bytes.len() < length {
        let run = next(600) as usize;
        if bytes.is_empty() || next(3) == 0 {
            bytes.extend((0..run).map(|_| next(256).to_le_bytes()[0]));
        } else {
            // A distance below the run's length overlaps itself, as in a long run of one byte.
            let farthest = if next(2) == 0 { 8 } else { 70_000 };
            let back = 1 + next(farthest) as usize;
            let from = bytes.len().saturating_sub(back);
            for index in 0..run {
                bytes.push(bytes[from + index]);
            }
        }
    }
    bytes.truncate(length);
    bytes
}

#[test]
fn the_stub_decodes_what_the_library_encodes() {
    let folder = tempfile::tempdir().unwrap();
    let program = compiled(folder.path());
    for (seed, length) in [1, 4, 12, 13, 14, 15, 16, 19, 270, 4096, 65_536, 100_000, 300_000]
        .into_iter()
        .enumerate()
    {
        let bytes = sample(u32::try_from(seed).unwrap(), length);
        for mode in [CompressionMode::FAST(1), CompressionMode::HIGHCOMPRESSION(12)] {
            let block = lz4::block::compress(&bytes, Some(mode), false).unwrap();
            assert!(
                decode(&program, &block, length) == Some(bytes.clone()),
                "{length} bytes, {mode:?}"
            );
            assert_eq!(decode(&program, &block, length + 1), None);
            assert_eq!(decode(&program, &block, length - 1), None);
        }
    }
}

#[test]
fn a_damaged_block_is_refused_without_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let program = compiled(folder.path());
    let bytes = sample(7, 3000);
    let block = lz4::block::compress(&bytes, None, false).unwrap();
    for cut in (1..block.len()).step_by(block.len() / 40) {
        assert_eq!(decode(&program, &block[..cut], bytes.len()), None, "cut to {cut} bytes");
    }
    let mut refused = 0;
    for index in (0..block.len()).step_by(block.len() / 150) {
        let mut damaged = block.clone();
        damaged[index] ^= 0xff;
        let decoded = decode(&program, &damaged, bytes.len());
        assert!(decoded.as_ref() != Some(&bytes), "byte {index} does not matter");
        refused += usize::from(decoded.is_none());
    }
    assert!(refused > 0);
}
