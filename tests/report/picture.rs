//! Pictures as Chromium writes them: PNG of 8 bits a channel, not interlaced (ISO/IEC 15948).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What tells a drawn page from a blank one.
pub(crate) struct Picture {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// How many colours there are.
    pub(crate) colours: usize,
    /// Mean of all channels, 0 to 255.
    pub(crate) brightness: u64,
}

impl Picture {
    pub(crate) fn read(path: &Path) -> Self {
        Self::of(&fs::read(path).unwrap())
    }

    fn of(file: &[u8]) -> Self {
        let (header, data) = chunks(file.strip_prefix(b"\x89PNG\r\n\x1a\n").expect("a PNG"));
        let number = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().unwrap()) as usize;
        let (width, height) = (number(0), number(4));
        let channels = match &header[8..] {
            [8, 2, 0, 0, 0] => 3,
            [8, 6, 0, 0, 0] => 4,
            other => panic!("not a picture of Chromium's: {other:?}"),
        };
        let data = miniz_oxide::inflate::decompress_to_vec_zlib(&data).unwrap();
        let (mut last, mut colours, mut sum) = (vec![0; width * channels], BTreeSet::new(), 0);
        for line in data.chunks_exact(1 + width * channels) {
            last = unfiltered(line[0], &line[1..], &last, channels);
            for pixel in last.chunks_exact(channels) {
                colours.insert([pixel[0], pixel[1], pixel[2]]);
                sum += pixel[..3].iter().map(|&channel| u64::from(channel)).sum::<u64>();
            }
        }
        let brightness = sum / (3 * width * height) as u64;
        Self {
            width,
            height,
            colours: colours.len(),
            brightness,
        }
    }
}

/// The header's content, and that of all data chunks.
fn chunks(mut rest: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut header, mut data) = (Vec::new(), Vec::new());
    while let [a, b, c, d, kind @ ..] = rest {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let (kind, content) = kind.split_at(4);
        match kind {
            b"IHDR" => header.extend_from_slice(&content[..length]),
            b"IDAT" => data.extend_from_slice(&content[..length]),
            _ => {}
        }
        rest = &content[length + 4..];
    }
    (header, data)
}

/// A line as it was before its filter.
fn unfiltered(filter: u8, line: &[u8], above: &[u8], channels: usize) -> Vec<u8> {
    let mut plain: Vec<u8> = Vec::with_capacity(line.len());
    for (at, byte) in line.iter().enumerate() {
        let before = at.checked_sub(channels);
        let left = before.map_or(0, |before| plain[before]);
        let corner = before.map_or(0, |before| above[before]);
        let predicted = match filter {
            0 => 0,
            1 => left,
            2 => above[at],
            3 => u8::try_from(u16::midpoint(left.into(), above[at].into())).unwrap(),
            4 => nearest(left, above[at], corner),
            _ => panic!("no filter is called {filter}"),
        };
        plain.push(byte.wrapping_add(predicted));
    }
    plain
}

/// Paeth's predictor.
fn nearest(left: u8, above: u8, corner: u8) -> u8 {
    let [a, b, c] = [left, above, corner].map(i16::from);
    let distances = [b - c, a - c, a + b - 2 * c].map(i16::abs);
    match distances {
        [first, second, third] if first <= second && first <= third => left,
        [_, second, third] if second <= third => above,
        _ => corner,
    }
}

#[test]
fn a_picture_of_two_pixels_is_read() {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let data = miniz_oxide::deflate::compress_to_vec_zlib(&[1, 10, 20, 30, 1, 2, 3, 2, 0, 0, 0, 0, 0, 0], 6);
    let header = [0, 0, 0, 2, 0, 0, 0, 2, 8, 2, 0, 0, 0];
    for (kind, content) in [(b"IHDR", &header[..]), (b"IDAT", &data), (b"IEND", &[])] {
        file.extend(u32::try_from(content.len()).unwrap().to_be_bytes());
        file.extend([kind, content, &[0; 4]].concat());
    }
    let picture = Picture::of(&file);
    assert_eq!(
        (picture.width, picture.height, picture.colours, picture.brightness),
        (2, 2, 2, 21)
    );
}
