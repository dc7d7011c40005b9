//! Where an ordinary user's data and run state are, after the XDG base directory
//! specification: variables with relative paths count as not set.

use super::account::Account;
use model::{Fault, fault::Result};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// `$XDG_DATA_HOME/rkt`, by default `$HOME/.local/share/rkt`.
pub(crate) fn data_dir() -> Result<PathBuf> {
    let uid = rustix::process::geteuid().as_raw();
    let variable = |name: &str| std::env::var_os(name);
    choose(&variable, || Account::of(uid)).ok_or_else(|| {
        Fault::not_found(format!("user {uid} has no home directory"))
            .hint("set HOME or XDG_DATA_HOME, or name a directory with --dir")
    })
}

fn choose(
    variable: &dyn Fn(&str) -> Option<OsString>,
    account: impl FnOnce() -> Option<Account>,
) -> Option<PathBuf> {
    let absolute = |path: PathBuf| Some(path).filter(|path| path.is_absolute());
    let of = |name: &str| variable(name).map(PathBuf::from).and_then(absolute);
    if let Some(data) = of("XDG_DATA_HOME") {
        return Some(data.join("rkt"));
    }
    let home = of("HOME").or_else(|| absolute(PathBuf::from(account()?.home)))?;
    Some(home.join(".local/share/rkt"))
}

/// The directory for what ends with the login, such as sockets: `/run/rkt`, of an
/// ordinary user `$XDG_RUNTIME_DIR/rkt`. That one is there then, and nobody else
/// can enter it.
pub(crate) fn run_dir() -> Result<PathBuf> {
    let root = rustix::process::geteuid().is_root();
    if root && !sys::userns::confined() {
        return Ok(PathBuf::from(RUN_DIR));
    }
    // `su` leaves another user's behind.
    let given = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let made = match given.filter(|base| base.is_absolute()) {
        Some(base) => make_private(&base, "rkt"),
        None => Err(Errno::NOENT),
    };
    match made {
        Ok(dir) => Ok(dir),
        // Root in somebody's container.
        Err(_) if root => Ok(PathBuf::from(RUN_DIR)),
        Err(err) => Err(Fault::io("use", "the runtime directory", err)
            .hint("XDG_RUNTIME_DIR has to name a directory of this user's own")),
    }
}

const RUN_DIR: &str = "/run/rkt";

/// A directory of mode 0700 in one that is ours.
fn make_private(base: &Path, name: &str) -> rustix::io::Result<PathBuf> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = rustix::fs::open(base, flags, Mode::empty())?;
    let own = rustix::process::geteuid().as_raw();
    let stat = rustix::fs::fstat(&parent)?;
    if stat.st_uid != own || stat.st_mode & 0o022 != 0 {
        return Err(Errno::PERM);
    }
    match rustix::fs::mkdirat(&parent, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(err) => return Err(err),
    }
    let dir = rustix::fs::openat(&parent, name, flags | OFlags::NOFOLLOW, Mode::empty())?;
    let stat = rustix::fs::statat(dir.as_fd(), "", AtFlags::EMPTY_PATH)?;
    if stat.st_uid != own {
        return Err(Errno::PERM);
    }
    if stat.st_mode & 0o777 != 0o700 {
        rustix::fs::fchmod(&dir, Mode::RWXU)?;
    }
    Ok(base.join(name))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::testing::TempDir;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    fn chosen(variables: &[(&str, &str)], home: Option<&str>) -> Option<String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let account = || {
            Some(Account {
                name: "joe".into(),
                gid: 5151,
                home: home?.into(),
            })
        };
        choose(&variable, account).map(|path| path.display().to_string())
    }

    #[test]
    fn data_is_where_the_user_says_or_at_home() {
        let home = "/home/joe/.local/share/rkt".to_string();
        let from = |variables: &[(&str, &str)]| chosen(variables, Some("/home/joe"));
        assert_eq!(
            from(&[("XDG_DATA_HOME", "/d"), ("HOME", "/h")]).unwrap(),
            "/d/rkt"
        );
        assert_eq!(from(&[("HOME", "/h")]).unwrap(), "/h/.local/share/rkt");
        for none in [
            &[][..],
            &[("HOME", "")],
            &[("HOME", "h")],
            &[("XDG_DATA_HOME", "../d")],
            &[("XDG_DATA_HOME", "")],
        ] {
            assert_eq!(from(none).unwrap(), home, "{none:?}");
        }
        assert_eq!(chosen(&[("HOME", "x")], Some("home")), None);
        assert_eq!(chosen(&[], None), None);
    }

    #[test]
    fn a_run_directory_is_ours_alone() {
        let base = TempDir::new();
        let set = |path: &Path, mode| {
            std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        };
        set(base.path(), 0o700);
        let made = make_private(base.path(), "rkt").unwrap();
        set(&made, 0o755);
        assert_eq!(make_private(base.path(), "rkt").unwrap(), made);
        assert_eq!(made.metadata().unwrap().mode() & 0o777, 0o700);
        symlink(&made, base.path().join("link")).unwrap();
        assert!(make_private(base.path(), "link").is_err());
        std::fs::write(base.path().join("file"), "").unwrap();
        assert!(make_private(base.path(), "file").is_err());
        set(base.path(), 0o777);
        assert!(make_private(base.path(), "rkt").is_err());
    }
}
