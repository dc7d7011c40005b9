//! Writes a pod's settings of the kernel, from inside its namespaces.
//!
//! The files are found through a procfs that nobody else has: mounted for this,
//! opened, and taken off again before anything is written. So no mount and no link
//! of an image or a volume can lead a write elsewhere (CVE-2019-16884,
//! CVE-2025-52881), and each file is checked to be procfs' own.

use std::os::fd::AsFd;

use model::Fault;
use rustix::fs::{CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use sys::fs::InRoot;
use sys::mount::{self, Flags};
use sys::procfs;

use super::{building, building_rx};
use crate::plan::sysctl::Setting;

const PROC: &str = "/proc";

/// `confined`: in a user namespace, where some settings are not the pod's to change.
pub fn write(settings: &[Setting], confined: bool) -> Result<(), Fault> {
    if settings.is_empty() {
        return Ok(());
    }
    let (proc, root) = private_procfs()?;
    for setting in settings {
        write_one(&proc, &root, setting).map_err(|err| explain(setting, err, confined))?;
    }
    Ok(())
}

/// A procfs of this pid namespace that is mounted nowhere.
fn private_procfs() -> Result<(InRoot, Stat), Fault> {
    let what = "a procfs for the pod's sysctls";
    let tight = Flags::NOSUID | Flags::NODEV | Flags::NOEXEC;
    mount::mount("proc", PROC, "proc", tight, "").map_err(building(what))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(CWD, PROC, flags, Mode::empty());
    mount::detach(PROC).map_err(building(what))?;
    let directory = opened.map_err(building_rx(what))?;
    let root = rustix::fs::fstat(&directory).map_err(building_rx(what))?;
    if !procfs::is_root(directory.as_fd()) {
        return Err(Fault::refused(format!(
            "cannot set up {what}: \"{PROC}\" is something else"
        )));
    }
    Ok((InRoot::new(directory), root))
}

fn write_one(proc: &InRoot, root: &Stat, setting: &Setting) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = proc
        .open(format!("sys/{}", setting.path), flags, Mode::empty())
        .map_err(|err| Errno::from_io_error(&err).unwrap_or(Errno::INVAL))?;
    let stat = rustix::fs::fstat(&file)?;
    let plain = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if !plain || stat.st_dev != root.st_dev || !procfs::is_procfs(file.as_fd()) {
        return Err(Errno::XDEV);
    }
    // The kernel takes a value in one write; it says so if it took less.
    match rustix::io::write(&file, setting.value.as_bytes())? {
        written if written == setting.value.len() => Ok(()),
        _ => Err(Errno::INVAL),
    }
}

fn explain(setting: &Setting, err: Errno, confined: bool) -> Fault {
    let key = &setting.key;
    match err {
        Errno::NOENT | Errno::NOTDIR | Errno::ISDIR => {
            Fault::not_found(format!("sysctl \"{key}\" is not known to this kernel"))
                .hint("\"sysctl -a\" lists those of the host; run without it, or load its module")
        }
        Errno::ACCESS | Errno::PERM | Errno::ROFS if confined => Fault::refused(format!(
            "sysctl \"{key}\" cannot be changed from inside a user namespace on this kernel"
        ))
        .hint("run without it, or as root without --private-users"),
        _ => Fault::io(
            "cannot set",
            format!("sysctl \"{key}\" to \"{}\"", setting.value),
            err,
        ),
    }
}
