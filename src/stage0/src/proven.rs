//! What has been tried with success since the machine started is not tried again:
//! making and unmaking an overlay costs milliseconds.
//!
//! A file below `<data>/locks` says so by the boot's id and the devices of the
//! directories that it was tried with. It is a note for speed: whatever is wrong
//! with it means that there is none, and a failure is never noted.

use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Tries unless that is known to succeed.
pub(crate) fn once(
    note: &Path,
    dirs: &[&Path],
    try_it: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    let wanted = key(dirs);
    if let Some(wanted) = &wanted
        && std::fs::read_to_string(note).is_ok_and(|noted| noted == *wanted)
    {
        return Ok(());
    }
    try_it()?;
    if let Some(wanted) = wanted {
        let _not_noted = write(note, &wanted);
    }
    Ok(())
}

fn key(dirs: &[&Path]) -> Option<String> {
    let mut key = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    for dir in dirs {
        key += &format!("{}\n", std::fs::metadata(dir).ok()?.dev());
    }
    Some(key)
}

fn write(note: &Path, text: &str) -> io::Result<()> {
    let mut file = std::fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(note)?;
    io::Write::write_all(&mut file, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn a_success_is_remembered_and_a_failure_is_not() {
        let dir = TempDir::new();
        let note = dir.path().join("note");
        let fails = || Err(io::ErrorKind::Unsupported.into());
        let ask = |dirs: &[&Path], it: &dyn Fn() -> io::Result<()>| once(&note, dirs, it).is_ok();
        assert!(!ask(&[dir.path()], &fails) && !note.exists());
        assert!(ask(&[dir.path()], &|| Ok(())));
        assert!(ask(&[dir.path()], &fails));
        assert!(!ask(&[dir.path(), Path::new("/proc")], &fails));
        assert!(std::fs::write(&note, "nonsense").is_ok());
        assert!(!ask(&[dir.path()], &fails));
    }
}
