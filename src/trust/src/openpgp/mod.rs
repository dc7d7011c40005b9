//! Detached OpenPGP signatures, checked while the data streams by.
//!
//! Key files and signature files in, the signer or the reason for the refusal
//! out. Packets and mathematics are rpgp's; what counts as good is decided here,
//! as gpg decides it. Stricter than gpg: digests MD5, SHA-1 and RIPEMD-160 are
//! refused, so are text signatures, keys on secp256k1 and Brainpool's curves, and
//! versions other than 4 of keys and signatures.

#[cfg(feature = "trust")]
mod armor;
#[cfg(feature = "trust")]
mod check;
#[cfg(feature = "trust")]
mod key;
#[cfg(feature = "trust")]
mod standing;
#[cfg(all(test, feature = "trust"))]
mod tests;

#[cfg(not(feature = "trust"))]
#[path = "absent.rs"]
mod parts;
#[cfg(feature = "trust")]
mod parts {
    pub(super) use super::check::Check;
    pub(super) use super::key::{Certificate, parse};
}

use crate::Keys;
use model::fault::Result;
use std::fmt;

/// Bytes that a file of signatures may have.
pub const MAX_SIGNATURE: usize = 64 * 1024;
/// Bytes that a file of keys may have.
pub const MAX_KEY: usize = 1024 * 1024;

/// A public key with its user IDs and subkeys.
#[derive(Clone)]
pub struct PublicKey(parts::Certificate);

impl PublicKey {
    /// All keys of a file, armored or binary; at least one.
    pub fn parse(bytes: &[u8]) -> Result<Vec<PublicKey>> {
        Ok(parts::parse(bytes)?.into_iter().map(PublicKey).collect())
    }

    /// Of the primary key: 40 lower-case hex digits.
    pub fn fingerprint(&self) -> &str {
        self.0.fingerprint()
    }

    /// The subkeys' fingerprints.
    pub fn subkeys(&self) -> Vec<String> {
        self.0.subkeys()
    }

    /// User IDs that the key itself vouches for, fit for a terminal.
    pub fn user_ids(&self) -> Vec<String> {
        self.0.user_ids()
    }

    /// Why no signature by the key is good at `now`, seconds since 1970: revoked,
    /// expired and so on. Subkeys may be revoked on their own all the same.
    pub fn refusal(&self, now: u64) -> Option<&'static str> {
        self.0.refusal(now)
    }

    /// What its file in the keystore holds: the key in ASCII armor.
    pub fn armored(&self) -> &[u8] {
        self.0.armored()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.fingerprint())
    }
}

/// Who signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// Of the primary key.
    pub fingerprint: String,
    /// Fit for a terminal.
    pub user_ids: Vec<String>,
}

/// The check of one file against one file of signatures.
pub struct Check(parts::Check);

impl Check {
    /// `signatures` is the content of the signature file, armored or binary, at
    /// most `MAX_SIGNATURE` bytes.
    pub fn new(signatures: &[u8]) -> Result<Check> {
        Ok(Check(parts::Check::new(signatures)?))
    }

    /// Before anything is downloaded: fails unless one of the signatures names
    /// one of these keys as its maker. Proves nothing yet.
    pub fn expect_signer(&self, keys: &Keys) -> Result<()> {
        self.0.expect_signer(keys)
    }

    /// The next bytes of the signed file.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// The verdict, once the whole file went by. One good signature by one of
    /// the keys suffices. `now` is in seconds since 1970.
    ///
    /// The fault is of the kind `NotFound` if no signature is by any of the keys,
    /// else `Refused`.
    pub fn finish(self, keys: &Keys, now: u64) -> Result<Signer> {
        self.0.finish(keys, now)
    }
}
