//! SHA-512 where the store needs one: for the names of trees and of index
//! entries. Images are hashed while they are unpacked and rebuilt.

use sha2::{Digest, Sha512};

/// The first `digits` hex digits of the SHA-512 of a text.
pub(crate) fn hex(text: &str, digits: usize) -> String {
    let digest: [u8; 64] = Sha512::digest(text.as_bytes()).into();
    let mut hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    hex.truncate(digits);
    hex
}
