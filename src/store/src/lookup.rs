//! Finding images: by ID or a prefix of it, by name and labels, by the URL they
//! came from; and reading what was found.
//!
//! Cost: by ID one open; by name one listing of `names/<hash>` and one open per
//! image of that name.

use crate::digest;
use crate::files;
use crate::record::ImageRecord;
use crate::store::{IMAGES, NAMES, Store, URLS, manifest_path};
use model::{AcIdentifier, Fault, ImageId, ImageManifest, Labels, fault::Result};
use std::io;
use std::os::fd::BorrowedFd;

const PREFIX: &str = "sha512-";
/// `sha512-` and two digits: shorter prefixes are refused.
const SHORTEST: usize = PREFIX.len() + 2;
/// `sha512-` and 64 digits; the other half of a full digest is not looked at.
const FULL: usize = PREFIX.len() + 64;

/// The failure of a look-up by name, in rkt's words.
pub fn missing(name: &AcIdentifier, labels: &Labels) -> Fault {
    let labels: Vec<String> = labels
        .iter()
        .map(|label| format!("{{{:?} {:?}}}", label.name.as_str(), label.value))
        .collect();
    Fault::not_found(format!(
        "cannot find aci satisfying name: {:?} and labels: [{}] in the local store",
        name.as_str(),
        labels.join(" ")
    ))
}

fn no_ids() -> Fault {
    Fault::not_found("no image IDs found")
}

/// Where the images of one name are listed.
pub(crate) fn name_path(name: &AcIdentifier) -> String {
    format!("{NAMES}/{}", digest::hex(name.as_str(), 32))
}

/// Where the image that came from a URL is noted.
pub(crate) fn url_path(url: &str) -> String {
    format!("{URLS}/{}", digest::hex(url, 64))
}

/// What a URL entry says: the URL itself and the ID.
pub(crate) fn url_entry(url: &str, id: &ImageId) -> Vec<u8> {
    let mut json = model::Value::default();
    json["id"] = id.as_str().into();
    json["url"] = url.into();
    format!("{}\n", model::json::to_compact(&json)).into_bytes()
}

fn parse_url_entry(bytes: &[u8]) -> Option<(String, ImageId)> {
    let json = model::json::parse(bytes).ok()?;
    Some((
        json["url"].as_str()?.to_string(),
        ImageId::new(json["id"].as_str()?).ok()?,
    ))
}

impl Store {
    /// Completes a prefix of an image ID.
    pub fn resolve(&self, prefix: &str) -> Result<ImageId> {
        if !prefix.starts_with(PREFIX) {
            return Err(Fault::invalid("wrong key prefix"));
        }
        if prefix.len() < SHORTEST {
            return Err(Fault::invalid("image ID too short"));
        }
        let prefix = prefix.get(..FULL).unwrap_or(prefix);
        let Some(root) = self.root()? else {
            return Err(no_ids());
        };
        if prefix.len() == FULL {
            return match ImageId::new(prefix) {
                Ok(id) if self.is_stored(root, &id)? => Ok(id),
                _ => Err(no_ids()),
            };
        }
        let mut found = None;
        for id in self.ids(root)? {
            if id.as_str().starts_with(prefix) && self.is_stored(root, &id)? {
                if found.is_some() {
                    return Err(Fault::invalid(format!("ambiguous image ID: {prefix:?}")));
                }
                found = Some(id);
            }
        }
        found.ok_or_else(no_ids)
    }

