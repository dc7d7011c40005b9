//! The configuration directories: every `*.json` of the roots `--system-config`,
//! `--local-config` and `--user-config` read and merged, the later root stronger.
//!
//! Only regular files count; symlinks and sub-directories are passed over. What
//! is missing is no error, what is malformed is.

use crate::env::Env;
use model::config::{Config, ConfigDir, MAX_FILE, parse_file};
use model::{Fault, Value, fault::Result};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// `rkt config`: the configuration in force as one JSON document.
pub fn document(env: &Env) -> Value {
    env.config.to_json()
}

/// Reads the roots in increasing strength.
pub(crate) fn read(roots: &[&Path]) -> Result<Config> {
    let mut config = Config::default();
    for root in roots {
        if is_directory(root)? {
            config.override_with(read_root(root)?);
        }
    }
    Ok(config)
}

fn read_root(root: &Path) -> Result<Config> {
    let mut config = Config::default();
    for kind in ConfigDir::ALL {
        let dir = root.join(kind.name());
        if !is_directory(&dir)? {
            continue;
        }
        for path in json_files(&dir)? {
            let bytes = read_file(&path)?;
            config.add(parse_file(kind, &path.to_string_lossy(), &bytes)?)?;
        }
    }
    Ok(config)
}

/// `false` where nothing is.
fn is_directory(path: &Path) -> Result<bool> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => Ok(true),
        Ok(_) => Err(Fault::invalid(format!(
            "expected {:?} to be a directory",
            path.to_string_lossy()
        ))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Fault::io("stat", path.display(), e)),
    }
}

fn json_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let failed = |e| Fault::io("open", dir.display(), e);
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        let regular = entry.file_type().is_ok_and(|kind| kind.is_file());
        if regular
            && path
                .extension()
                .is_some_and(|extension| extension == "json")
        {
            files.push(path);
        }
    }
    // The order of the directory means nothing to anybody.
    files.sort();
    Ok(files)
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    let failed = |e| Fault::io("open", path.display(), e);
    // Not through a link that took the file's place meanwhile.
    let nofollow = rustix::fs::OFlags::NOFOLLOW.bits();
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(nofollow).expect("open flags fit into an int"))
        .open(path)
        .map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() > MAX_FILE {
        return Err(Fault::invalid(format!(
            "{} is larger than {MAX_FILE} bytes",
            path.display()
        )));
    }
    Ok(bytes)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    fn put(root: &Path, dir: &str, name: &str, text: &str) {
        fs::create_dir_all(root.join(dir)).unwrap();
        fs::write(root.join(dir).join(name), text).unwrap();
    }

    const PATHS: &str = r#"{"rktKind":"paths","rktVersion":"v1","data":"/DIR"}"#;

    #[test]
    fn the_later_root_is_stronger() {
        let (a, b) = (TempDir::new(), TempDir::new());
        put(a.path(), "paths.d", "p.json", &PATHS.replace("DIR", "a"));
        put(b.path(), "paths.d", "p.json", &PATHS.replace("DIR", "b"));
        let config = read(&[a.path(), b.path()]).unwrap();
        assert_eq!(config.data.as_deref(), Some("/b"));
        let missing = a.path().join("none");
        assert_eq!(
            read(&[a.path(), &missing]).unwrap().data.as_deref(),
            Some("/a")
        );
    }

    #[test]
    fn links_directories_and_other_names_are_passed_over() {
        let root = TempDir::new();
        put(root.path(), "paths.d", "p.json", &PATHS.replace("DIR", "a"));
        put(root.path(), "paths.d", "p.json.bak", "nonsense");
        put(root.path(), "paths.d/sub.json", "x.json", "nonsense");
        std::os::unix::fs::symlink("p.json.bak", root.path().join("paths.d/l.json")).unwrap();
        assert_eq!(read(&[root.path()]).unwrap().data.as_deref(), Some("/a"));
    }

    #[test]
    fn a_file_where_a_directory_belongs_is_named() {
        let root = TempDir::new();
        fs::write(root.path().join("paths.d"), "").unwrap();
        let fault = read(&[root.path()]).unwrap_err();
        assert!(
            fault.cause.starts_with("expected \"") && fault.cause.ends_with("to be a directory")
        );
    }

    #[test]
    fn one_item_twice_in_one_root_is_refused() {
        let root = TempDir::new();
        put(root.path(), "paths.d", "a.json", &PATHS.replace("DIR", "a"));
        put(root.path(), "paths.d", "b.json", &PATHS.replace("DIR", "b"));
        assert_eq!(
            read(&[root.path()]).unwrap_err().cause,
            "data directory is already specified"
        );
    }
}
