//! Files and directories that a verb makes for its user: under a temporary
//! name beside the target, renamed at the end, gone after a failure.

use model::{Fault, fault::Result};
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Writes a file of mode 0644. An existing one is refused with the text
/// `exists`, or replaced at the end if `overwrite`. What is no regular file (a
/// pipe, `/dev/null`) is written to as it is.
pub fn write_file(
    path: &Path,
    overwrite: bool,
    exists: &str,
    fill: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    match std::fs::metadata(path) {
        Ok(_) if !overwrite => return Err(Fault::conflict(exists)),
        Ok(meta) if meta.is_dir() => {
            return Err(Fault::io("open", path.display(), rustix::io::Errno::ISDIR));
        }
        Ok(meta) if !meta.is_file() => {
            let mut out = std::fs::OpenOptions::new()
                .write(true)
                .open(path)
                .map_err(|e| Fault::io("open", path.display(), e))?;
            return fill(&mut out);
        }
        // A dangling symlink is refused by the rename's absence of effect on
        // its target: it is replaced itself.
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(Fault::io("open", path.display(), e)),
    }
    let temp = beside(path)?;
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&temp)
        .map_err(|e| Fault::io("open", path.display(), e))
        .and_then(|file| {
            let mut out = io::BufWriter::with_capacity(256 << 10, file);
            fill(&mut out)?;
            out.flush()
                .map_err(|e| Fault::io("write", path.display(), e))
        })
        .and_then(|()| {
            std::fs::rename(&temp, path).map_err(|e| Fault::io("rename", path.display(), e))
        });
    if written.is_err() {
        // The first failure is the one to report.
        let _gone = std::fs::remove_file(&temp);
    }
    written
}

/// Makes a directory of mode 0755 and fills it. An existing one is refused, or
/// replaced if `overwrite`; the root of the file system always is.
pub fn make_dir(
    path: &Path,
    overwrite: bool,
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let absolute = std::path::absolute(path).map_err(|e| Fault::io("getwd", "", e))?;
    let real = std::fs::canonicalize(&absolute).unwrap_or_else(|_| absolute.clone());
    if real == Path::new("/") {
        return Err(Fault::refused(
            "this would delete your root filesystem. Refusing.",
        ));
    }
    let there = std::fs::symlink_metadata(&absolute).is_ok();
    if there && !overwrite {
        return Err(Fault::conflict("output directory exists (try --overwrite)"));
    }
    let temp = beside(&absolute)?;
    let made = std::fs::DirBuilder::new()
        .mode(0o755)
        .create(&temp)
        .map_err(|e| Fault::io("mkdir", path.display(), e))
        .and_then(|()| fill(&temp))
        .and_then(|()| if there { remove(&absolute) } else { Ok(()) })
        .and_then(|()| {
            std::fs::rename(&temp, &absolute).map_err(|e| Fault::io("rename", path.display(), e))
        });
    if made.is_err() {
        let _gone = remove(&temp);
    }
    made
}

/// Removes a tree; never what is mounted inside.
pub fn remove(path: &Path) -> Result<()> {
    let failed = |e: io::Error| Fault::io("remove", path.display(), e);
    let name = path
        .file_name()
        .ok_or_else(|| Fault::refused("\"/\" is never removed"))?;
    let parent = rustix::fs::open(
        path.parent().unwrap_or(Path::new("/")),
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )
    .map_err(|e| failed(e.into()))?;
    sys::fs::remove_tree(std::os::fd::AsFd::as_fd(&parent), name).map_err(failed)
}

/// `DIR/manifest` of `image render`, mode 0700 as ever.
pub fn write_manifest(dir: &Path, bytes: &[u8]) -> Result<()> {
    let path = dir.join("manifest");
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o700)
        .open(&path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(|e| Fault::io("write", path.display(), e))
}

/// Makes an empty directory of mode 0755 inside one.
pub fn sub_dir(dir: &Path, name: &str) -> Result<PathBuf> {
    let path = dir.join(name);
    std::fs::DirBuilder::new()
        .mode(0o755)
        .create(&path)
        .map_err(|e| Fault::io("mkdir", path.display(), e))?;
    Ok(path)
}

/// A name in the same directory that nobody else uses.
fn beside(path: &Path) -> Result<PathBuf> {
    let Some(name) = path.file_name() else {
        return Err(Fault::invalid(format!(
            "{:?} names no file",
            path.display().to_string()
        )));
    };
    let mut random = [0_u8; 6];
    crate::random::fill(&mut random)?;
    let mut temp = OsString::from(".");
    temp.push(name);
    temp.push(format!(
        ".{}",
        random.map(|byte| format!("{byte:02x}")).concat()
    ));
    Ok(path.with_file_name(temp))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn an_existing_file_is_kept_without_overwrite_and_after_a_failure() {
        let dir = TempDir::new();
        let path = dir.path().join("out");
        std::fs::write(&path, "old").unwrap();
        let refused = write_file(&path, false, "no!", |_| Ok(())).unwrap_err();
        assert_eq!(refused.cause, "no!");
        let failed = write_file(&path, true, "no!", |out| {
            out.write_all(b"new").unwrap();
            Err(Fault::invalid("broken"))
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names(dir.path()), ["out"]);
        write_file(&path, true, "no!", |out| {
            out.write_all(b"new").unwrap();
            Ok(())
        })
        .unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
    }

    #[test]
    fn a_directory_is_replaced_as_a_whole_or_not_at_all() {
        let dir = TempDir::new();
        let path = dir.path().join("out");
        let fill = |dir: &Path| {
            std::fs::write(dir.join("a"), "1").unwrap();
            Ok(())
        };
        make_dir(&path, false, fill).unwrap();
        assert!(make_dir(&path, false, fill).is_err());
        assert!(make_dir(&path, true, |_| Err(Fault::invalid("broken"))).is_err());
        assert_eq!(names(&path), ["a"]);
        make_dir(&path, true, |_| Ok(())).unwrap();
        assert!(names(&path).is_empty());
        assert_eq!(names(dir.path()), ["out"]);
    }

    #[test]
    fn the_root_is_never_replaced() {
        let fault = make_dir(Path::new("/usr/.."), true, |_| Ok(())).unwrap_err();
        assert_eq!(
            fault.cause,
            "this would delete your root filesystem. Refusing."
        );
    }
}
