//! A pod's network: what the configuration files ask for, done with the
//! kernel's own interfaces and no helper program.
//!
//! `selection` (what `--net` says) and `conf` (the files) give the list of
//! networks. `attach` joins a network namespace to each of them, by a built-in
//! plugin (`builtin`), or by a CNI program (`cni`); addresses come from `ipam`.
//! `rules` says as data what is to be masqueraded and forwarded, `firewall`
//! does it by nf_tables, by the legacy xtables, or leaves it to `proxy`. Where no
//! links can be made, `usermode` does it all.
//!
//! Knows network namespaces by fd and attachments by an ID; nothing of pods.
//! All of it is called in the host's network namespace by a process of one
//! thread. Whatever is to be undone can be undone from the ID, the
//! configuration and the recorded result alone, any number of times.

pub mod address;
pub mod attach;
pub mod builtin;
pub mod cni;
pub mod conf;
pub mod firewall;
pub mod ipam;
pub mod keeper;
pub mod netlink;
pub mod netns;
pub mod outcome;
pub mod ports;
pub mod proxy;
pub mod rules;
pub mod selection;
pub mod usermode;

pub use address::{Cidr, Route};
pub use conf::{Network, Plugin};
pub use outcome::{Dns, Interface, Ip, Outcome};
pub use rules::{Forward, Masquerade, Protocol, Rules};

pub use selection::Selection;
