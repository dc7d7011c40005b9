//! The named parts of a layout or an archive, opened as they are needed.
//!
//! A tar is passed over once for its table of members. One that is not
//! compressed is then read by offsets, from several threads. One that is
//! compressed as a whole cannot be: its small JSON members are kept from the
//! first pass, and the layers come in a second one, in their order in the
//! archive. That inflates twice, and writes nothing.

use archive::{Content, Decoder, Format, Member, Visit, members_of_file, members_of_stream};
use model::fault::{Fault, Result};
use model::oci::{MAX_DOCUMENT, layout};
use model::text::quote;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Small members of a compressed archive that are kept, all together.
const MAX_KEPT: usize = 8 << 20;
/// Symlinks in an archive that lead to symlinks.
const MAX_LINKS: usize = 8;

/// Where the parts are.
pub(super) enum Parts {
    Dir(PathBuf),
    Tar(Box<Tar>),
}

pub(super) struct Tar {
    file: File,
    members: HashMap<String, Content>,
    /// Small members of an archive that is compressed.
    kept: HashMap<String, Vec<u8>>,
    compressed: bool,
    /// The pass over a compressed archive, where the last reader left it.
    parked: Mutex<Option<Pass>>,
}

/// A decoder and how many bytes it has given.
struct Pass {
    decoder: Decoder<FromStart>,
    at: u64,
}

/// Opens what is a regular file, and waits for nothing else.
fn open_regular(path: &Path) -> io::Result<Option<File>> {
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(nonblock).unwrap_or(0))
        .open(path);
    let file = match file {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    match file.metadata()?.is_file() {
        true => Ok(Some(file)),
        false => Err(io::Error::other("not a regular file")),
    }
}

fn format_of(file: &File) -> Result<Format> {
    let mut head = vec![0; 512];
    let mut len = 0;
    while len < head.len() {
        match file.read_at(&mut head[len..], len as u64) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(Fault::io("read", "archive", err)),
        }
    }
    archive::sniff(&head[..len])
}

fn pass_over(file: &File, format: Format, visit: &mut dyn Visit) -> Result<()> {
    match format {
        Format::Tar => members_of_file(file, visit),
        _ => members_of_stream(from_start(file)?, visit),
    }
}

/// A reader with a place of its own in the file.
struct FromStart {
    file: File,
    at: u64,
}

fn from_start(file: &File) -> Result<FromStart> {
    let file = file
        .try_clone()
        .map_err(|err| Fault::io("open", "archive", err))?;
    Ok(FromStart { file, at: 0 })
}

