//! What a caller may allow, and how much. The defaults are what a server takes
//! from a stranger: generous for real images, deadly for bombs.

use sys::attributes::Rights;

/// In which form deletions of a layer are on disk, for the overlay that it will
/// be part of. The index of a layer has them in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marks {
    /// Not at all: no overlay of such layers would be right.
    Absent,
    /// Whiteouts and `trusted.overlay.opaque`.
    Trusted,
    /// Whiteouts and `user.overlay.opaque`, as overlays in a user namespace have
    /// them (mount option `userxattr`, Linux 5.11).
    User,
}

impl Marks {
    /// The attribute of an opaque directory.
    pub fn opaque(self) -> Option<&'static str> {
        match self {
            Marks::Absent => None,
            Marks::Trusted => Some("trusted.overlay.opaque"),
            Marks::User => Some("user.overlay.opaque"),
        }
    }
}

/// What of an image's attributes gets onto the disk. Whoever looks at files that
/// were unpacked has to have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Owners are set, and the bits of a mode that only mean something with them.
    pub owners: bool,
    /// File capabilities are set, and devices made as far as the kernel permits.
    pub root: bool,
    /// No device is there: user namespaces have none.
    pub confined: bool,
    pub marks: Marks,
}

impl Form {
    /// What this process can do.
    pub fn own() -> Form {
        let Rights {
            owners,
            root,
            confined,
        } = Rights::own();
        let marks = match (root, confined) {
            (false, _) => Marks::Absent,
            (true, false) => Marks::Trusted,
            (true, true) => Marks::User,
        };
        Form {
            owners,
            root,
            confined,
            marks,
        }
    }

    /// The mode to set. Without owners the bits that would lend another user's
    /// rights mean nothing.
    pub fn mode(self, bits: u32) -> u32 {
        bits & if self.owners { 0o7777 } else { 0o1777 }
    }
}

/// What to do where an owner does not exist in the user namespace.
pub const LARGER_RANGE: &str = "give the user a larger range in /etc/subuid and /etc/subgid, remove the store's images and \
     fetch them again";

/// Bounds and permissions of `unpack_aci` and `unpack_layer`.
#[derive(Clone, Debug)]
pub struct Options {
    /// Character and block devices are made; else left out with a note. A
    /// character device 0:0, which overlay takes for a whiteout, is left out of
    /// an image in any case and refused in a layer.
    pub devices: bool,
    /// The default is what this process can do.
    pub form: Form,
    /// Uncompressed bytes of the archive, and the sum of the sizes that its
    /// files claim (a sparse file claims more than it brings).
    pub max_bytes: u64,
    /// Of a layer the directories that it only implies count too.
    pub max_entries: u64,
    /// Bytes of the names, link targets and attributes of a layer, which are
    /// kept in memory.
    pub max_names: u64,
    /// Uncompressed bytes per compressed byte, looked at from `ratio_from`
    /// uncompressed bytes on: real images do hold files of zeros.
    pub max_ratio: u64,
    pub ratio_from: u64,
    /// Bytes of the `manifest` entry.
    pub max_manifest: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            devices: true,
            form: Form::own(),
            max_bytes: 64 << 30,
            max_entries: 1_000_000,
            max_names: 256 << 20,
            max_ratio: 250,
            ratio_from: 1 << 30,
            max_manifest: 4 << 20,
        }
    }
}

/// How `write_aci` packs.
#[derive(Clone, Debug, Default)]
pub struct PackOptions {
    pub gzip: bool,
    /// Owners are moved back to what the image had.
    pub unshift: Option<Unshift>,
}

/// The range of ids that a pod with private users ran in.
#[derive(Clone, Copy, Debug)]
pub struct Unshift {
    pub base: u32,
    pub count: u32,
}

impl Unshift {
    /// The value of `security.capability` as the image had it. None: it counts
    /// in another namespace than the pod's.
    pub(crate) fn capability(self, value: &[u8]) -> Option<Vec<u8>> {
        sys::attributes::capability_of_root(value, |root| self.back(root))
    }

    /// None: below the shift or beyond the range.
    pub(crate) fn back(self, id: u32) -> Option<u32> {
        id.checked_sub(self.base).filter(|&id| id < self.count)
    }
}
