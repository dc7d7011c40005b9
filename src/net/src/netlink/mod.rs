//! Netlink: the kernel's own interface to links, addresses and routes.
//!
//! `message` is the encoding, of any netlink family; `link`, `addr` and `route`
//! are rtnetlink's requests and what comes back, pure as well. `Socket` sends
//! a batch of requests at once and reads the answers, errors with the kernel's
//! own explanation.

pub mod addr;
pub mod link;
pub mod message;
pub mod route;
mod socket;

pub use message::Batch;
pub use socket::Socket;