impl Read for FromStart {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buf, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// The name as everybody writes it: no `./`, no slash at the end. `None` for
/// what leads out of the archive, or is no text.
fn clean(name: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(name).ok()?;
    let parts: Vec<&str> = text
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    (!parts.is_empty() && !parts.contains(&"..")).then(|| parts.join("/"))
}

/// Where a symlink in `dir` of the archive leads, if not out of it.
fn resolve(link: &str, target: &[u8]) -> Option<String> {
    let target = std::str::from_utf8(target).ok()?;
    if target.starts_with('/') {
        return None;
    }
    let dir = link.rsplit_once('/').map_or("", |(dir, _)| dir);
    let mut parts: Vec<&str> = dir.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

impl Parts {
    pub(super) fn open(path: &Path) -> Result<Parts> {
        if path.is_dir() {
            return Ok(Parts::Dir(path.to_path_buf()));
        }
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let file = open_regular(path)
            .and_then(|file| file.ok_or_else(missing))
            .map_err(|err| Fault::io("open", path.display(), err))?;
        let format = format_of(&file)?;
        let mut table = Table {
            compressed: format != Format::Tar,
            ..Table::default()
        };
        pass_over(&file, format, &mut table)?;
        Ok(Parts::Tar(Box::new(Tar {
            file,
            members: table.members,
            kept: table.kept,
            compressed: table.compressed,
            parked: Mutex::default(),
        })))
    }

    pub(super) fn has(&self, name: &str) -> Result<bool> {
        Ok(self.size(name)?.is_some())
    }

    /// Bytes of a part; `None` if there is none.
    pub(super) fn size(&self, name: &str) -> Result<Option<u64>> {
        match self {
            Parts::Dir(dir) => match open_regular(&dir.join(name)) {
                Ok(file) => file
                    .map(|file| file.metadata().map(|meta| meta.len()))
                    .transpose()
                    .map_err(|err| Fault::io("stat", quote(name), err)),
                Err(err) => Err(Fault::io("open", quote(name), err)),
            },
            Parts::Tar(tar) => Ok(tar.find(name)?.map(|place| place.size)),
        }
    }

    /// The beginning of a part, up to 512 bytes.
    pub(super) fn head(&self, name: &str) -> Result<Vec<u8>> {
        match self {
            Parts::Dir(_) => {
                let mut head = Vec::new();
                self.open_part(name)?
                    .take(512)
                    .read_to_end(&mut head)
                    .map_err(|err| Fault::io("read", quote(name), err))?;
                Ok(head)
            }
            Parts::Tar(tar) => {
                let place = tar.find(name)?.ok_or_else(|| missing(name))?;
                Ok(place.head.to_vec())
            }
        }
    }

    /// A small part as a whole.
    pub(super) fn read(&self, name: &str, max: usize) -> Result<Vec<u8>> {
        let size = self.size(name)?.ok_or_else(|| missing(name))?;
        if size > max as u64 {
            return Err(Fault::invalid(format!(
                "{} has {size} bytes (limit {max})",
                quote(name)
            )));
        }
        if let Parts::Tar(tar) = self
            && let Some(place) = tar.find(name)?
            && let Some(bytes) = tar.kept.get(&place.name)
        {
            return Ok(bytes.clone());
        }
        let mut bytes = Vec::new();
        self.open_part(name)?
            .take(max as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|err| inner(err, name))?;
        if bytes.len() > max {
            return Err(Fault::invalid(format!(
                "{} grows while it is read",
                quote(name)
            )));
        }
        Ok(bytes)
    }

    /// Opens a part for streaming.
    pub(super) fn open_part(&self, name: &str) -> Result<Box<dyn Read + Send + '_>> {
        match self {
            Parts::Dir(dir) => match open_regular(&dir.join(name)) {
                Ok(Some(file)) => Ok(Box::new(file)),
                Ok(None) => Err(missing(name)),
                Err(err) => Err(Fault::io("open", quote(name), err)),
            },
            Parts::Tar(tar) => {
                let place = tar.find(name)?.ok_or_else(|| missing(name))?;
                tar.open_at(place.offset, place.size)
            }
        }
    }

    /// Where a part lies in a pass that goes in one direction; `None` where
    /// parts can be read in any order, and at once.
    pub(super) fn order(&self, name: &str) -> Option<u64> {
        match self {
            Parts::Tar(tar) if tar.compressed => Some(tar.find(name).ok()??.offset),
            _ => None,
        }
    }
}

fn missing(name: &str) -> Fault {
    Fault::not_found(format!("{} is not in it", quote(name)))
}

/// A fault that came through a reader, or what the reader says.
pub(super) fn inner(err: io::Error, name: &str) -> Fault {
    match err
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Fault>())
    {
        Some(fault) => fault.clone(),
        None => Fault::io("read", quote(name), err),
    }
}

struct Place<'t> {
    name: String,
    offset: u64,
    size: u64,
    head: &'t [u8],
}

