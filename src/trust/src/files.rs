//! Key files on disk: bounded reading, atomic writing, and the walk along the
//! directories of a name.
//!
//! A key file may be a symlink, as systems that keep `/etc` elsewhere have it.
//! What others than its owner and group may write is not trusted.

use model::fault::{Fault, Result};
use rustix::fs::OFlags;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Key files in one directory.
const MAX_FILES: usize = 1024;

/// One file of a key directory.
pub(crate) struct KeyFile {
    /// The fingerprint that its name claims.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) content: Content,
}

pub(crate) enum Content {
    /// Nothing: takes the trust away.
    Empty,
    Bytes(Vec<u8>),
    /// Why it cannot be used.
    Bad(String),
}

/// The directories of a name below `base`: `a`, `a/b`, `a/b/c`. A component
/// that would lead elsewhere ends the chain: nothing was ever trusted for it.
pub(crate) fn chain(base: &Path, name: &str) -> Vec<PathBuf> {
    let mut dirs = Vec::new();
    let mut dir = base.to_path_buf();
    for component in name.split('/') {
        if !is_component(component) {
            break;
        }
        dir.push(component);
        dirs.push(dir.clone());
    }
    dirs
}

/// Fit to be one directory below another.
pub(crate) fn is_component(text: &str) -> bool {
    !matches!(text, "" | "." | "..") && !text.contains(['/', '\0'])
}

/// The key files of a directory, sorted by name; none if there is no directory.
/// `digits` is the length of a fingerprint in hex.
pub(crate) fn list(dir: &Path, digits: usize, max: usize) -> Result<Vec<KeyFile>> {
    let failed = |e| Fault::io("open", dir.display(), e);
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if is_missing(&e) => return Ok(Vec::new()),
        Err(e) => return Err(failed(e)),
    };
    let open_to_all = is_open_to_all(&fs::metadata(dir).map_err(failed)?);
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        // Directories are longer prefixes; hidden files are being written.
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_dir || name.as_bytes().starts_with(b".") {
            continue;
        }
        if files.len() == MAX_FILES {
            return Err(Fault::invalid(format!(
                "more than {MAX_FILES} key files in {}",
                dir.display()
            )));
        }
        let path = entry.path();
        let name = name.to_string_lossy().into_owned();
        let content = if !is_fingerprint(&name, digits) {
            Content::Bad("its name is no fingerprint".into())
        } else if open_to_all {
            Content::Bad("everybody may write to its directory".into())
        } else {
            read(&path, max).unwrap_or_else(|e| Content::Bad(e.to_string()))
        };
        files.push(KeyFile {
            name,
            path,
            content,
        });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

pub(crate) fn is_fingerprint(text: &str, digits: usize) -> bool {
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == digits && text.bytes().all(lower)
}

fn is_missing(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn is_open_to_all(meta: &fs::Metadata) -> bool {
    meta.mode() & 0o002 != 0
}

fn read(path: &Path, max: usize) -> io::Result<Content> {
    // Neither a pipe nor a device may make us wait.
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags(OFlags::NONBLOCK | OFlags::NOCTTY))
        .open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Ok(Content::Bad("it is no regular file".into()));
    }
    if is_open_to_all(&meta) {
        return Ok(Content::Bad("everybody may write to it".into()));
    }
    let mut bytes = Vec::new();
    file.take(max as u64 + 1).read_to_end(&mut bytes)?;
    Ok(match bytes.len() {
        0 => Content::Empty,
        len if len > max => Content::Bad(format!("it is larger than {max} bytes")),
        _ => Content::Bytes(bytes),
    })
}

fn flags(flags: OFlags) -> i32 {
    i32::try_from(flags.bits()).expect("open flags fit into an int")
}

/// Writes `dir/name` at once and whole, mode 0644; makes the directories, mode
/// 0755, whatever the umask.
pub(crate) fn write(dir: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf> {
    make_dirs(dir)?;
    let path = dir.join(name);
    let staged = dir.join(format!(".{name}.{}", std::process::id()));
    let failed = |e| Fault::io("write", path.display(), e);
    let result = stage(&staged, bytes).and_then(|()| fs::rename(&staged, &path));
    if let Err(e) = result {
        // Nothing more can be done about what is left of it.
        let _ = fs::remove_file(&staged);
        return Err(failed(e));
    }
    sync_dir(dir).map_err(failed)?;
    Ok(path)
}

fn stage(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // One that a killed process of the same number left behind.
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)?;
    file.write_all(bytes)?;
    file.set_permissions(Permissions::from_mode(0o644))?;
    file.sync_all()
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn make_dirs(dir: &Path) -> Result<()> {
    let failed = |e| Fault::io("mkdir", dir.display(), e);
    let mut missing = Vec::new();
    let mut at = dir;
    while !at.exists() {
        missing.push(at);
        match at.parent() {
            Some(parent) => at = parent,
            None => break,
        }
    }
    for dir in missing.into_iter().rev() {
        match fs::DirBuilder::new().mode(0o755).create(dir) {
            Ok(()) => fs::set_permissions(dir, Permissions::from_mode(0o755)).map_err(failed)?,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(failed(e)),
        }
    }
    Ok(())
}
