//! How library code says what it is doing, without printing.

/// Listens to the steps of a long undertaking.
pub trait Progress: Sync {
    /// The step `name` begins, or, where it is the one that last began, has come to `detail`.
    /// Names are short and stable (`bootstrap`), details are for readers (`unpacking libc6`).
    fn step(&self, name: &str, detail: &str);
}

/// Listens to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _name: &str, _detail: &str) {}
}
