//! Root unpacks an image that somebody else has packed, at its first use. Nothing
//! that comes with it is believed: the blobs are read once, from fds, and the ID
//! is computed of what was read.

use crate::inbox::Inbox;
use crate::inbox::packed_path;
use crate::pack::ACI;
use crate::put::{Origin, check_id};
use crate::record::ImageRecord;
use crate::store::Store;
use model::{ImageId, Kind, fault::Result};
use rustix::io::Errno;
use std::os::fd::BorrowedFd;

impl Store {
    /// Turns a packed image into one like all others.
    pub(crate) fn adopt(&self, root: BorrowedFd<'_>, packed: &ImageRecord) -> Result<ImageRecord> {
        let unpacked = self.unpack_packed(root, packed).map_err(|fault| {
            let fault = fault.link(format!("unpack {:?}", packed.id.as_str()));
            // Not the image's fault.
            let short = [
                Errno::NOSPC,
                Errno::DQUOT,
                Errno::MFILE,
                Errno::NFILE,
                Errno::IO,
            ];
            let short = short.map(|errno| Some(errno.raw_os_error()));
            if short.contains(&fault.errno()) || fault.kind == Kind::Unsupported {
                return fault;
            }
            fault.hint(format!(
                "rkt image rm {}, and fetch it again",
                packed.id.as_str()
            ))
        })?;
        self.drop_packed(root, &packed.id)?;
        Ok(unpacked)
    }

    fn unpack_packed(&self, root: BorrowedFd<'_>, packed: &ImageRecord) -> Result<ImageRecord> {
        let origin = Origin {
            latest: packed.latest,
            ..Origin::default()
        };
        if packed.layers.is_empty() {
            let mut blob = self.packed_blob(root, &packed.id, ACI)?;
            return self.unpack_aci(&mut blob, &origin, &mut |record| {
                check_id(&record.id, Some(&packed.id))
            });
        }
        let manifest = self.packed_manifest(root, &packed.id)?;
        let assembly = self.reassemble(root, packed)?;
        assembly.publish_as(&manifest, &packed.layers, &origin, Some(&packed.id))
    }

    fn drop_packed(&self, root: BorrowedFd<'_>, id: &ImageId) -> Result<()> {
        let failed = |err| self.fault("remove", &packed_path(id), err);
        match Inbox::open(root).map_err(failed)? {
            Some(inbox) => inbox.remove(id).map_err(failed),
            None => Ok(()),
        }
    }
}
