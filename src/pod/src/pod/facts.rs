//! Small facts that lie in a pod's directory: flavour, kind of roots, user
//! namespace, and whatever else is one short file.

use model::{AcName, Fault, fault::Result};
use rustix::fd::OwnedFd;
use rustix::fs;
use rustix::io::Errno;

use crate::{Pod, files, layout};

impl Pod {
    /// Name of the flavour: symlink `S/flavor`, then `P/flavor`.
    pub fn flavor(&self) -> Option<String> {
        let inside = files::walk(&self.dir, layout::STAGE1_ROOTFS)
            .and_then(|root| fs::readlinkat(&root, layout::FLAVOR, Vec::new()));
        let name = inside
            .or_else(|_| fs::readlinkat(&self.dir, layout::FLAVOR, Vec::new()))
            .ok()?;
        name.into_string().ok()
    }

    /// Writes `P/flavor`; the same name twice is fine.
    pub fn set_flavor(&self, name: &str) -> Result<()> {
        match fs::symlinkat(name, &self.dir, layout::FLAVOR) {
            Err(Errno::EXIST) if self.flavor().as_deref() == Some(name) => Ok(()),
            other => other.map_err(|err| self.io("symlink", err)),
        }
    }

    /// Whether the apps' roots are overlays.
    pub fn is_overlay(&self) -> bool {
        matches!(
            files::stat(&self.dir, layout::OVERLAY_PREPARED),
            Ok(Some(_))
        )
    }

    /// The user namespace's `(shift, count)`, if the pod has its own.
    pub fn private_users(&self) -> Result<Option<(u32, u32)>> {
        let mut buf = [0; 64];
        let bytes = match files::read_into(&self.dir, layout::PRIVATE_USERS_PREPARED, &mut buf) {
            Ok(bytes) => bytes,
            Err(Errno::NOENT) => return Ok(None),
            Err(err) => return Err(self.io("read private-users-prepared of", err)),
        };
        if bytes.is_empty() {
            return Ok(None);
        }
        let range = std::str::from_utf8(bytes).ok().and_then(|text| {
            let (shift, count) = text.trim().split_once(':')?;
            Some((shift.parse().ok()?, count.parse().ok()?))
        });
        match range {
            Some(range) => Ok(Some(range)),
            None => Err(Fault::corrupt(format!(
                "private-users-prepared of pod {:?} is not SHIFT:COUNT",
                self.uuid.as_str()
            ))),
        }
    }

    /// Writes a small file of prepare (mode 0640), in place.
    pub fn write_file(&self, name: &str, bytes: &[u8]) -> Result<()> {
        files::write(&self.dir, name, layout::FILE_MODE, bytes)
            .map_err(|err| self.io(&format!("write {name} of"), err))
    }

    /// Reads a small file of the pod, 64 KiB at most; `None` if it is missing.
    pub fn read_file(&self, name: &str) -> Result<Option<Vec<u8>>> {
        match files::read(&self.dir, name, 64 << 10) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Errno::NOENT) => Ok(None),
            Err(err) => Err(self.io(&format!("read {name} of"), err)),
        }
    }

    /// Makes `appsinfo/<app>` and opens it.
    pub fn make_app_info(&self, app: &AcName) -> Result<OwnedFd> {
        let path = format!("{}/{}", layout::APPS_INFO, app.as_str());
        files::walk_creating(&self.dir, &path, layout::DIR_MODE)
            .map_err(|err| self.io(&format!("mkdir {path} in"), err))
    }
}
