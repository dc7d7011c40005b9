//! Finding images: by ID or a prefix of it, by name and labels; and reading what
//! was found. Packed images are found like the others.
//!
//! Cost: by ID one open; by name one listing of `names/<hash>` and one open per
//! image of that name, and one per packed image.

use crate::digest;
use crate::files;
use crate::record::ImageRecord;
use crate::store::{IMAGES, NAMES, Store, manifest_path};
use model::{AcIdentifier, Fault, ImageId, ImageManifest, Labels, fault::Result};
use std::collections::BTreeSet;
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

pub(crate) fn no_ids() -> Fault {
    Fault::not_found("no image IDs found")
}

/// Where the images of one name are listed.
pub(crate) fn name_path(name: &AcIdentifier) -> String {
    format!("{NAMES}/{}", digest::hex(name.as_str(), 32))
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
                Ok(id) if self.any_record_there(root, &id)? => Ok(id),
                _ => Err(no_ids()),
            };
        }
        let mut found = None;
        for id in self.all_ids(root)? {
            if id.as_str().starts_with(prefix) && self.any_record_there(root, &id)? {
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
    /// import. For root packed images do not count: whoever packed one has chosen
    /// its name, and nobody but him has checked it.
    pub fn find(&self, name: &AcIdentifier, labels: &Labels) -> Result<Option<ImageRecord>> {
        self.find_among(name, labels, !self.unpacks)
    }

    /// The same, and packed images count for everybody.
    pub fn find_any(&self, name: &AcIdentifier, labels: &Labels) -> Result<Option<ImageRecord>> {
        self.find_among(name, labels, true)
    }

    fn find_among(
        &self,
        name: &AcIdentifier,
        labels: &Labels,
        packed: bool,
    ) -> Result<Option<ImageRecord>> {
        let Some(root) = self.root()? else {
            return Ok(None);
        };
        let path = name_path(name);
        let named = files::names(root, &path).map_err(|err| self.fault("open", &path, err))?;
        let unpacked = named.iter().filter_map(|name| ImageId::new(name).ok());
        let packed = match packed {
            true => self.packed_ids(root)?,
            false => Vec::new(),
        };
        let ids: BTreeSet<ImageId> = unpacked.chain(packed).collect();
        let any_version = labels.get("version").is_none();
        let rank = |record: &ImageRecord| (any_version && record.latest, record.import_time_ns);
        let mut best: Option<ImageRecord> = None;
        let mut damaged = None;
        for id in ids {
            match self.any_record(root, &id) {
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

    /// All images, ordered by ID; damaged records as failures of their own.
    pub fn list(&self) -> Result<Vec<Result<ImageRecord>>> {
        let Some(root) = self.root()? else {
            return Ok(Vec::new());
        };
        Ok(self
            .all_ids(root)?
            .iter()
            .filter_map(|id| self.any_record(root, id).transpose())
            .collect())
    }

    /// The manifest exactly as it stands in the ACI.
    pub fn manifest_bytes(&self, id: &ImageId) -> Result<Vec<u8>> {
        let Some(root) = self.root()? else {
            return Err(no_ids());
        };
        if !self.is_stored(root, id)? && self.require(root, id)?.packed {
            return self.packed_manifest(root, id);
        }
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

    /// The record of an image that has to be there. If it is packed root unpacks
    /// it now; anybody else gets the record of a packed image.
    pub(crate) fn require(&self, root: BorrowedFd<'_>, id: &ImageId) -> Result<ImageRecord> {
        match self.any_record(root, id)? {
            Some(record) if record.packed && self.unpacks => self.adopt(root, &record),
            record => record.ok_or_else(no_ids),
        }
    }

    pub(crate) fn required_root(&self) -> Result<BorrowedFd<'_>> {
        self.root()?.ok_or_else(no_ids)
    }

    pub(crate) fn is_stored(&self, root: BorrowedFd<'_>, id: &ImageId) -> Result<bool> {
        let path = crate::store::record_path(id);
        files::exists(root, &path).map_err(|err| self.fault("stat", &path, err))
    }

    /// The same for unpacked and packed ones.
    fn any_record_there(&self, root: BorrowedFd<'_>, id: &ImageId) -> Result<bool> {
        Ok(self.is_stored(root, id)? || self.packed_record(root, id)?.is_some())
    }

    fn all_ids(&self, root: BorrowedFd<'_>) -> Result<BTreeSet<ImageId>> {
        let unpacked = self.ids(root)?.into_iter();
        Ok(unpacked.chain(self.packed_ids(root)?).collect())
    }

    /// The IDs that have a folder, stored or half removed.
    pub(crate) fn ids(&self, root: BorrowedFd<'_>) -> Result<Vec<ImageId>> {
        let names = files::names(root, IMAGES).map_err(|err| self.fault("open", IMAGES, err))?;
        Ok(names
            .iter()
            .filter_map(|name| ImageId::new(name).ok())
            .collect())
    }
}