    /// The image of a name that has all the labels. Of several: without a
    /// `version` asked for, one that was fetched as the latest; then the newest
    /// import.
    pub fn find(&self, name: &AcIdentifier, labels: &Labels) -> Result<Option<ImageRecord>> {
        let Some(root) = self.root()? else {
            return Ok(None);
        };
        let path = name_path(name);
        let ids = files::names(root, &path).map_err(|err| self.fault("open", &path, err))?;
        let any_version = labels.get("version").is_none();
        let rank = |record: &ImageRecord| (any_version && record.latest, record.import_time_ns);
        let mut best: Option<ImageRecord> = None;
        let mut damaged = None;
        for id in ids.iter().filter_map(|name| ImageId::new(name).ok()) {
            match self.read_record(root, &id) {
                Ok(Some(record)) if record.name == *name && record.labels.satisfy(labels) => {
                    if best.as_ref().is_none_or(|best| rank(&record) > rank(best)) {
                        best = Some(record);
                    }
                }
                Ok(_) => {}
                Err(fault) => damaged = Some(fault),
            }
        }
        match (best, damaged) {
            // A damaged record must not hide a sound one.
            (None, Some(fault)) => Err(fault),
            (best, _) => Ok(best),
        }
    }

    /// The image that was last imported from exactly this URL.
    pub fn by_url(&self, url: &str) -> Result<Option<ImageRecord>> {
        let Some(root) = self.root()? else {
            return Ok(None);
        };
        let path = url_path(url);
        let bytes = match files::read_small(root, &path) {
            Ok(bytes) => bytes,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(err) => return Err(self.fault("open", &path, err)),
        };
        match parse_url_entry(&bytes) {
            Some((noted, id)) if noted == url => self.read_record(root, &id),
            _ => Ok(None),
        }
    }

    /// All images, ordered by ID; damaged records as failures of their own.
    pub fn list(&self) -> Result<Vec<Result<ImageRecord>>> {
        let Some(root) = self.root()? else {
            return Ok(Vec::new());
        };
        Ok(self
            .ids(root)?
            .iter()
            .filter_map(|id| self.read_record(root, id).transpose())
            .collect())
    }

    /// The manifest exactly as it stands in the ACI.
    pub fn manifest_bytes(&self, id: &ImageId) -> Result<Vec<u8>> {
        let Some(root) = self.root()? else {
            return Err(no_ids());
        };
        let path = manifest_path(id);
        match files::read_small(root, &path) {
            Ok(bytes) if self.is_stored(root, id)? => Ok(bytes),
            Ok(_) => Err(no_ids()),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Err(no_ids()),
            Err(err) => Err(self.fault("open", &path, err)),
        }
    }

    pub fn manifest(&self, id: &ImageId) -> Result<ImageManifest> {
        ImageManifest::parse(&self.manifest_bytes(id)?)
            .map_err(|fault| fault.link(format!("read the manifest of {:?}", id.as_str())))
    }

    /// The record of an image that has to be there.
    pub(crate) fn require(&self, root: BorrowedFd<'_>, id: &ImageId) -> Result<ImageRecord> {
        self.read_record(root, id)?.ok_or_else(no_ids)
    }

    pub(crate) fn required_root(&self) -> Result<BorrowedFd<'_>> {
        self.root()?.ok_or_else(no_ids)
    }

    pub(crate) fn is_stored(&self, root: BorrowedFd<'_>, id: &ImageId) -> Result<bool> {
        let path = crate::store::record_path(id);
        files::exists(root, &path).map_err(|err| self.fault("stat", &path, err))
    }

    /// The IDs that have a folder, stored or half removed.
    pub(crate) fn ids(&self, root: BorrowedFd<'_>) -> Result<Vec<ImageId>> {
        let names = files::names(root, IMAGES).map_err(|err| self.fault("open", IMAGES, err))?;
        Ok(names
            .iter()
            .filter_map(|name| ImageId::new(name).ok())
            .collect())
    }

    /// Drops the URL entries that name one of the given images, or that cannot
    /// be read.
    pub(crate) fn forget_urls(
        &self,
        root: BorrowedFd<'_>,
        forget: &dyn Fn(&ImageId) -> bool,
    ) -> io::Result<()> {
        for name in files::names(root, URLS)? {
            let path = format!("{URLS}/{name}");
            let bytes = match files::read_small(root, &path) {
                Ok(bytes) => bytes,
                Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
                Err(err) => return Err(err),
            };
            if parse_url_entry(&bytes).is_none_or(|(_, id)| forget(&id)) {
                files::unlink(root, &path)?;
            }
        }
        Ok(())
    }
}
