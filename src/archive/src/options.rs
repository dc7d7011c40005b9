//! What a caller may allow, and how much. The defaults are what a server takes
//! from a stranger: generous for real images, deadly for bombs.

/// Bounds and permissions of `unpack_aci` and `unpack_layer`.
#[derive(Clone, Debug)]
pub struct Options {
    /// Character and block devices are made; else left out with a note. A
    /// character device 0:0, which overlay takes for a whiteout, is left out of
    /// an image in any case and refused in a layer.
    pub devices: bool,
    /// Owners are set. The default is whether we are root.
    pub owners: bool,
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
            owners: rustix::process::geteuid().is_root(),
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
    /// None: below the shift or beyond the range.
    pub(crate) fn back(self, id: u32) -> Option<u32> {
        id.checked_sub(self.base).filter(|&id| id < self.count)
    }
}
