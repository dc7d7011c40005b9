//! Signatures that cosign attaches to images in a registry, by a given key.
//!
//! Candidates as found in the registry in, the key that made a good one out. A
//! good one is of a trusted key, speaks of the manifest's digest and, in the form
//! that has it, of the repository asked for. Certificates, transparency logs and
//! time stamps are not looked at: the key is what is trusted.

mod bundle;
mod key;
mod payload;
#[cfg(all(test, feature = "trust"))]
mod tests;

pub use key::PublicKey;

use model::fault::{Fault, Result};
use model::text::quote;
use model::{Digest, DockerReference, base64};

/// Signatures of one image that are looked at.
pub const MAX_CANDIDATES: usize = 32;
/// Bytes that a payload or a bundle may have.
pub const MAX_PAYLOAD: usize = 256 * 1024;
/// Bytes that a file of a key may have.
pub const MAX_KEY: usize = 16 * 1024;

/// Media type of the layers below the tag `sha256-….sig`.
pub const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Annotation of such a layer: the signature in base64.
pub const SIGNATURE_ANNOTATION: &str = "dev.cosignproject.cosign/signature";
/// Artifact type, and media type of the one layer, of a referrer.
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// The cosign keys of one repository.
#[derive(Debug, Default)]
pub struct Keys {
    pub keys: Vec<PublicKey>,
    /// A signature is needed: there is a key file. It need not be a readable
    /// one: then no signature is good enough.
    pub required: bool,
    /// Key files that could not be used, one line each.
    pub notes: Vec<String>,
}

/// What a signature has to speak of.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    /// Of the manifest, or index, that the reference led to.
    pub digest: &'a Digest,
    /// Its bytes.
    pub manifest: &'a [u8],
    /// `docker.io/library/redis`
    pub repository: &'a str,
}

/// One signature as found in the registry.
#[derive(Clone, Debug)]
pub enum Candidate {
    /// A layer of type `SIMPLE_SIGNING` and its annotation.
    Simple { payload: Vec<u8>, signature: String },
    /// A layer of type `BUNDLE`.
    Bundle(Vec<u8>),
}

/// The key that made one of the signatures. The error says of every candidate
/// why it does not count; only the first `MAX_CANDIDATES` are looked at.
pub fn verify<'a>(
    keys: &'a Keys,
    image: Image<'_>,
    candidates: &[Candidate],
) -> Result<&'a PublicKey> {
    if keys.keys.is_empty() {
        return Err(Fault::refused(format!(
            "no usable cosign key is trusted for {}",
            quote(image.repository)
        )));
    }
    let mut reasons = Vec::new();
    for (at, candidate) in candidates.iter().take(MAX_CANDIDATES).enumerate() {
        match judge(&keys.keys, image, candidate) {
            Ok(key) => return Ok(key),
            Err(why) => reasons.push(format!("signature {}: {why}", at + 1)),
        }
    }
    if candidates.len() > MAX_CANDIDATES {
        reasons.push(format!("more than {MAX_CANDIDATES} signatures"));
    }
    Err(Fault::refused(match reasons.is_empty() {
        true => "the image has no cosign signature".to_string(),
        false => format!("no good cosign signature: {}", reasons.join("; ")),
    }))
}

fn judge<'a>(
    keys: &'a [PublicKey],
    image: Image<'_>,
    candidate: &Candidate,
) -> Result<&'a PublicKey, String> {
    let (Candidate::Simple { payload: bytes, .. } | Candidate::Bundle(bytes)) = candidate;
    if bytes.len() > MAX_PAYLOAD {
        return Err(format!("it has more than {MAX_PAYLOAD} bytes"));
    }
    match candidate {
        Candidate::Simple { payload, signature } => {
            let key = signed_by(keys, payload, signature)?;
            payload::check(payload, image).map_err(|fault| fault.cause)?;
            Ok(key)
        }
        Candidate::Bundle(bytes) => bundle::judge(bytes, keys, image),
    }
}

/// The key that made a signature, given in base64, over a message.
fn signed_by<'a>(
    keys: &'a [PublicKey],
    message: &[u8],
    signature: &str,
) -> Result<&'a PublicKey, String> {
    let signature = base64::decode(signature).map_err(|_| "the signature is not base64")?;
    keys.iter()
        .find(|key| key.verifies(message, &signature))
        .ok_or_else(|| "it is not made by a trusted key".to_string())
}

/// Two spellings of one repository: `index.docker.io/library/redis` is
/// `docker.io/library/redis`; tags and digests do not matter.
fn same_repository(a: &str, b: &str) -> bool {
    match (DockerReference::parse(a), DockerReference::parse(b)) {
        (Ok(a), Ok(b)) => a.domain == b.domain && a.path == b.path,
        _ => false,
    }
}

/// A prefix as the keystore has it: `docker.io/library`, `localhost:5000`. It
/// begins with a registry, so that nothing is guessed.
pub fn prefix(text: &str) -> Result<String> {
    let (registry, rest) = match text.split_once('/') {
        Some((registry, rest)) => (registry, Some(rest)),
        None => (text, None),
    };
    // The grammar is that of references; a registry alone gets something to name.
    let probe = format!("{registry}/{}", rest.unwrap_or("x/x"));
    let full = DockerReference::parse(&probe)
        .ok()
        .filter(|_| !rest.unwrap_or_default().contains([':', '@']))
        .filter(|_| registry.contains(['.', ':']) || registry == "localhost")
        .ok_or_else(|| {
            Fault::usage(format!(
                "prefix {} of a cosign key is no registry or repository",
                quote(text)
            ))
            .hint("begin with the registry: `docker.io/library/redis`, `quay.io/coreos`")
        })?;
    Ok(match rest {
        // Not the path of the reference: `docker.io/redis` is `docker.io/library/redis`
        // as an image, but as a prefix it is an organisation.
        Some(rest) => format!("{}/{rest}", full.domain),
        None => full.domain,
    })
}
