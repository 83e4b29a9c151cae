//! The merged-/usr layout: from Debian 12 on, `/bin`, `/sbin` and `/lib*` are links into `/usr`.

use super::tree::{Tree, TreePath};

/// The folders of the root that are links into `/usr`.
pub(super) const ALIASES: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// Suites older than Debian 12, whose trees are not merged.
const UNMERGED: [&str; 8] = [
    "squeeze",
    "wheezy",
    "jessie",
    "stretch",
    "buster",
    "bullseye",
    "oldoldstable",
    "oldoldoldstable",
];

/// Whether trees of `suite` have the merged layout.
#[must_use]
pub(super) fn is_merged(suite: &str) -> bool {
    !UNMERGED.contains(&suite)
}

/// Where `path` really stands in a merged tree: `bin/sh` is `usr/bin/sh`. The links themselves
/// stay where they are.
#[must_use]
pub(crate) fn merged(path: TreePath) -> TreePath {
    let bytes = path.as_bytes();
    let Some(slash) = bytes.iter().position(|&byte| byte == b'/') else {
        return path;
    };
    if !ALIASES.iter().any(|alias| alias.as_bytes() == &bytes[..slash]) {
        return path;
    }
    let moved = [b"usr/", bytes].concat();
    TreePath::new(&moved).expect("a valid path below usr/ is valid")
}

/// Where an entry at `path` comes to stand: its folder's links are followed inside the tree as far
/// as there are folders; the last component is not.
#[must_use]
pub(super) fn placed(tree: &Tree, path: &TreePath) -> TreePath {
    let mut folder = path.parent();
    while let Some(ancestor) = folder {
        if ancestor.as_bytes().is_empty() {
            break;
        }
        if let Some(real) = tree.resolve(&ancestor) {
            let rest = &path.as_bytes()[ancestor.as_bytes().len()..];
            let joined = [real.as_bytes(), rest].concat();
            return TreePath::new(&joined).expect("components of valid paths are valid");
        }
        folder = ancestor.parent();
    }
    path.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_below_an_alias_moves() {
        let cases = [
            ("bin/sh", "/usr/bin/sh"),
            ("lib", "/lib"),
            ("lib64/ld.so", "/usr/lib64/ld.so"),
            ("usr/lib/x", "/usr/lib/x"),
            ("library/x", "/library/x"),
        ];
        for (path, expected) in cases {
            let path = TreePath::new(path.as_bytes()).unwrap();
            assert_eq!(merged(path).to_string(), expected);
        }
    }
}
