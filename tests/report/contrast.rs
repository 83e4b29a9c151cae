//! Text can be read on its ground: WCAG 2.1, success criteria 1.4.3 and 1.4.11.

use std::collections::BTreeMap;

/// Text and the ground it stands on: 4.5 at least.
const TEXTS: [(&str, &str); 13] = [
    ("text", "page"),
    ("text", "panel"),
    ("quiet", "page"),
    ("quiet", "panel"),
    ("link", "page"),
    ("added", "page"),
    ("kept-ink", "kept-pale"),
    ("linked-ink", "linked-pale"),
    ("gone-ink", "gone-pale"),
    ("added-ink", "added-pale"),
    ("other-ink", "other-pale"),
    ("bad-ink", "bad-pale"),
    ("page", "kept"),
];
/// Parts of pictures and the ground they stand on: 3 at least.
const SHAPES: [(&str, &str); 6] = [
    ("kept", "page"),
    ("linked", "page"),
    ("added", "page"),
    ("other", "page"),
    ("bad", "page"),
    ("kept", "track"),
];

/// The custom properties of each `:root` block of the style sheet: light, dark, print.
fn schemes() -> Vec<BTreeMap<String, [f64; 3]>> {
    let style = include_str!("../../src/report/style.css");
    let blocks = style
        .split(":root {")
        .skip(1)
        .map(|rest| rest.split('}').next().unwrap());
    let declared = |declaration: &str| {
        let (name, value) = declaration.trim().strip_prefix("--")?.split_once(':')?;
        let digits = value.trim().strip_prefix('#')?;
        let channel = |at: usize| f64::from(u8::from_str_radix(&digits[at..at + 2], 16).unwrap()) / 255.0;
        Some((name.to_owned(), [0, 2, 4].map(channel)))
    };
    blocks
        .map(|block| block.split(';').filter_map(declared).collect())
        .collect()
}

fn luminance(colour: [f64; 3]) -> f64 {
    let linear = colour.map(|c| {
        if c <= 0.03928 {
            c / 12.92
        } else {
            ((c + 0.055) / 1.055).powf(2.4)
        }
    });
    0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
}

#[test]
fn colours_keep_their_distance_in_every_scheme() {
    let schemes = schemes();
    assert_eq!(schemes.len(), 3);
    let pairs = TEXTS
        .map(|pair| (pair, 4.5))
        .into_iter()
        .chain(SHAPES.map(|pair| (pair, 3.0)));
    let mut weak = Vec::new();
    for ((front, ground), least) in pairs {
        for (scheme, colours) in ["light", "dark", "print"].iter().zip(&schemes) {
            let (a, b) = (luminance(colours[front]), luminance(colours[ground]));
            let ratio = (a.max(b) + 0.05) / (a.min(b) + 0.05);
            if ratio < least {
                weak.push(format!("{scheme}: {front} on {ground} has {ratio:.2}, not {least}"));
            }
        }
    }
    assert!(weak.is_empty(), "{weak:#?}");
}
