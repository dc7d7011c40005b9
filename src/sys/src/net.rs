//! Networks: the loopback of a pod that has nothing else, and what netlink sockets
//! are asked to do.

use crate::check;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// Brings `lo` of the current network namespace up.
pub fn loopback_up() -> io::Result<()> {
    // SAFETY: creates an fd.
    let fd =
        check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the kernel just gave this fd to us alone.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: ifreq is plain data for which zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: SIOCSIFFLAGS reads one ifreq.
    check(unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS as _,
            &raw const request,
        )
    })
    .map(drop)
}

/// Makes a netlink socket explain its errors in words, repeat only the header
/// of a refused request, and go by the filters of a request for a table. Where
/// the kernel is older than an option (4.12, 4.3, 4.20), it does without.
pub fn netlink_options(socket: impl AsFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    for option in [
        libc::NETLINK_EXT_ACK,
        libc::NETLINK_CAP_ACK,
        libc::NETLINK_GET_STRICT_CHK,
    ] {
        // SAFETY: pointer and size describe `on`, which the kernel reads.
        let set = check(unsafe {
            libc::setsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_NETLINK,
                option,
                (&raw const on).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        });
        match set {
            Err(err) if err.raw_os_error() != Some(libc::ENOPROTOOPT) => return Err(err),
            _ => {}
        }
    }
    Ok(())
}
