//! A descriptor: what points at a blob by type, digest and size.

use super::platform::Platform;
use crate::base64;
use crate::digest::Digest;
use crate::fault::Result;
use crate::json::Cursor;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// As written.
    pub media_type: String,
    pub digest: Digest,
    /// Bytes; says where to stop reading, never how much to allocate.
    pub size: u64,
    /// Other places of a layer that must not be distributed.
    pub urls: Vec<String>,
    pub annotations: Vec<(String, String)>,
    /// In an index only.
    pub platform: Option<Platform>,
    pub artifact_type: Option<String>,
    /// The content itself, of `size` bytes; its digest is not checked here.
    pub data: Option<Vec<u8>>,
}

impl Descriptor {
    /// The value of an annotation.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        find(&self.annotations, name)
    }

    pub(super) fn read(cursor: Cursor<'_>) -> Result<Descriptor> {
        let mut fields = cursor.fields()?;
        let media_type = fields.need("mediaType")?;
        if media_type.str()?.is_empty() {
            return Err(media_type.fault("must not be empty"));
        }
        let digest = fields.need("digest")?;
        let size = fields.need("size")?;
        let found = Descriptor {
            media_type: media_type.string()?,
            digest: Digest::parse(digest.str()?).map_err(|mut fault| {
                fault.cause = format!("{}: {}", digest.path(), fault.cause);
                fault
            })?,
            // A signed 64-bit number to everybody else.
            size: u64::try_from(size.i64()?).map_err(|_| size.fault("must not be negative"))?,
            urls: fields.list_of("urls", |url| url.string())?,
            annotations: fields.string_map("annotations")?,
            platform: fields.take("platform").map(Platform::read).transpose()?,
            artifact_type: fields
                .take("artifactType")
                .map(|text| text.string())
                .transpose()?
                .filter(|text| !text.is_empty()),
            data: match fields.take("data") {
                Some(data) => {
                    let bytes =
                        base64::decode(data.str()?).map_err(|fault| data.fault(fault.cause))?;
                    Some(bytes)
                }
                None => None,
            },
        };
        if let Some(data) = &found.data
            && data.len() as u64 != found.size
        {
            return Err(cursor.fault(format!(
                "data has {} bytes, size says {}",
                data.len(),
                found.size
            )));
        }
        Ok(found)
    }
}

/// The value of a key in a list of pairs.
pub(super) fn find<'a>(pairs: &'a [(String, String)], key: &str) -> Option<&'a str> {
    pairs
        .iter()
        .find(|(name, _)| name == key)
        .map(|(_, value)| value.as_str())
}
