//! An ordinary user's pods: everything that root can do with pods, without root, in a data directory of the user's own.
//!
//! The account is made by the test, in its own mount namespace ([`account`]), so nothing of the machine changes. Each test
//! ends as the root tests do: no mount, namespace, process or file outside the scratch directory may be left behind.

mod account;
mod admin;
mod forbidden;
mod network;
mod places;
mod story;

use std::path::{Path, PathBuf};
use tests::tar::Entry;
use tests::{Aci, Scratch, isolated};

/// Why these tests cannot run here, or nothing.
fn missing(mapped: bool) -> Option<String> {
    if isolated::find("setpriv").is_none() {
        return Some("needs setpriv (Debian: util-linux)".to_owned());
    }
    let sysctl =
        |name: &str| std::fs::read_to_string(format!("/proc/sys/{name}")).unwrap_or_default();
    if sysctl("user/max_user_namespaces").trim() == "0"
        || sysctl("kernel/unprivileged_userns_clone").trim() == "0"
    {
        return Some("ordinary users have no user namespaces here".to_owned());
    }
    let tools = ["newuidmap", "newgidmap"];
    if mapped && tools.iter().any(|tool| isolated::find(tool).is_none()) {
        return Some("needs newuidmap and newgidmap (Debian: uidmap)".to_owned());
    }
    None
}

/// Skips the test, aloud, where it cannot run. `mapped`: only with newuidmap.
#[macro_export]
macro_rules! needs {
    () => {
        $crate::needs!(false)
    };
    (mapped) => {
        $crate::needs!(true)
    };
    ($mapped:expr) => {
        if let Some(reason) = $crate::missing($mapped) {
            tests::skip!("{reason}");
        }
    };
}

/// The probe's image, readable by everybody, with files of several owners.
fn probe(s: &Scratch) -> PathBuf {
    let image = Aci::probe("example.com/probe")
        .with(Entry::dir("rootfs/home"))
        .with(
            Entry::dir("rootfs/home/alice")
                .owner(1234, 1235)
                .mode(0o700),
        )
        .with(
            Entry::file("rootfs/home/alice/own", "hers")
                .owner(1234, 1235)
                .mode(0o600),
        )
        .with(Entry::file("rootfs/high", "x").owner(65000, 65000));
    readable(image.write(s.path()))
}

/// The same, run as alice.
fn alice(s: &Scratch) -> PathBuf {
    let image = Aci::probe("example.com/alice")
        .app("user", "1234".into())
        .app("group", "1235".into())
        .with(Entry::dir("rootfs/home"))
        .with(
            Entry::dir("rootfs/home/alice")
                .owner(1234, 1235)
                .mode(0o700),
        );
    readable(image.write(s.path()))
}

fn readable(path: PathBuf) -> PathBuf {
    account::set_mode(&path, 0o644);
    path
}

/// Files below `dir`, without following links, and their owners on the host.
fn owners(dir: &Path) -> Vec<(PathBuf, u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    let mut found = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(path) = todo.pop() {
        let meta = path.symlink_metadata().expect("a listed path");
        if meta.is_dir() {
            todo.extend(
                std::fs::read_dir(&path)
                    .expect("root may")
                    .flatten()
                    .map(|e| e.path()),
            );
        }
        found.push((path, meta.uid(), meta.gid()));
    }
    found
}
