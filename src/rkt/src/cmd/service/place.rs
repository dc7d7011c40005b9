//! Where the files of a service go: to stdout, each under a line with its path
//! if there are several, or to a directory.

use super::unit::File;
use crate::output;
use model::fault::{Fault, Result};
use std::fs::{OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

pub fn print(files: &[File]) -> Result<()> {
    if let [file] = files {
        return output::out(&file.text);
    }
    for (at, file) in files.iter().enumerate() {
        let gap = if at == 0 { "" } else { "\n" };
        output::out(&format!("{gap}# file: {}\n{}", file.path, file.text))?;
    }
    Ok(())
}

/// Writes them all, or says which one is there already before any is written.
/// Each appears at once and whole; their paths go to stdout.
pub fn write(files: &[File], overwrite: bool) -> Result<()> {
    for file in files {
        match std::fs::symlink_metadata(&file.path) {
            Ok(_) if !overwrite => return Err(exists(&file.path)),
            Ok(meta) if !meta.is_file() => {
                let what = "is there and is no plain file";
                return Err(Fault::conflict(format!("{} {what}", file.path)));
            }
            _ => {}
        }
    }
    for file in files {
        one(file, overwrite)?;
        output::out(&format!("{}\n", file.path))?;
    }
    Ok(())
}

fn exists(path: &str) -> Fault {
    Fault::conflict(format!("{path} exists")).hint("--overwrite replaces it")
}

fn one(file: &File, overwrite: bool) -> Result<()> {
    let path = Path::new(&file.path);
    let failed = |verb, e| Fault::io(verb, &file.path, e);
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(|e| Fault::io("mkdir", dir.display(), e))?;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temp = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let mut out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(file.mode)
        .open(&temp)
        .map_err(|e| failed("open", e))?;
    let done = out
        .write_all(file.text.as_bytes())
        // The umask is the caller's; the modes are the service's.
        .and_then(|()| out.set_permissions(Permissions::from_mode(file.mode)))
        .and_then(|()| out.sync_all())
        .and_then(|()| match overwrite {
            true => std::fs::rename(&temp, path),
            // Not a rename: that would replace what came meanwhile.
            false => std::fs::hard_link(&temp, path),
        });
    // After a rename there is none; the first failure is the one to report.
    let _gone = std::fs::remove_file(&temp);
    match done {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Err(exists(&file.path)),
        done => done.map_err(|e| failed("write", e)),
    }
}
