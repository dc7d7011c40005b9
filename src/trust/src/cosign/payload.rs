//! The payload of a simple signature: which image, as which repository.
//!
//! `critical` is taken at its word and must hold what is known, nothing more;
//! `optional` proves nothing and is passed over.

use super::{Image, same_repository};
use model::fault::{Fault, Result};
use model::json::{self, Cursor};
use model::text::quote;

const TYPE: &str = "cosign container image signature";

/// `payload` is known to be signed.
pub(super) fn check(payload: &[u8], image: Image<'_>) -> Result<()> {
    let value = json::parse_unique(payload)?;
    let mut document = Cursor::exact(&value).fields()?;
    let mut critical = document.need("critical")?.fields()?;
    document.take("optional");
    document.no_rest()?;
    let mut identity = critical.need("identity")?.fields()?;
    let mut signed = critical.need("image")?.fields()?;
    let kind = critical.need("type")?;
    critical.no_rest()?;
    let reference = identity.need("docker-reference")?.str()?;
    identity.no_rest()?;
    let digest = signed.need("docker-manifest-digest")?.str()?;
    signed.no_rest()?;
    if kind.str()? != TYPE {
        return Err(Fault::invalid(format!(
            "it is of the type {}",
            quote(kind.str()?)
        )));
    }
    if digest != image.digest.as_str() {
        return Err(Fault::invalid(format!("it is for {}", quote(digest))));
    }
    if !same_repository(reference, image.repository) {
        return Err(Fault::invalid(format!(
            "it is for the repository {}",
            quote(reference)
        )));
    }
    Ok(())
}