impl Tar {
    /// The file that a name means, links of the archive followed.
    fn find(&self, name: &str) -> Result<Option<Place<'_>>> {
        let mut name = name.to_string();
        for _ in 0..MAX_LINKS {
            let next = match self.members.get(&name) {
                None => return Ok(None),
                Some(Content::File { offset, size, head }) => {
                    return Ok(Some(Place {
                        name,
                        offset: *offset,
                        size: *size,
                        head,
                    }));
                }
                Some(Content::Symlink(target)) => resolve(&name, target),
                Some(Content::Hardlink(target)) => clean(target),
                Some(_) => {
                    return Err(Fault::invalid(format!("{} is no file", quote(&name))));
                }
            };
            name = next.ok_or_else(|| {
                Fault::refused(format!("{} is a link out of the archive", quote(&name)))
            })?;
        }
        Err(Fault::invalid(format!(
            "{} leads through more than {MAX_LINKS} links",
            quote(&name)
        )))
    }

    fn open_at(&self, offset: u64, size: u64) -> Result<Box<dyn Read + Send + '_>> {
        if !self.compressed {
            return Ok(Box::new(Slice {
                file: &self.file,
                at: offset,
                left: size,
            }));
        }
        let parked = crate::image::lock(&self.parked).take();
        let mut pass = match parked {
            Some(pass) if pass.at <= offset => pass,
            _ => Pass {
                decoder: Decoder::new(from_start(&self.file)?)?,
                at: 0,
            },
        };
        let skip = offset - pass.at;
        let skipped = io::copy(&mut pass.decoder.by_ref().take(skip), &mut io::sink())
            .map_err(|err| pass.decoder.fault(err))?;
        if skipped != skip {
            return Err(Fault::invalid("unexpected EOF"));
        }
        pass.at = offset;
        Ok(Box::new(InPass {
            home: &self.parked,
            pass: Some(pass),
            left: size,
        }))
    }
}

/// A part of a file.
struct Slice<'f> {
    file: &'f File,
    at: u64,
    left: u64,
}

impl Read for Slice<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let max = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buf.len());
        if max == 0 {
            return Ok(0);
        }
        let n = self.file.read_at(&mut buf[..max], self.at)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += n as u64;
        self.left -= n as u64;
        Ok(n)
    }
}

/// A part of a pass, which goes back to where the next reader finds it.
struct InPass<'t> {
    home: &'t Mutex<Option<Pass>>,
    pass: Option<Pass>,
    left: u64,
}

impl Read for InPass<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let max = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buf.len());
        let Some(pass) = self.pass.as_mut().filter(|_| max > 0) else {
            return Ok(0);
        };
        let n = pass.decoder.read(&mut buf[..max])?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        pass.at += n as u64;
        self.left -= n as u64;
        Ok(n)
    }
}

impl Drop for InPass<'_> {
    fn drop(&mut self) {
        *crate::image::lock(self.home) = self.pass.take();
    }
}

/// The first pass.
#[derive(Default)]
struct Table {
    members: HashMap<String, Content>,
    kept: HashMap<String, Vec<u8>>,
    kept_bytes: usize,
    compressed: bool,
}

impl Visit for Table {
    fn wants(&mut self, name: &[u8], size: u64) -> bool {
        // Blobs too: configs and manifests are among them.
        let named = name.ends_with(b".json")
            || name.ends_with(layout::HEADER.as_bytes())
            || clean(name).is_some_and(|name| name.starts_with("blobs/"));
        let room = MAX_KEPT - self.kept_bytes;
        self.compressed && named && size <= room.min(MAX_DOCUMENT) as u64
    }

    fn member(&mut self, member: Member, content: Option<Vec<u8>>) -> Result<bool> {
        let Some(name) = clean(&member.name) else {
            return Ok(true);
        };
        self.kept.remove(&name);
        // What is no JSON is a layer, which does not have to be kept.
        if let Some(content) = content.filter(|bytes| matches!(bytes.first(), Some(b'{' | b'['))) {
            self.kept_bytes += content.len();
            self.kept.insert(name.clone(), content);
        }
        self.members.insert(name, member.content);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_and_do_not_lead_out() {
        for (name, want) in [
            ("a", Some("a")),
            ("./a//b/", Some("a/b")),
            ("/a", Some("a")),
            ("a/../b", None),
            ("..", None),
            ("./", None),
            ("", None),
        ] {
            assert_eq!(clean(name.as_bytes()).as_deref(), want, "{name}");
        }
        assert_eq!(clean(b"\xff"), None);
        for (link, target, want) in [
            ("a/layer.tar", "../b/layer.tar", Some("b/layer.tar")),
            ("a/layer.tar", "x", Some("a/x")),
            ("layer.tar", "../b", None),
            ("a/l", "../../b", None),
            ("a/l", "/etc/passwd", None),
            ("a/l", "..", None),
        ] {
            assert_eq!(
                resolve(link, target.as_bytes()).as_deref(),
                want,
                "{link} {target}"
            );
        }
    }
}
