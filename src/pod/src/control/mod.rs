//! Orders to a running pod: frames over the unix socket `P/control`.
//!
//! A frame is a length (4 bytes, big endian, at most [`MAX_FRAME`]) and so many
//! bytes. The pod's supervisor answers each request with one reply; fds travel
//! beside a reply by SCM_RIGHTS. Whoever may speak is decided by the kernel:
//! the socket lies in a directory and has a mode that keeps others out, and
//! the peer must be uid 0 or the pod's owner (SO_PEERCRED).

mod codec;
mod socket;

pub use codec::{AppState, AppStatus, MAX_FRAME, Reply, Request};
pub use socket::{Client, Frames, accept, bind, connect, send};

/// Most fds that come with one reply.
pub const MAX_FDS: usize = 16;
