//! Where the fields of an entry stand: `struct ipt_entry`, `ip6t_entry` and the
//! headers of matches and targets, in this build's own alignment.
//!
//! An entry is a fixed head (addresses, interfaces, protocol, flags, offsets,
//! counters), any number of matches, one target. The two families differ in
//! the width of addresses and in what stands around the flags.

use sys::sockopt::Family;

/// What the kernel calls XT_ALIGN: everything in a table is aligned to this.
pub const ALIGN: usize = align_of::<u64>();

/// `struct xt_entry_match` and `xt_entry_target`: size u16, name, revision u8.
pub const EXTENSION_HEAD: usize = 32;
pub const EXTENSION_NAME: usize = 29;
/// Longest name of a chain: a NUL must fit in, too.
pub const CHAIN_NAME: usize = 28;
/// `struct xt_error_target` holds a chain's name in 30 bytes.
pub const ERROR_NAME: usize = 30;

/// The verdict "return to the calling chain".
pub const RETURN: i32 = -5;
pub const ACCEPT: i32 = -2;

/// Inverts the destination; the same bit in both families.
pub const NOT_DESTINATION: u8 = 0x10;

pub const fn aligned(len: usize) -> usize {
    len.next_multiple_of(ALIGN)
}

/// Offsets inside an entry's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Bytes of an address; source, destination and their masks come first.
    pub address: usize,
    pub protocol: usize,
    pub flags: usize,
    pub inverted: usize,
    /// Two u16: where the target stands, where the entry ends.
    pub target_offset: usize,
    pub next_offset: usize,
    pub counters: usize,
    pub head: usize,
}

impl Layout {
    pub const fn of(family: Family) -> Layout {
        let (address, flags, ip) = match family {
            Family::V4 => (4, 2, 84),
            Family::V6 => (16, 3, 136),
        };
        // After the names of two interfaces and their masks.
        let protocol = 4 * address + 64;
        // After the packet's fields: nfcache u32, the two offsets, comefrom u32.
        let counters = aligned(ip + 12);
        Layout {
            address,
            protocol,
            flags: protocol + flags,
            inverted: protocol + flags + 1,
            target_offset: ip + 4,
            next_offset: ip + 6,
            counters,
            head: aligned(counters + 16),
        }
    }
}

pub fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    let field = bytes.get(at..)?.first_chunk()?;
    Some(usize::from(u16::from_ne_bytes(*field)))
}

pub fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A text that ends at its first NUL or with its field.
pub fn text_at(bytes: &[u8], at: usize, len: usize) -> Option<&[u8]> {
    let field = bytes.get(at..at.checked_add(len)?)?;
    field.split(|byte| *byte == 0).next()
}

/// A match or target inside an entry: name, revision, data.
pub fn extension(bytes: &[u8], at: usize) -> Option<(&[u8], u8, &[u8])> {
    let size = u16_at(bytes, at)?;
    let all = bytes.get(at..at.checked_add(size)?)?;
    let name = text_at(all, 2, EXTENSION_NAME)?;
    Some((name, *all.get(31)?, all.get(EXTENSION_HEAD..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn heads_are_the_kernels_on_64_bit() {
        let v4 = Layout::of(Family::V4);
        assert_eq!((v4.protocol, v4.flags, v4.inverted), (80, 82, 83));
        assert_eq!((v4.target_offset, v4.counters, v4.head), (88, 96, 112));
        let v6 = Layout::of(Family::V6);
        assert_eq!((v6.protocol, v6.flags, v6.inverted), (128, 131, 132));
        assert_eq!((v6.target_offset, v6.counters, v6.head), (140, 152, 168));
    }
}
