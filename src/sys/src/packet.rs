//! Packet sockets: IPv4 on a device that has no address yet, as a DHCP client
//! needs it; and what else it asks of a device and its sockets.
//!
//! A device is looked up in the network namespace that the socket was made in,
//! whatever namespace the process is in now.

use crate::{check, check_long};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Whether packets can pass the device: it is up, and so is the other end.
pub fn running(socket: BorrowedFd<'_>, device: &str) -> io::Result<bool> {
    // SAFETY: ifreq is plain data for which zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if device.len() >= request.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, byte) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *to = byte as libc::c_char;
    }
    // SAFETY: SIOCGIFFLAGS reads and writes one ifreq.
    check(unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCGIFFLAGS as _,
            &raw mut request,
        )
    })?;
    // SAFETY: SIOCGIFFLAGS fills this member.
    let flags = i32::from(unsafe { request.ifr_ifru.ifru_flags });
    Ok(flags & libc::IFF_RUNNING != 0)
}

/// Bytes that were sent and have not left the machine, e.g. because the
/// receiver's hardware address is still being looked for.
pub fn unsent(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: TIOCOUTQ writes one int.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ as _, &raw mut bytes) })?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// `SO_BINDTODEVICE`: only by this device, in and out.
pub fn bind_to_device(socket: BorrowedFd<'_>, device: &str) -> io::Result<()> {
    let name = crate::cstring(device)?;
    let name = name.as_bytes_with_nul();
    // SAFETY: pointer and size describe `name`, which the kernel copies.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            name.as_ptr().cast(),
            name.len() as libc::socklen_t,
        )
    })
    .map(drop)
}

/// A non-blocking packet socket for the IPv4 packets of one device, in the
/// current network namespace. Only whole UDP datagrams to `port` arrive, each
/// with its IP header.
pub fn open_udp(index: i32, port: u16) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // Protocol 0: nothing arrives before the filter stands and the device is
    // chosen.
    // SAFETY: creates an fd.
    let fd = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
    // SAFETY: the kernel just gave this fd to us alone.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    filter_udp(&socket, port)?;
    let mut address = link_address(index);
    // SAFETY: pointer and size describe `address`.
    check(unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw mut address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    })?;
    Ok(socket)
}

fn link_address(index: i32) -> libc::sockaddr_ll {
    // SAFETY: sockaddr_ll is plain data for which zero is valid.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_IP as u16).to_be();
    address.sll_ifindex = index;
    address
}

/// Classic BPF over the packet from its IP header on.
fn filter_udp(socket: &OwnedFd, port: u16) -> io::Result<()> {
    let op = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    use libc::{BPF_ABS, BPF_B, BPF_H, BPF_IND, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K};
    use libc::{BPF_LD, BPF_LDX, BPF_MSH, BPF_RET};
    let mut program = [
        op(BPF_LD | BPF_B | BPF_ABS, 0, 0, 9),
        op(
            BPF_JMP | BPF_JEQ | BPF_K,
            0,
            6,
            u32::from(libc::IPPROTO_UDP as u8),
        ),
        // A fragment: more to come, or not the first.
        op(BPF_LD | BPF_H | BPF_ABS, 0, 0, 6),
        op(BPF_JMP | BPF_JSET | BPF_K, 4, 0, 0x3fff),
        // The port behind a header of whatever length.
        op(BPF_LDX | BPF_B | BPF_MSH, 0, 0, 0),
        op(BPF_LD | BPF_H | BPF_IND, 0, 0, 2),
        op(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, u32::from(port)),
        op(BPF_RET | BPF_K, 0, 0, 0x4_0000),
        op(BPF_RET | BPF_K, 0, 0, 0),
    ];
    attach(socket.as_fd(), &mut program)
}

/// From now on nothing arrives, and whoever sends is told that it did: for a datagram socket whose reader has heard enough.
pub fn toss_all(socket: BorrowedFd<'_>) -> io::Result<()> {
    let mut program = [libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: 0,
    }];
    attach(socket, &mut program)
}

fn attach(socket: BorrowedFd<'_>, program: &mut [libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: pointer and size describe `program`, whose instructions live
    // through the call; the kernel checks and copies them.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    })
    .map(drop)
}

/// Sends an IPv4 packet, header and all, to everyone on the device's link.
pub fn broadcast(socket: BorrowedFd<'_>, index: i32, packet: &[u8]) -> io::Result<()> {
    let mut address = link_address(index);
    address.sll_halen = 6;
    address.sll_addr[..6].fill(0xff);
    // SAFETY: pointers and sizes describe `packet` and `address`.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            packet.as_ptr().cast(),
            packet.len(),
            libc::MSG_NOSIGNAL,
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    check_long(sent as libc::c_long).map(drop)
}
