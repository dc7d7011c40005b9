//! The store's place on disk: where it is, which folders it has, how they come
//! to be. Opening costs one system call and creates nothing; folders appear
//! with the first image.

use crate::files;
use crate::inbox::Inbox;
use model::{Fault, ImageId, fault::Result};
use rustix::fs::{FlockOperation, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

pub(crate) const IMAGES: &str = "images";
pub(crate) const NAMES: &str = "names";
pub(crate) const URLS: &str = "urls";
pub(crate) const LAYERS: &str = "layers";
pub(crate) const TREES: &str = "trees";
pub(crate) const SHORT: &str = "l";
pub(crate) const HOLDS: &str = "holds";
pub(crate) const TMP: &str = "tmp";
pub(crate) const PACKED: &str = "packed";

/// Members of the data directory's group may read what images there are, never
/// the files of images: these carry foreign setuid programs.
const FOLDERS: [(&str, u32); 8] = [
    (IMAGES, 0o750),
    (NAMES, 0o750),
    (URLS, 0o750),
    (LAYERS, 0o700),
    (TREES, 0o700),
    (SHORT, 0o700),
    (HOLDS, 0o700),
    (TMP, 0o700),
];

/// The images below one data directory. Any number of processes and threads may
/// use the same store at once.
#[derive(Debug)]
pub struct Store {
    /// `<dir>/store`, absolute.
    path: PathBuf,
    root: OnceLock<OwnedFd>,
    /// Images are unpacked as they come. Only root, if only of a user namespace,
    /// can give files their owners; what anybody else brings stays packed.
    pub(crate) unpacks: bool,
    /// Once it was looked at.
    pub(crate) form: OnceLock<archive::Form>,
    read_only: OnceLock<bool>,
}

impl Store {
    /// Opens the store of a data directory. A directory that does not exist is
    /// an empty store; it is made when the first image comes.
    pub fn open(data_dir: &Path) -> Result<Store> {
        let data_dir = std::path::absolute(data_dir)
            .map_err(|err| Fault::io("open", data_dir.display(), err))?;
        let store = Store {
            path: data_dir.join("store"),
            root: OnceLock::new(),
            unpacks: rustix::process::geteuid().is_root(),
            form: OnceLock::new(),
            read_only: OnceLock::new(),
        };
        store.root()?;
        Ok(store)
    }

    /// `<dir>/store`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The store's directory, if there is one yet.
    pub(crate) fn root(&self) -> Result<Option<BorrowedFd<'_>>> {
        if let Some(root) = self.root.get() {
            return Ok(Some(root.as_fd()));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(&self.path, flags, Mode::empty()) {
            Ok(root) => {
                self.check_owner(root.as_fd())?;
                Ok(Some(self.root.get_or_init(|| root).as_fd()))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(err) => Err(Fault::io("open", self.path.display(), err)),
        }
    }

    /// Whether the file system that the store lies on, or would be made on, takes
    /// no changes: squashfs, or mounted read-only. Nothing can go from such a
    /// store, so pods need no holds there.
    pub fn is_read_only(&self) -> bool {
        *self.read_only.get_or_init(|| {
            let mut places = self.path.ancestors();
            let found = places.find_map(|place| rustix::fs::statvfs(place).ok());
            found.is_some_and(|found| found.f_flag.contains(StatVfsMountFlags::RDONLY))
        })
    }

    /// Before anything is changed: one answer instead of some call's "read-only
    /// file system" half-way.
    pub fn check_writable(&self) -> Result<()> {
        if !self.is_read_only() {
            return Ok(());
        }
        Err(Fault::refused(format!(
            "the image store \"{}\" is read-only",
            self.path.display()
        ))
        .hint(
            "fetch and remove images where the store can be written and make its read-only copy \
             anew, or mount it writable; rkt image list shows what is there",
        ))
    }

    /// Root runs what lies in a store, so it takes only its own, or that of
    /// whoever the data directory belongs to: a member of the group who was the
    /// first to fetch could put other files there at any time.
    fn check_owner(&self, root: BorrowedFd<'_>) -> Result<()> {
        if !self.unpacks {
            return Ok(());
        }
        let stat = rustix::fs::fstat(root).map_err(|err| self.fault("stat", "", err.into()))?;
        let parent = self.path.parent().expect("the path ends in `store`");
        let above =
            rustix::fs::stat(parent).map_err(|err| Fault::io("stat", parent.display(), err))?;
        if stat.st_uid == 0 || stat.st_uid == above.st_uid {
            return Ok(());
        }
        Err(Fault::refused(format!(
            "\"{}\" belongs to user {}, to whom \"{}\" does not",
            self.path.display(),
            stat.st_uid,
            parent.display()
        ))
        .hint("remove it; the first fetch by root makes it anew"))
    }

    /// The store's directory, made with all its folders where they are missing.
    pub(crate) fn make(&self) -> Result<BorrowedFd<'_>> {
        self.check_writable()?;
        let parent = self.path.parent().expect("the path ends in `store`");
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(parent)
            .map_err(|err| self.unmade("", err))?;
        let made = rustix::fs::open(
            parent,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(io::Error::from)
        .and_then(|parent| files::ensure_dir(parent.as_fd(), "store", 0o750));
        made.map_err(|err| self.unmade("", err))?;
        let root = self
            .root()?
            .ok_or_else(|| Fault::io("open", self.path.display(), Errno::NOENT))?;
        for (name, mode) in FOLDERS {
            files::ensure_dir(root, name, mode).map_err(|err| self.unmade(name, err))?;
        }
        self.settle_form()?;
        Inbox::make(root).map_err(|err| self.unmade(PACKED, err))?;
        Ok(root)
    }

    pub(crate) fn unmade(&self, inside: &str, err: io::Error) -> Fault {
        let denied = err.kind() == io::ErrorKind::PermissionDenied;
        let fault = Fault::io("mkdir", self.path.join(inside).display(), err);
        if denied && !rustix::process::geteuid().is_root() {
            return fault.hint(
                "join the group of the data directory, where root has to have fetched an image \
                 before; or run it as root",
            );
        }
        fault
    }

    /// A failure on something inside the store, named by its full path.
    pub(crate) fn fault(&self, verb: &str, inside: &str, err: io::Error) -> Fault {
        let denied = err.kind() == io::ErrorKind::PermissionDenied;
        let fault = Fault::io(verb, self.path.join(inside).display(), err);
        if denied && !rustix::process::geteuid().is_root() {
            return fault.hint("run it as root: what root has unpacked is root's alone");
        }
        fault
    }

    /// Serialises those who add, replace or remove image records. Held for a few
    /// renames only, never while bytes are moved; readers do not take it. The lock
    /// is on a directory that members cannot open: they could hold it for ever.
    pub(crate) fn lock_images(&self, root: BorrowedFd<'_>) -> Result<OwnedFd> {
        files::open_dir(root, TMP)
            .and_then(|dir| {
                files::lock(dir.as_fd(), FlockOperation::LockExclusive)?;
                Ok(dir)
            })
            .map_err(|err| self.fault("lock", TMP, err))
    }
}

pub(crate) fn record_path(id: &ImageId) -> String {
    format!("{IMAGES}/{}/record", id.as_str())
}

pub(crate) fn manifest_path(id: &ImageId) -> String {
    format!("{IMAGES}/{}/manifest", id.as_str())
}

/// Whether `<dir>/cas/db` exists: images that rkt 1.30 and before have stored
/// there are not ours, and are left alone.
pub fn old_database(data_dir: &Path) -> bool {
    data_dir.join("cas/db").is_dir()
}
