//! The question whether keys that were found may sign images: put by a fetch, and
//! answered by whoever stands between it and the user.

use model::AcIdentifier;
use model::fault::Result;
use std::path::Path;
use trust::openpgp::PublicKey;

/// Keys that were found for a prefix, all in one file.
pub struct Offer<'o> {
    pub prefix: &'o AcIdentifier,
    pub location: &'o str,
    pub keys: &'o [PublicKey],
    /// `--trust-keys-from-https` was given and they came that way: no question.
    pub settled: bool,
}

/// Shows keys to the user and asks about them.
pub trait Review: Sync {
    /// Whether they are to be trusted. An error where there is nobody to ask.
    fn trusts(&self, offer: &Offer<'_>) -> Result<bool>;
    /// One of them was written to the keystore.
    fn added(&self, prefix: &AcIdentifier, path: &Path);
}
