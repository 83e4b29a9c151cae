//! Identifiers: derived from content, so that building twice gives the same image, or random, for what lives
//! as long as a job.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};

use crate::digest::{Digest, Hasher};

/// A UUID, in the byte order of its text form.
///
/// Its bits are those of version 8 (RFC 9562, section 5.8: vendor-specific) where it derives from something, and of
/// version 4 (section 5.4) where it is random, in the variant that RFC 4122 defined, so that it is never nil.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Uuid([u8; 16]);

impl Uuid {
    /// The UUID that `content` has for `purpose`: the first 16 bytes of the SHA-256 of both,
    /// with the version and variant bits set.
    #[must_use]
    pub fn derive(purpose: &str, content: &Digest) -> Self {
        let mut hasher = Hasher::default();
        hasher.field(purpose.as_bytes()).field(content.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.finish().as_bytes()[..16]);
        Self::with_version(8, bytes)
    }

    /// A UUID that nothing else has (version 4), from the kernel's generator.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; 16];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Self::with_version(4, bytes))
    }

    /// `bytes` with the version's bits and those of the variant of RFC 4122.
    const fn with_version(version: u8, mut bytes: [u8; 16]) -> Self {
        bytes[6] = bytes[6] & 0x0f | version << 4;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }

    /// The same UUID from the mixed order in which VDI headers store it: the first three fields
    /// little-endian.
    #[must_use]
    pub const fn from_mixed_endian(bytes: [u8; 16]) -> Self {
        Self(swapped(bytes))
    }

    /// In the mixed order of VDI headers: the first three fields little-endian.
    #[must_use]
    pub const fn to_mixed_endian(self) -> [u8; 16] {
        swapped(self.0)
    }

    /// Whether all bits are zero.
    #[must_use]
    pub fn is_nil(&self) -> bool {
        self.0 == [0; 16]
    }
}

/// Reverses the first three fields; its own inverse.
const fn swapped(b: [u8; 16]) -> [u8; 16] {
    [
        b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15],
    ]
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_and_contents_differ_and_the_bits_are_set() {
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let uuid = Uuid::derive("create", &one);
        assert_eq!(uuid, Uuid::derive("create", &one));
        assert_ne!(uuid, Uuid::derive("modify", &one));
        assert_ne!(uuid, Uuid::derive("create", &two));
        let text = uuid.to_string();
        assert_eq!(text.len(), 36);
        assert_eq!(&text[14..15], "8", "version in {text}");
        assert!("89ab".contains(&text[19..20]), "variant in {text}");
    }

    #[test]
    fn random_ones_differ() {
        let (one, two) = (Uuid::random().unwrap(), Uuid::random().unwrap());
        assert_ne!(one, two);
        let text = one.to_string();
        assert_eq!(&text[14..15], "4", "version in {text}");
        assert!("89ab".contains(&text[19..20]), "variant in {text}");
    }

    #[test]
    fn the_mixed_order_is_that_of_other_tools() {
        // Python: uuid.UUID("00112233-4455-6677-8899-aabbccddeeff").bytes_le
        let text = "00112233-4455-6677-8899-aabbccddeeff";
        let mixed = [
            0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,
        ];
        let uuid = Uuid::from_mixed_endian(mixed);
        assert_eq!(uuid.to_string(), text);
        assert_eq!(uuid.to_mixed_endian(), mixed);
        assert!(!uuid.is_nil());
        assert!(Uuid::from_mixed_endian([0; 16]).is_nil());
    }
}
