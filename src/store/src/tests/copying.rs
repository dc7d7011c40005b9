//! What a copy that fails says; how a tree is copied is tested beside `sys::copy`.

use super::*;
use crate::copy::{copy_tree, copy_tree_shifted};
use model::fault::Kind;
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::AsFd;

/// `src` with a file `f`, and `dst` with one of the same name.
fn pair() -> (Temp, File, File) {
    let temp = Temp::new();
    let opened = ["src", "dst"].map(|name| {
        let dir = temp.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("f"), "x").unwrap();
        File::open(dir).unwrap()
    });
    let [from, to] = opened;
    (temp, from, to)
}

#[test]
fn the_path_and_the_errno_are_told() {
    let (_temp, from, to) = pair();
    let fault = copy_tree(from.as_fd(), to.as_fd()).unwrap_err();
    assert_eq!(fault.kind, Kind::Os(Errno::EXIST.raw_os_error()));
    assert_eq!(fault.cause, "copy f: file exists");
}

#[test]
fn an_owner_beyond_the_range_is_told() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (temp, from, _to) = pair();
    let f = temp.path().join("src/f");
    std::os::unix::fs::chown(f, Some(10), Some(20)).unwrap();
    std::fs::create_dir(temp.path().join("empty")).unwrap();
    let to = File::open(temp.path().join("empty")).unwrap();
    let fault = copy_tree_shifted(from.as_fd(), to.as_fd(), 65536, 20).unwrap_err();
    assert_eq!(fault.kind, Kind::Invalid);
    assert_eq!(fault.cause, "copy f: uid 10 or gid 20 are out of range 20");
}
