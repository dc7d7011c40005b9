//! Content digests as registries write them: `sha256:<64 hex>`, `sha512:<128 hex>`.
//!
//! Other algorithms are refused by name: what cannot be checked is not fetched.

use crate::fault::{Fault, Result};
use crate::text::quote;
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }

    /// Bytes of the digest.
    #[expect(clippy::len_without_is_empty, reason = "no digest is empty")]
    pub fn len(self) -> usize {
        match self {
            Algorithm::Sha256 => 32,
            Algorithm::Sha512 => 64,
        }
    }
}

/// Lower-case and of the right length, whatever it came from.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    text: String,
}

impl Digest {
    pub fn parse(text: &str) -> Result<Digest> {
        let bad = || Fault::invalid(format!("{} is no digest", quote(text)));
        let (name, hex) = text.split_once(':').ok_or_else(bad)?;
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            _ => {
                return Err(Fault::unsupported(format!(
                    "digest algorithm {} (known: sha256, sha512)",
                    quote(name)
                )));
            }
        };
        let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if hex.len() != algorithm.len() * 2 || !hex.bytes().all(lower) {
            return Err(bad());
        }
        Ok(Digest {
            algorithm,
            text: text.to_string(),
        })
    }

    /// Of the bytes that a hash function gave.
    pub fn from_bytes(algorithm: Algorithm, bytes: &[u8]) -> Result<Digest> {
        Digest::parse(&format!("{}:{}", algorithm.name(), hex(bytes)))
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// `sha256:<hex>`
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn hex(&self) -> &str {
        &self.text[self.algorithm.name().len() + 1..]
    }

    /// `sha256-<hex>`: one name of a file, or a tag.
    pub fn file_name(&self) -> String {
        format!("{}-{}", self.algorithm.name(), self.hex())
    }
}

/// Two lower-case digits for each byte.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| DIGITS[usize::from(digit)] as char)
        .collect()
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_algorithms_in_lower_case_and_full_length() {
        let hex = "0123456789abcdef".repeat(4);
        let digest = Digest::parse(&format!("sha256:{hex}")).expect("a digest");
        assert_eq!(digest.hex(), hex);
        assert_eq!(digest.file_name(), format!("sha256-{hex}"));
        assert_eq!(
            Digest::from_bytes(Algorithm::Sha256, &[0xab; 32])
                .expect("a digest")
                .as_str(),
            format!("sha256:{}", "ab".repeat(32))
        );
        for bad in [
            String::new(),
            "sha256".into(),
            format!("sha256:{}", &hex[1..]),
            format!("sha256:{hex}0"),
            format!("sha256:{}", hex.to_uppercase()),
            format!("sha512:{hex}"),
            format!("md5:{hex}"),
            format!("sha256:../{}", &hex[3..]),
        ] {
            assert!(Digest::parse(&bad).is_err(), "{bad}");
        }
    }
}
