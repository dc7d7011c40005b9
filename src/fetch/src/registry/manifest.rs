//! From a reference to the one manifest that it means here.
//!
//! The bytes of each document are bounded and compared with the digest that led
//! to them, and with the one that the server names, before they are read.
//! Indexes are followed to this platform's manifest.

use super::Registry;
use crate::image::{Hasher, about, check_bytes, differs};
use model::Digest;
use model::digest::Algorithm;
use model::docker::DockerReference;
use model::fault::{Context, Fault, Kind, Result};
use model::oci::{Descriptor, Document, MAX_DOCUMENT, Manifest, Platform, Schema1, media};
use model::text::quote;

/// Indexes in indexes; real ones are not nested at all.
const MAX_DEPTH: usize = 5;

/// A document as it came, its digest checked.
#[derive(Clone, Debug)]
pub struct Served {
    pub bytes: Vec<u8>,
    /// What the server, or the descriptor that led here, calls it.
    pub media_type: Option<String>,
    /// With schema 1 that of its payload, without the signatures.
    pub digest: Digest,
}

/// The image that a reference means on this platform.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Of what the reference names: an index, or the manifest itself. The tag
    /// is unchanged as long as this is.
    pub digest: Digest,
    /// The bytes that have this digest.
    pub bytes: Vec<u8>,
    /// Of the image's own manifest.
    pub manifest_digest: Digest,
    /// Its bytes.
    pub manifest_bytes: Vec<u8>,
    pub(super) image: Image,
}

#[derive(Clone, Debug)]
pub(super) enum Image {
    Manifest(Manifest),
    Schema1(Schema1),
}

impl Registry<'_> {
    /// Asks for what the reference names and follows it to the manifest for
    /// `platform`. A reference with a digest is checked against it.
    pub fn resolve(&self, reference: &DockerReference, platform: &Platform) -> Result<Resolved> {
        let top = self.manifest(&reference.path, reference.version())?;
        let (digest, bytes) = (top.digest.clone(), top.bytes.clone());
        let mut served = top;
        for _ in 0..MAX_DEPTH {
            let document = Document::parse(served.media_type.as_deref(), &served.bytes)
                .map_err(|fault| about(fault, "manifest ", served.digest.as_str()))?;
            let image = match document {
                Document::Manifest(manifest) => {
                    manifest.check_image()?;
                    Image::Manifest(manifest)
                }
                Document::Schema1(schema1) => Image::Schema1(schema1),
                Document::Index(index) => {
                    let chosen = index.choose(platform)?;
                    served = self.pointed_at(&reference.path, chosen)?;
                    continue;
                }
            };
            return Ok(Resolved {
                digest,
                bytes,
                manifest_digest: served.digest,
                manifest_bytes: served.bytes,
                image,
            });
        }
        Err(Fault::invalid(format!(
            "the index {digest} leads through more than {MAX_DEPTH} indexes"
        )))
    }

    /// The document of a tag or a digest.
    pub fn manifest(&self, repository: &str, version: &str) -> Result<Served> {
        let expected = match version.contains(':') {
            true => Some(Digest::parse(version)?),
            false => None,
        };
        let (_, response) = self.get(repository, &format!("manifests/{version}"), media::ACCEPT)?;
        if response.status != 200 {
            let fault = response.fault();
            return Err(match fault.kind {
                Kind::NotFound => Fault {
                    hint: Some("check the spelling of the name and the tag".into()),
                    ..fault
                },
                _ => fault,
            });
        }
        let media_type = response.header("Content-Type").map(str::to_string);
        let named = response.header("Docker-Content-Digest").map(str::to_string);
        let url = response.url.clone();
        let bytes = response.read(MAX_DOCUMENT as u64)?;
        let hashed = Hashed::new(&bytes, media_type.as_deref());
        let digest = match &expected {
            Some(expected) => hashed.check(expected)?,
            None => hashed.digest(Algorithm::Sha256),
        };
        // An algorithm that we do not know says nothing to us.
        if let Some(named) = named.and_then(|named| Digest::parse(named.trim()).ok()) {
            hashed
                .check(&named)
                .link(|| format!("Docker-Content-Digest of {}", quote(&url)))?;
        }
        Ok(Served {
            bytes,
            media_type,
            digest,
        })
    }

    /// The document that a descriptor points at, which may hold it itself.
    pub(super) fn pointed_at(&self, repository: &str, to: &Descriptor) -> Result<Served> {
        if to.size > MAX_DOCUMENT as u64 {
            return Err(too_large("manifest", to));
        }
        let mut served = match &to.data {
            Some(data) => Served {
                bytes: data.clone(),
                media_type: None,
                digest: to.digest.clone(),
            },
            None => self.manifest(repository, to.digest.as_str())?,
        };
        check_bytes("manifest", &served.bytes, &to.digest, Some(to.size))?;
        // The descriptor was signed or named by digest, the header was not.
        let told = served
            .media_type
            .as_deref()
            .filter(|told| !media::is_vague(told));
        if let Some(told) = told
            && media::essence(told) != media::essence(&to.media_type)
        {
            return Err(Fault::invalid(format!(
                "manifest {} is {} to its index and {} to the server",
                to.digest,
                quote(&to.media_type),
                quote(told)
            )));
        }
        served.media_type = Some(to.media_type.clone());
        Ok(served)
    }

    /// A small blob as a whole: a config, a signature.
    pub(super) fn small_blob(
        &self,
        repository: &str,
        what: &str,
        to: &Descriptor,
        max: u64,
    ) -> Result<Vec<u8>> {
        if to.size > max {
            return Err(too_large(what, to));
        }
        let bytes = match &to.data {
            Some(data) => data.clone(),
            None => {
                let (_, response) = self.get(repository, &format!("blobs/{}", to.digest), "")?;
                if response.status != 200 {
                    return Err(response.fault().link(format!("get the {what}")));
                }
                response.read(to.size)?
            }
        };
        check_bytes(what, &bytes, &to.digest, Some(to.size))?;
        Ok(bytes)
    }
}

