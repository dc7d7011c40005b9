//! The bundles of sigstore, version 0.3, that newer cosigns attach as referrers:
//! an in-toto statement in a DSSE envelope, or a signature of the manifest itself.
//!
//! A statement names the image by its digest alone, not the repository.

use super::{Image, PublicKey, signed_by};
use model::base64;
use model::digest::Algorithm;
use model::fault::{Fault, Result};
use model::json::{self, Cursor, Fields};
use model::text::quote;

const MEDIA_TYPES: [&str; 2] = [
    super::BUNDLE,
    "application/vnd.dev.sigstore.bundle+json;version=0.3",
];
const IN_TOTO: &str = "application/vnd.in-toto+json";
const STATEMENTS: [&str; 2] = [
    "https://in-toto.io/Statement/v1",
    "https://in-toto.io/Statement/v0.1",
];
const PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";

/// What a bundle has signed, and the signature in base64.
struct Signed {
    message: Vec<u8>,
    signature: String,
}

pub(super) fn judge<'a>(
    bytes: &[u8],
    keys: &'a [PublicKey],
    image: Image<'_>,
) -> Result<&'a PublicKey, String> {
    let text = |fault: Fault| fault.cause;
    let value = json::parse_unique(bytes).map_err(text)?;
    let mut bundle = open(&value).map_err(text)?;
    if let Some(envelope) = bundle.take("dsseEnvelope") {
        let (statement, signed) = unseal(&envelope).map_err(text)?;
        let key = signed_by(keys, &signed.message, &signed.signature)?;
        speaks_of(&statement, image).map_err(text)?;
        return Ok(key);
    }
    let signature = bundle.need("messageSignature").map_err(text)?;
    let signature = of_manifest(&signature, image).map_err(text)?;
    signed_by(keys, image.manifest, &signature)
}

/// Is it a bundle that we know, for a key?
fn open(value: &model::Value) -> Result<Fields<'_>> {
    let mut bundle = Cursor::exact(value).fields()?;
    let media_type = bundle.need("mediaType")?.str()?;
    if !MEDIA_TYPES.contains(&media_type) {
        return Err(Fault::unsupported(format!(
            "it is a bundle of the type {}",
            quote(media_type)
        )));
    }
    let mut material = bundle.need("verificationMaterial")?.fields()?;
    if material.take("publicKey").is_none() {
        return Err(Fault::unsupported(
            "it is made with a certificate, not a key",
        ));
    }
    Ok(bundle)
}

/// The payload of a DSSE envelope and what of it is signed (DSSE protocol v1.0,
/// "PAE").
fn unseal(envelope: &Cursor<'_>) -> Result<(Vec<u8>, Signed)> {
    let mut fields = envelope.fields()?;
    let payload_type = fields.need("payloadType")?.str()?;
    if payload_type != IN_TOTO {
        return Err(Fault::unsupported(format!(
            "its payload is of the type {}",
            quote(payload_type)
        )));
    }
    let payload = fields.need("payload")?;
    let payload = base64::decode(payload.str()?).map_err(|_| payload.fault("is not base64"))?;
    let signatures = fields.need("signatures")?;
    let signatures = signatures.list_of(|signature| signature.fields()?.need("sig")?.string())?;
    let [signature] = <[String; 1]>::try_from(signatures)
        .map_err(|_| Fault::invalid("its envelope has not exactly one signature"))?;
    let mut message = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    )
    .into_bytes();
    message.extend_from_slice(&payload);
    Ok((payload, Signed { message, signature }))
}

fn speaks_of(statement: &[u8], image: Image<'_>) -> Result<()> {
    let value = json::parse_unique(statement)?;
    let mut statement = Cursor::exact(&value).fields()?;
    let kind = statement.need("_type")?.str()?;
    if !STATEMENTS.contains(&kind) {
        return Err(Fault::unsupported(format!(
            "it is a statement of the type {}",
            quote(kind)
        )));
    }
    let predicate = statement.need("predicateType")?.str()?;
    if predicate != PREDICATE {
        return Err(Fault::unsupported(format!(
            "it states {}",
            quote(predicate)
        )));
    }
    let algorithm = image.digest.algorithm().name();
    let subjects = statement.need("subject")?;
    let digests = subjects.list_of(|subject| subject.fields()?.need("digest")?.string_map())?;
    let speaks = digests
        .iter()
        .flatten()
        .any(|(name, hex)| name == algorithm && hex == image.digest.hex());
    match speaks {
        true => Ok(()),
        false => Err(Fault::invalid("it is for another image")),
    }
}

/// A signature whose message is the manifest.
fn of_manifest(signature: &Cursor<'_>, image: Image<'_>) -> Result<String> {
    let mut fields = signature.fields()?;
    if let Some(digest) = fields.take("messageDigest") {
        let mut digest = digest.fields()?;
        let algorithm = digest.need("algorithm")?.str()?;
        if algorithm != "SHA2_256" || image.digest.algorithm() != Algorithm::Sha256 {
            return Err(Fault::unsupported(format!(
                "its digest is of the kind {}",
                quote(algorithm)
            )));
        }
        let bytes = digest.need("digest")?;
        let bytes = base64::decode(bytes.str()?).map_err(|_| bytes.fault("is not base64"))?;
        let is_ours = model::Digest::from_bytes(Algorithm::Sha256, &bytes)
            .is_ok_and(|digest| digest == *image.digest);
        if !is_ours {
            return Err(Fault::invalid("it is for another image"));
        }
    }
    fields.need("signature")?.string()
}
