//! Image IDs and pod UUIDs.
//!
//! Both are made by parsing only and are safe as file names: fixed length,
//! lower-case hex digits and dashes, nothing else.

use crate::digest::hex;
use crate::fault::{Fault, Result};
use crate::text::{quote, text_type};

const PREFIX: &str = "sha512-";
/// Hex digits that rkt keeps of the 128.
const KEPT: usize = 64;

/// `sha512-` and the first 64 hex digits of the SHA-512 of the uncompressed ACI.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageId(pub(crate) String);

/// A pod's UUID, RFC 4122 version 4, in lower case with dashes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodUuid(pub(crate) String);

impl ImageId {
    /// From the form with 64 hex digits, or with all 128, which is cut.
    pub fn new(text: &str) -> Result<ImageId> {
        let hex = text.strip_prefix(PREFIX).filter(|hex| {
            (hex.len() == KEPT || hex.len() == 2 * KEPT) && hex.bytes().all(is_lower_hex)
        });
        match hex {
            Some(hex) => Ok(ImageId(format!("{PREFIX}{}", &hex[..KEPT]))),
            None => Err(Fault::invalid(format!(
                "invalid image ID {}: expected \"{PREFIX}\" and 64 or 128 lower-case hex digits",
                quote(text)
            ))),
        }
    }

    pub fn from_digest(digest: &[u8; 64]) -> ImageId {
        ImageId(format!("{PREFIX}{}", hex(&digest[..KEPT / 2])))
    }

    /// Whether rkt takes this word for a hash: `sha512-` and some text without
    /// another dash; its length does not matter.
    pub fn is_hash(text: &str) -> bool {
        text.strip_prefix(PREFIX)
            .is_some_and(|rest| !rest.is_empty() && !rest.contains('-'))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 64 hex digits.
    pub fn hex(&self) -> &str {
        &self.0[PREFIX.len()..]
    }

    /// `sha512-` and 32 hex digits, as `rkt fetch` prints it.
    pub fn short(&self) -> &str {
        &self.0[..PREFIX.len() + 32]
    }

    /// `sha512-` and 12 hex digits, as the lists print it.
    pub fn brief(&self) -> &str {
        &self.0[..PREFIX.len() + 12]
    }
}

impl PodUuid {
    /// From the usual form, in any case, or from 32 bare hex digits. The nil
    /// UUID names no pod.
    pub fn new(text: &str) -> Result<PodUuid> {
        let dashed = text.len() == 36
            && [8, 13, 18, 23]
                .iter()
                .all(|&at| text.as_bytes()[at] == b'-');
        let digits = if dashed {
            text.replace('-', "")
        } else {
            text.to_string()
        };
        if digits.len() != 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Fault::invalid(format!("invalid UUID {}", quote(text))));
        }
        if digits.bytes().all(|b| b == b'0') {
            return Err(Fault::invalid("the nil UUID names no pod"));
        }
        Ok(PodUuid(with_dashes(&digits.to_ascii_lowercase())))
    }

    /// A version 4 UUID out of sixteen random bytes.
    pub fn random(mut bytes: [u8; 16]) -> PodUuid {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        PodUuid(with_dashes(&hex(&bytes)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first eight characters, as the lists print it.
    pub fn short(&self) -> &str {
        &self.0[..8]
    }
}

fn with_dashes(digits: &str) -> String {
    let part = |from: usize, to: usize| &digits[from..to];
    [
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32),
    ]
    .join("-")
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// Checks an image ID as manifests write it and keeps it as written.
pub(crate) fn check_manifest_id(text: &str) -> Result<String> {
    ImageId::new(text).map(|_| text.to_string())
}

text_type!(ImageId);
text_type!(PodUuid);

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn image_ids() {
        let half = format!("sha512-{}", "0123456789abcdef".repeat(4));
        let id = ImageId::new(&half).unwrap();
        assert_eq!(id.as_str(), half);
        assert_eq!(id.hex().len(), 64);
        assert_eq!(id.short().len(), 39);
        assert_eq!(id.brief(), "sha512-0123456789ab");
        let full = format!("sha512-{}", "0123456789abcdef".repeat(8));
        assert_eq!(ImageId::new(&full).unwrap(), id);
        let mut digest = [0u8; 64];
        digest[0] = 0xab;
        assert!(
            ImageId::from_digest(&digest)
                .as_str()
                .starts_with("sha512-ab00")
        );
        assert_eq!(ImageId::from_digest(&digest).as_str().len(), 71);
        for bad in [
            "",
            "sha512-",
            "sha256-00",
            "sha512-/../x",
            &half.to_uppercase(),
            &half[..70],
            &format!("{half}0"),
        ] {
            assert!(ImageId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hashes_are_recognised_by_shape_alone() {
        for (text, want) in [
            ("sha512-0", true),
            ("sha512-zz", true),
            ("sha512-", false),
            ("sha512-a-b", false),
            ("sha256-ab", false),
            ("example.com/app", false),
        ] {
            assert_eq!(ImageId::is_hash(text), want, "{text}");
        }
    }

    #[test]
    fn uuids() {
        let want = "6d30845e-5d5c-4dcb-b565-b304e87f5e7b";
        for text in [
            want,
            "6D30845E-5D5C-4DCB-B565-B304E87F5E7B",
            "6d30845e5d5c4dcbb565b304e87f5e7b",
        ] {
            assert_eq!(PodUuid::new(text).unwrap().as_str(), want);
        }
        assert_eq!(PodUuid::new(want).unwrap().short(), "6d30845e");
        for bad in [
            "",
            "..",
            "00000000-0000-0000-0000-000000000000",
            "6d30845e-5d5c-4dcb-b565-b304e87f5e7",
            "6d30845-e5d5c-4dcb-b565-b304e87f5e7b",
            "6d30845e-5d5c-4dcb-b565-b304e87f5e7g",
            "éééééééééééééééé",
        ] {
            assert!(PodUuid::new(bad).is_err(), "{bad}");
        }
        assert_eq!(
            PodUuid::random([0xff; 16]).as_str(),
            "ffffffff-ffff-4fff-bfff-ffffffffffff"
        );
    }
}