fn too_large(what: &str, to: &Descriptor) -> Fault {
    Fault::invalid(format!(
        "the {what} {} has {} bytes, which is too much",
        to.digest, to.size
    ))
}

/// The bytes over which a document's digest may be computed.
struct Hashed<'b> {
    body: &'b [u8],
    /// Of signed schema 1, of which nothing else is read: what the signatures
    /// stand for.
    payload: Option<Vec<u8>>,
}

impl<'b> Hashed<'b> {
    fn new(body: &'b [u8], media_type: Option<&str>) -> Hashed<'b> {
        // Any document can be framed so that its payload is another one: the
        // payload's digest speaks only for what is parsed from the payload.
        let read_from_payload =
            matches!(Document::parse(media_type, body), Ok(Document::Schema1(_)));
        Hashed {
            body,
            payload: match read_from_payload {
                // What is not signed is its own payload.
                true => Schema1::payload(body).ok().filter(|bytes| bytes != body),
                false => None,
            },
        }
    }

    /// What the document is called by if nobody else says it.
    fn digest(&self, algorithm: Algorithm) -> Digest {
        Hasher::of(algorithm, self.payload.as_deref().unwrap_or(self.body))
    }

    fn check(&self, wanted: &Digest) -> Result<Digest> {
        let found = Hasher::of(wanted.algorithm(), self.body);
        if found == *wanted {
            return Ok(found);
        }
        if let Some(payload) = &self.payload
            && Hasher::of(wanted.algorithm(), payload) == *wanted
        {
            return Ok(wanted.clone());
        }
        Err(differs("manifest", &found, wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::base64;

    /// `base64::encode` in the alphabet of JOSE.
    fn encoded(bytes: &[u8]) -> String {
        let text = base64::encode(bytes).replace('+', "-").replace('/', "_");
        text.trim_end_matches('=').to_string()
    }

    /// A document that is read as it stands, framed so that its payload is
    /// another one, passed for that other one.
    #[test]
    fn the_frame_of_schema_1_makes_no_other_document_pass_for_the_pinned_one() {
        let pinned = br#"{"schemaVersion":2,"pinned":true}"#;
        let frame = format!(
            r#"{{"formatLength":1,"formatTail":"{}"}}"#,
            encoded(&pinned[1..])
        );
        let frame = encoded(frame.as_bytes());
        let zeros = "0".repeat(64);
        let entry =
            |kind: &str| format!(r#"{{"mediaType":"{kind}","digest":"sha256:{zeros}","size":1}}"#);
        let config = entry(media::OCI_CONFIG);
        let signed = format!(r#""signatures":[{{"protected":"{frame}"}}]"#);
        let manifest = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[],{signed}}}"#);
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{config}],{signed}}}"#);
        let old = format!(r#"{{"schemaVersion":1,"fsLayers":[],{signed}}}"#);
        let digest = Hasher::of(Algorithm::Sha256, pinned);
        for body in [&manifest, &index, &old] {
            let payload = Schema1::payload(body.as_bytes()).expect("a payload");
            assert_eq!(payload, pinned);
            for told in [None, Some("application/json"), Some(media::SCHEMA1)] {
                let hashed = Hashed::new(body.as_bytes(), told);
                assert!(hashed.check(&digest).is_err(), "{told:?} {body}");
            }
        }
    }
}
