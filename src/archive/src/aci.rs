//! The layout of an application container image: `manifest` and `rootfs/`.
//!
//! One pass over the stream. The manifest may stand anywhere (the reference
//! tool writes it last), so it is collected, bounded, and returned raw; parsing
//! it is the caller's. Messages are those of the reference validator where it
//! has one. A name that appears twice is taken (the later entry wins, with a
//! note), since images like that are around.

use std::fs::File;
use std::io::Read;
use std::os::fd::BorrowedFd;

use model::digest::Algorithm;
use model::fault::{Fault, Result};

use crate::entry::{Entries, Entry, Kind, Tee};
use crate::extract::{Grown, Tree};
use crate::name::{LAYOUT, Place, cleaned, placed, shown};
use crate::options::Options;
use crate::pipeline;
use crate::recipe::Recipe;
use crate::sniff::sniff;
use crate::tape::{Tape, padding};

/// An image that was unpacked.
#[derive(Clone, Debug)]
pub struct Unpacked {
    /// SHA-512 of the uncompressed archive: the image ID.
    pub digest: [u8; 64],
    /// The raw `manifest` entry.
    pub manifest: Vec<u8>,
    /// Bytes of the uncompressed archive.
    pub size: u64,
    /// Bytes of the regular files below `rootfs`, hard links counted once.
    pub rootfs_bytes: u64,
    pub entries: u64,
    /// What was left out or is odd, for the log.
    pub notes: Vec<String>,
}

/// Unpacks `source` into `dest`, an empty directory, which gets `rootfs`, and
/// writes the recipe for `rebuild`. On an error the caller removes `dest`.
pub fn unpack_aci(
    source: impl Read + Send,
    dest: BorrowedFd<'_>,
    recipe_out: File,
    options: &Options,
) -> Result<Unpacked> {
    let mut recipe = Recipe::new(&recipe_out)?;
    let (image, sum) = pipeline::run(source, sniff, Algorithm::Sha512, options, |tape| {
        let mut image = Image {
            tree: Tree::new(dest, options)?,
            options,
            manifest: None,
            rootfs: false,
            entries: 0,
        };
        image.read(tape, &mut recipe)?;
        image.finish()
    })?;
    let digest = sum
        .digest
        .try_into()
        .expect("a SHA-512 digest has 64 bytes");
    recipe.finish(sum.size, &digest)?;
    let (manifest, entries, Grown { bytes, notes }) = image;
    Ok(Unpacked {
        digest,
        manifest,
        size: sum.size,
        rootfs_bytes: bytes,
        entries,
        notes,
    })
}

struct Image<'o> {
    tree: Tree<'o>,
    options: &'o Options,
    manifest: Option<Vec<u8>>,
    rootfs: bool,
    entries: u64,
}

impl Image<'_> {
    fn read(&mut self, tape: &mut Tape<'_>, recipe: &mut Recipe<'_>) -> Result<()> {
        let mut entries = Entries::default();
        while let Some(entry) = entries.next(tape, recipe)? {
            self.entries += 1;
            if self.entries > self.options.max_entries {
                let max = self.options.max_entries;
                return Err(Fault::refused(format!(
                    "the image has more than {max} entries"
                )));
            }
            self.entry(&entry, tape, recipe)?;
            tape.each(padding(entry.stored), |bytes| recipe.literal(bytes))?;
        }
        // Whatever follows belongs to the image ID too.
        loop {
            let rest = tape.piece(u64::MAX)?;
            if rest.is_empty() {
                return Ok(());
            }
            recipe.literal(rest)?;
        }
    }

    fn entry(&mut self, entry: &Entry, tape: &mut Tape<'_>, recipe: &mut Recipe<'_>) -> Result<()> {
        let clean = cleaned(&entry.name)?;
        match placed(&clean)? {
            Place::Inside(path) => return self.tree.grow(path, entry, tape, recipe),
            Place::Manifest => return self.manifest(entry, tape, recipe),
            Place::Top => {}
            Place::Rootfs => {
                if entry.kind != Kind::Dir {
                    return Err(Fault::invalid("rootfs is not a directory"));
                }
                self.rootfs = true;
                self.tree.top(entry);
            }
        }
        tape.each(entry.stored, |bytes| recipe.literal(bytes))
    }

    fn manifest(
        &mut self,
        entry: &Entry,
        tape: &mut Tape<'_>,
        recipe: &mut Recipe<'_>,
    ) -> Result<()> {
        let name = shown(&entry.name);
        if self.manifest.is_some() {
            return Err(Fault::invalid(format!(
                "duplicate file entry in archive: {name}"
            )));
        }
        if entry.kind != Kind::File || entry.sparse.is_some() {
            return Err(Fault::invalid("the image manifest is not a regular file"));
        }
        if entry.stored > self.options.max_manifest {
            let max = self.options.max_manifest;
            return Err(Fault::refused(format!(
                "the image manifest is longer than {max} bytes"
            )));
        }
        let mut manifest = Vec::with_capacity(entry.stored as usize);
        tape.each(entry.stored, |bytes| {
            manifest.extend_from_slice(bytes);
            recipe.literal(bytes)
        })?;
        self.manifest = Some(manifest);
        Ok(())
    }

    fn finish(self) -> Result<(Vec<u8>, u64, Grown)> {
        let missing = |what| Fault::invalid(format!("no {what} found in layout")).hint(LAYOUT);
        let manifest = self.manifest.ok_or_else(|| missing("image manifest"))?;
        if !self.rootfs {
            return Err(missing("rootfs"));
        }
        Ok((manifest, self.entries, self.tree.finish()?))
    }
}
