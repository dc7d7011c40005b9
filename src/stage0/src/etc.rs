//! The files for the apps' `/etc` that `run` leaves in the stage1 rootfs, by the
//! DNS flags. Stage1 puts them over the apps' own.

use crate::prepare::make_dirs_at;
use model::Fault;
use model::fault::Result;
use model::options::{DnsOptions, HostsMode, ResolvMode};
use pod::layout;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{Error, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Our own default `/etc/hosts`, for apps whose image brings none. Stage1
/// appends the pod's hostname to the line of 127.0.0.1.
const HOSTS_FALLBACK: &str = "\
# Written by rkt: this image has no /etc/hosts of its own
127.0.0.1 localhost localhost.localdomain

::1 localhost ip6-localhost ip6-loopback
ff02::1 ip6-allnodes
ff02::2 ip6-allrouters
";

/// What stands for `hosts-fallback` where a stage1 image has none.
const NO_FALLBACK: &str = "\
#created by rkt stage0
127.0.0.1 localhost localhost.localdomain
";

/// No hosts file is larger.
const MAX: u64 = 1 << 20;

/// For a built-in stage1, whose rootfs is empty.
pub(crate) fn write(root: BorrowedFd<'_>, dns: &DnsOptions) -> Result<()> {
    let etc = make_dirs_at(root, "etc")?;
    write_given(&etc, dns, HOSTS_FALLBACK)?;
    if dns.hosts == HostsMode::Default {
        write_file(&etc, layout::HOSTS_FALLBACK, HOSTS_FALLBACK)?;
    }
    Ok(())
}

/// For a stage1 image, which may have a fallback of its own.
pub(crate) fn write_beside_image(root: BorrowedFd<'_>, dns: &DnsOptions) -> Result<()> {
    let etc = make_dirs_at(root, "etc")?;
    let fallback = read_file(&etc, layout::HOSTS_FALLBACK)?;
    write_given(&etc, dns, fallback.as_deref().unwrap_or(NO_FALLBACK))
}

/// What the flags give; the rest stays as it is.
fn write_given(etc: &OwnedFd, dns: &DnsOptions, fallback: &str) -> Result<()> {
    if dns.resolv == ResolvMode::Stage0 {
        write_file(etc, layout::RESOLV_CONF, &dns.resolv_conf())?;
    }
    if dns.hosts == HostsMode::Stage0 {
        let text = format!("{fallback}\n{}", dns.hosts_lines());
        write_file(etc, layout::HOSTS, &text)?;
    }
    Ok(())
}

fn open(etc: &OwnedFd, path: &str, flags: OFlags) -> std::io::Result<File> {
    let name = path.trim_start_matches("etc/");
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    Ok(rustix::fs::openat(etc.as_fd(), name, flags, Mode::from_raw_mode(0o644))?.into())
}

fn write_file(etc: &OwnedFd, path: &str, text: &str) -> Result<()> {
    open(etc, path, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|e| Fault::io("write", path, e))
}

/// `None` if there is no such file.
fn read_file(etc: &OwnedFd, path: &str) -> Result<Option<String>> {
    let read = |file: File| -> std::result::Result<String, Error> {
        let mut bytes = Vec::new();
        file.take(MAX).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    match open(etc, path, OFlags::RDONLY) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        opened => opened
            .and_then(read)
            .map(Some)
            .map_err(|e| Fault::io("read", path, e)),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    fn root(dir: &TempDir) -> OwnedFd {
        rustix::fs::open(
            dir.path(),
            OFlags::RDONLY | OFlags::DIRECTORY,
            Mode::empty(),
        )
        .unwrap()
    }

    #[test]
    fn added_hosts_follow_the_fallback_of_the_image() {
        let dir = TempDir::new();
        let dns = DnsOptions {
            hosts: HostsMode::Stage0,
            ..DnsOptions::default()
        };
        let hosts = || std::fs::read_to_string(dir.path().join("etc/rkt-hosts")).unwrap();
        write_beside_image(root(&dir).as_fd(), &dns).unwrap();
        assert!(hosts().starts_with(NO_FALLBACK));
        assert!(hosts().ends_with("\n# Added by rkt run --hosts-entry\n"));
        std::fs::write(dir.path().join("etc/hosts-fallback"), "1.2.3.4 x\n").unwrap();
        write_beside_image(root(&dir).as_fd(), &dns).unwrap();
        assert!(hosts().starts_with("1.2.3.4 x\n\n#"));
    }

    #[test]
    fn a_symlink_of_the_image_leads_nowhere() {
        let dir = TempDir::new();
        let outside = dir.path().join("outside");
        std::fs::create_dir_all(dir.path().join("etc")).unwrap();
        std::fs::write(&outside, "safe").unwrap();
        for name in ["rkt-hosts", "hosts-fallback"] {
            std::os::unix::fs::symlink(&outside, dir.path().join("etc").join(name)).unwrap();
        }
        assert!(write(root(&dir).as_fd(), &DnsOptions::default()).is_err());
        assert!(write_beside_image(root(&dir).as_fd(), &DnsOptions::default()).is_err());
        assert_eq!(std::fs::read_to_string(&outside).unwrap(), "safe");
    }
}
