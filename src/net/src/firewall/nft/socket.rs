//! The netlink socket that nfnetlink listens on.
//!
//! The kernel carries out a message inside of the `send`, and has queued all
//! its answers by then; so they are read without waiting. Of a dump the next
//! piece is queued inside of each `recv`.

use super::message::{Reply, replies};
use crate::netlink::Batch;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, sendto,
    socket_with, sockopt,
};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// In the current network namespace, to which it keeps belonging.
pub fn open() -> io::Result<OwnedFd> {
    Ok(socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::NETFILTER),
    )?)
}

/// Sends the messages and hands on each answer.
pub fn exchange(
    socket: BorrowedFd<'_>,
    batch: &mut Batch,
    mut each: impl FnMut(Reply<'_>),
) -> io::Result<()> {
    let bytes = batch
        .number(0)
        .map_err(|fault| io::Error::new(io::ErrorKind::InvalidInput, fault.cause))?;
    // A transaction is one datagram, and the default allows 200 KB. What the
    // limit is shows in the answer to `sendto`.
    if bytes.len() > 100_000 {
        let wanted = bytes.len().saturating_mul(2);
        let _ = sockopt::set_socket_send_buffer_size_force(socket, wanted);
    }
    let kernel = netlink::SocketAddrNetlink::new(0, 0);
    sendto(socket, bytes, SendFlags::empty(), &kernel)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match recv(socket, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((len, _)) => replies(&buffer[..len]).for_each(&mut each),
            Err(Errno::AGAIN) => return Ok(()),
            // Some answers did not fit into the queue; the others are there.
            Err(Errno::NOBUFS | Errno::INTR) => {}
            Err(err) => return Err(err.into()),
        }
    }
}
