//! Mutations that know a format: what is made differs from the input in a way that its parser can still read.
//!
//! A mutation takes the input and a seeded `Dice` and gives a new input, or None where it does not know the bytes; the
//! caller then mutates blindly. Pure, so a failing run can be repeated.

mod dhcp;
mod index;
mod json;
mod netlink;
mod network;
mod packets;
mod tar;
mod words;
mod xtables;

pub use dhcp::dhcp;
pub use index::index;
pub use json::json;
pub use netlink::netlink;
pub use network::network;
pub use packets::packets;
pub use tar::tar;
pub use words::words;
pub use xtables::xtables;

/// What one mutation is.
pub type Mutate = fn(&mut Dice, &[u8]) -> Option<Vec<u8>>;

/// xorshift64*: enough to choose with.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u32) -> Dice {
        Dice((u64::from(seed) << 1 | 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A number below `sides`; 0 if there are none.
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        (number as usize).checked_rem(sides).unwrap_or(0)
    }

    /// One of a list that is not empty.
    pub fn pick<'l, T>(&mut self, list: &'l [T]) -> &'l T {
        &list[self.roll(list.len())]
    }

    /// Doubles, moves or removes one part of many.
    pub fn shuffle<T: Clone>(&mut self, parts: &mut Vec<T>) {
        if parts.is_empty() {
            return;
        }
        let from = self.roll(parts.len());
        let part = match self.roll(3) {
            0 => parts[from].clone(),
            _ => parts.remove(from),
        };
        if self.roll(3) > 0 {
            let to = self.roll(parts.len() + 1);
            parts.insert(to, part);
        }
    }
}

/// A signature file is JSON, or text, or packets of OpenPGP.
pub fn signature(dice: &mut Dice, data: &[u8]) -> Option<Vec<u8>> {
    match data.first()? {
        b'{' => json(dice, data),
        0x80.. => packets(dice, data),
        _ => words(dice, data),
    }
}
