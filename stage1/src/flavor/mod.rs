//! The built-in flavours. `native` is this crate but for this folder; the
//! others are what they leave out or do otherwise.

pub mod fly;

use pod::layout;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    Native,
    Fly,
}

/// The flavour that prepare wrote down for the pod in the current directory.
pub fn of_pod() -> Flavor {
    match std::fs::read_link(layout::FLAVOR) {
        Ok(name) if name.as_os_str() == "fly" => Flavor::Fly,
        _ => Flavor::Native,
    }
}
