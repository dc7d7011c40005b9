//! Reading what stage0 left in the pod directory, before anything is built.
//!
//! All of it is read while the host is still in view and held in memory: later
//! there is no path to it, and nothing may fail for want of it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use model::{Fault, ImageManifest, PodManifest};
use pod::entry::{DnsMode, RunArgs};
use pod::labels::Labels;
use pod::layout;
use pod::rootfs::Rootfs;
use rustix::fs::{Mode, OFlags};

use crate::plan::AppSpec;

/// Manifests and settings are far smaller; a pod directory is trusted, but a
/// damaged one must not take all memory.
const LIMIT: usize = 16 << 20;

/// The pod as stage0 left it.
#[derive(Debug)]
pub struct Loaded {
    pub dir: OwnedFd,
    pub manifest: PodManifest,
    pub apps: Vec<AppSpec>,
    /// Of a pod that was made with SELinux on.
    pub labels: Option<Labels>,
}

/// Files for the apps' `/etc`; `None` leaves the image's alone.
#[derive(Debug, Default)]
pub struct EtcFiles {
    pub hostname: String,
    pub hosts: Option<String>,
    /// For images without a hosts file only.
    pub hosts_fallback: Option<String>,
    pub resolv_conf: Option<String>,
}

/// Reads the pod directory, which is the current directory of every entry
/// point.
pub fn load() -> Result<Loaded, Fault> {
    load_from(".")
}

/// The pod directory, of an entry point that needs nothing else of the pod.
pub fn open_here() -> Result<OwnedFd, Fault> {
    open_dir(".")
}

fn open_dir(path: &str) -> Result<OwnedFd, Fault> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(|err| Fault::io("open", "the pod directory", err))
}

/// The same from where a mutable pod keeps its directory in view.
pub fn load_from(path: &str) -> Result<Loaded, Fault> {
    let dir = open_dir(path)?;
    let manifest = PodManifest::parse(&read(dir.as_fd(), layout::POD)?)
        .map_err(|fault| fault.message("cannot load the pod manifest"))?;
    let mut apps = Vec::with_capacity(manifest.apps.len());
    for app in &manifest.apps {
        let image = ImageManifest::parse(&read(dir.as_fd(), &layout::app_manifest(&app.name))?)
            .map_err(|fault| {
                fault.message(format!(
                    "cannot load the image manifest of \"{}\"",
                    app.name
                ))
            })?;
        let rootfs = Rootfs::parse(&read(dir.as_fd(), &layout::app_rootfs_record(&app.name))?)?;
        apps.push(AppSpec { image, rootfs });
    }
    let labels = read_if_there(dir.as_fd(), layout::SELINUX)?
        .map(|bytes| Labels::parse(&bytes).map_err(|fault| fault.link(layout::SELINUX)))
        .transpose()?;
    Ok(Loaded {
        dir,
        manifest,
        apps,
        labels,
    })
}

/// The pod's `/etc` files by the modes that stage0 chose.
pub fn etc_files(dir: BorrowedFd<'_>, args: &RunArgs, hostname: &str) -> Result<EtcFiles, Fault> {
    let mut etc = EtcFiles {
        hostname: format!("{hostname}\n"),
        ..EtcFiles::default()
    };
    etc.resolv_conf = match args.resolv_conf {
        DnsMode::Host => optional(rustix::fs::CWD, "/etc/resolv.conf")?,
        DnsMode::Stage0 => in_stage1(dir, layout::RESOLV_CONF)?,
        DnsMode::None | DnsMode::Default => None,
    };
    match args.hosts {
        DnsMode::Host => etc.hosts = optional(rustix::fs::CWD, "/etc/hosts")?,
        DnsMode::Stage0 => {
            etc.hosts = in_stage1(dir, layout::HOSTS)?.map(|text| name_localhost(&text, hostname))
        }
        DnsMode::None | DnsMode::Default => {
            let text = in_stage1(dir, layout::HOSTS_FALLBACK)?.unwrap_or_else(|| {
                "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".into()
            });
            etc.hosts_fallback = Some(name_localhost(&text, hostname));
        }
    }
    Ok(etc)
}

/// Adds the pod's name to the line of 127.0.0.1, as rkt does.
fn name_localhost(hosts: &str, hostname: &str) -> String {
    let mut text = String::with_capacity(hosts.len() + hostname.len() + 1);
    for line in hosts.lines() {
        text.push_str(line);
        if line.split_whitespace().next() == Some("127.0.0.1") {
            text.push(' ');
            text.push_str(hostname);
        }
        text.push('\n');
    }
    text
}

fn in_stage1(dir: BorrowedFd<'_>, path: &str) -> Result<Option<String>, Fault> {
    optional(dir, &format!("{}/{path}", layout::STAGE1_ROOTFS))
}

fn optional(dir: BorrowedFd<'_>, path: &str) -> Result<Option<String>, Fault> {
    let bytes = read_if_there(dir, path)?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// A whole file that need not exist.
pub fn read_if_there(dir: BorrowedFd<'_>, path: &str) -> Result<Option<Vec<u8>>, Fault> {
    match read(dir, path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(fault) if fault.errno() == Some(rustix::io::Errno::NOENT.raw_os_error()) => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// Writes a small file of the pod's. It appears whole or not at all: readers do
/// not wait for us.
pub fn write(dir: &OwnedFd, name: &str, content: &[u8]) -> Result<(), Fault> {
    let new = format!("{name}.new");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(layout::FILE_MODE);
    let file = rustix::fs::openat(dir, new.as_str(), flags, mode)
        .map_err(|err| Fault::io("open", name, err))?;
    let mut file = std::fs::File::from(file);
    std::io::Write::write_all(&mut file, content).map_err(|err| Fault::io("write", name, err))?;
    rustix::fs::renameat(dir, new.as_str(), dir, name).map_err(|err| Fault::io("rename", name, err))
}

/// A whole file of the pod's.
pub fn read(dir: BorrowedFd<'_>, path: &str) -> Result<Vec<u8>, Fault> {
    let fail = |err: rustix::io::Errno| Fault::io("open", path, err);
    let file = rustix::fs::openat(dir, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(fail)?;
    let size = usize::try_from(rustix::fs::fstat(&file).map_err(fail)?.st_size).unwrap_or(0);
    let mut bytes = Vec::with_capacity(size.min(LIMIT) + 1);
    loop {
        if bytes.len() > LIMIT {
            return Err(Fault::corrupt(format!("{path}: larger than {LIMIT} bytes")));
        }
        if bytes.capacity() == bytes.len() {
            bytes.reserve(4096);
        }
        match rustix::io::read(&file, rustix::buffer::spare_capacity(&mut bytes)) {
            Ok(0) => return Ok(bytes),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(err) => return Err(fail(err)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::name_localhost;

    #[test]
    fn the_hostname_joins_the_loopback_line_only() {
        let hosts = "# x\n127.0.0.1 localhost\n127.0.0.11 other\n";
        assert_eq!(
            name_localhost(hosts, "pod"),
            "# x\n127.0.0.1 localhost pod\n127.0.0.11 other\n"
        );
    }
}
