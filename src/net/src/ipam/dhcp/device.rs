//! The interface that a lease is for, and the sockets on it: what the client
//! decides is done here.
//!
//! Everything is opened in the network namespace of the interface and works
//! there from then on, wherever the process is.

use super::client::{Ear, To};
use super::frame;
use crate::address::{Cidr, Route};
use crate::netlink::{Batch, Socket, addr, link, route};
use model::{Fault, fault::Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Longer answers are dropped; an Ethernet packet fits.
pub(super) const BUFFER: usize = 4096;
/// For a new link's other end to be ready; without it the first packet is
/// lost, and sent again half a second later.
const SETTLE: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub(super) struct Device {
    pub(super) name: String,
    index: u32,
    pub(super) mac: [u8; 6],
    netlink: Socket,
}

impl Device {
    /// In the current network namespace; it is brought up if it is down.
    pub(super) fn open(name: &str) -> Result<Device> {
        let mut netlink = Socket::open()?;
        let mut batch = Batch::new();
        link::get(&mut batch, name);
        let mut found = None;
        let results = netlink.exchange(&mut batch, &mut |_, message| {
            found = found.take().or(link::parse(message));
        })?;
        results.into_iter().collect::<Result<()>>()?;
        let found =
            found.ok_or_else(|| Fault::not_found(format!("interface \"{name}\" is not there")))?;
        let mac = found.mac.as_slice().try_into().map_err(|_| {
            Fault::unsupported(format!(
                "dhcp needs an Ethernet interface, which \"{name}\" is not"
            ))
        })?;
        if !found.up {
            let mut batch = Batch::new();
            link::set_up(&mut batch, found.index);
            netlink.run(&mut batch)?;
        }
        Ok(Device {
            name: name.into(),
            index: found.index,
            mac,
            netlink,
        })
    }

    /// Waits a moment for a link that was only just made.
    pub(super) fn settle(&self, socket: BorrowedFd<'_>) {
        let end = Instant::now() + SETTLE;
        while matches!(sys::packet::running(socket, &self.name), Ok(false)) && Instant::now() < end
        {
            std::thread::sleep(TICK);
        }
    }

    /// A socket to listen by and to send with, in the current namespace.
    pub(super) fn listen(&self, ear: Ear) -> Result<Line> {
        let socket = match ear {
            Ear::Packet => sys::packet::open_udp(self.index as i32, frame::CLIENT),
            Ear::Datagram => self.open_datagram().map_err(Into::into),
        };
        socket
            .map(|socket| Line { ear, socket })
            .map_err(|err| Fault::io("listen for DHCP on", format!("\"{}\"", self.name), err))
    }

    fn open_datagram(&self) -> std::result::Result<OwnedFd, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = net::socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
        sys::packet::bind_to_device(socket.as_fd(), &self.name).map_err(errno)?;
        sockopt::set_socket_broadcast(&socket, true)?;
        net::bind(
            &socket,
            &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, frame::CLIENT),
        )?;
        Ok(socket)
    }

    pub(super) fn send(&self, line: &Line, message: &[u8], to: To) -> std::io::Result<()> {
        let ip = match (to, line.ear) {
            (_, Ear::Packet) => {
                let packet = frame::wrap(message);
                return sys::packet::broadcast(line.socket.as_fd(), self.index as i32, &packet);
            }
            (To::Server(ip), Ear::Datagram) => ip,
            (_, Ear::Datagram) => Ipv4Addr::BROADCAST,
        };
        let address = SocketAddr::new(ip.into(), frame::SERVER);
        net::sendto(&line.socket, message, SendFlags::NOSIGNAL, &address)?;
        Ok(())
    }

    pub(super) fn add(&mut self, address: Cidr, routes: &[Route]) -> Result<()> {
        let mut batch = Batch::new();
        addr::add(&mut batch, self.index, address, addr::Manner::default());
        match self.netlink.run(&mut batch) {
            Err(fault) if fault.errno() != Some(Errno::EXIST.raw_os_error()) => return Err(fault),
            _ => {}
        }
        for one in routes {
            let mut batch = Batch::new();
            let mut over = route::Over::plain(self.index, one.dst);
            over.gw = one.gw;
            if one.gw.is_some() {
                over.scope = route::SCOPE_GLOBAL;
            }
            over.replace = true;
            route::add(&mut batch, &over);
            // One that this host cannot have is no reason to go without all.
            let _ = self.netlink.run(&mut batch);
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, address: Cidr) -> Result<()> {
        let mut batch = Batch::new();
        addr::delete(&mut batch, self.index, address);
        self.netlink.run(&mut batch)
    }

    /// The first IPv4 address that it has.
    pub(super) fn address(&mut self) -> Option<Ipv4Addr> {
        let mut batch = Batch::new();
        addr::get_all(&mut batch, self.index);
        let held = self.netlink.dump(&mut batch, addr::parse).ok()?;
        held.iter()
            .filter(|held| held.link == self.index)
            .find_map(|held| match held.address.ip {
                IpAddr::V4(ip) => Some(ip),
                IpAddr::V6(_) => None,
            })
    }
}

fn errno(err: std::io::Error) -> Errno {
    Errno::from_io_error(&err).unwrap_or(Errno::IO)
}

/// A socket on a device.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) ear: Ear,
    pub(super) socket: OwnedFd,
}

impl Line {
    /// The next message that came, if any; `buffer` holds it.
    pub(super) fn receive<'a>(&self, buffer: &'a mut [u8; BUFFER]) -> Option<&'a [u8]> {
        let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        // What is no message is stepped over, but not without end.
        for _ in 0..32 {
            let len = match net::recv(&self.socket, &mut buffer[..], flags) {
                Ok((_, len)) => len,
                Err(Errno::INTR | Errno::CONNREFUSED) => continue,
                Err(_) => return None,
            };
            if len > buffer.len() {
                continue;
            }
            let range = match self.ear {
                Ear::Datagram => 0..len,
                Ear::Packet => match frame::unwrap(&buffer[..len]) {
                    Some(message) => {
                        let start = message.as_ptr() as usize - buffer.as_ptr() as usize;
                        start..start + message.len()
                    }
                    None => continue,
                },
            };
            return Some(&buffer[range]);
        }
        None
    }

    /// Sleeps until something comes, but not past `time`.
    pub(super) fn wait(&self, time: Duration) {
        let time = Timespec::try_from(time).ok();
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        if poll(&mut fds, time.as_ref()).is_err() {
            std::thread::sleep(TICK);
        }
    }
}
