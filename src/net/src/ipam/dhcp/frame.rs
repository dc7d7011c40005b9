//! The IPv4 and UDP headers around a message, for a device that has no
//! address: the kernel's own UDP would take another device's. Pure.

use std::net::Ipv4Addr;

pub(super) const SERVER: u16 = 67;
pub(super) const CLIENT: u16 = 68;
const IP: usize = 20;
const UDP: usize = 8;

/// From nobody to everyone.
pub(super) fn wrap(message: &[u8]) -> Vec<u8> {
    let length = |header: usize| ((header + message.len()) as u16).to_be_bytes();
    let mut packet = vec![0x45, 0x10];
    packet.extend(length(IP + UDP));
    // No ID, no flags; 64 hops; UDP; the checksum is filled in below.
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend(Ipv4Addr::UNSPECIFIED.octets());
    packet.extend(Ipv4Addr::BROADCAST.octets());
    let sum = checksum(&packet, 0);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(CLIENT.to_be_bytes());
    packet.extend(SERVER.to_be_bytes());
    packet.extend(length(UDP));
    packet.extend([0, 0]);
    packet.extend(message);
    // The pseudo header: both addresses, the protocol, the length.
    let pseudo = 0xffff + 0xffff + 17 + (UDP + message.len()) as u32;
    let sum = match checksum(&packet[IP..], pseudo) {
        // 0 says that there is none.
        0 => 0xffff,
        sum => sum,
    };
    packet[IP + 6..IP + 8].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// The message within a whole UDP datagram for a DHCP client. The UDP checksum
/// is not looked at: within one machine it is left to hardware that is not
/// there, and the packet socket sees it unfilled.
pub(super) fn unwrap(packet: &[u8]) -> Option<&[u8]> {
    let first = *packet.first()?;
    let header = usize::from(first & 15) * 4;
    let total = usize::from(word(packet, 2)?);
    if first >> 4 != 4 || header < IP || total < header + UDP {
        return None;
    }
    let packet = packet.get(..total)?;
    let fragment = word(packet, 6)? & 0x3fff != 0;
    if fragment || packet[9] != 17 || checksum(&packet[..header], 0) != 0 {
        return None;
    }
    let datagram = &packet[header..];
    let length = usize::from(word(datagram, 4)?);
    (word(datagram, 2)? == CLIENT).then_some(())?;
    datagram.get(UDP..length)
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// The internet checksum (RFC 1071) over `bytes`, going on from `sum`.
fn checksum(bytes: &[u8], mut sum: u32) -> u16 {
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([pair[0], low]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// As a server would send it: the ports the other way round.
    fn answer(message: &[u8]) -> Vec<u8> {
        let mut packet = wrap(message);
        packet.swap(IP, IP + 2);
        packet.swap(IP + 1, IP + 3);
        packet
    }

    #[test]
    fn headers_add_up() {
        for message in [&b"odd"[..], b"even", &[0xff; 700]] {
            let packet = wrap(message);
            assert_eq!(checksum(&packet[..IP], 0), 0);
            let pseudo = 0xffff + 0xffff + 17 + (UDP + message.len()) as u32;
            assert_eq!(checksum(&packet[IP..], pseudo), 0);
            assert_eq!(usize::from(word(&packet, 2).unwrap()), packet.len());
            assert_eq!(unwrap(&answer(message)), Some(message));
        }
    }

    #[test]
    fn padding_behind_the_packet_is_no_part_of_it() {
        let mut packet = answer(b"message");
        packet.extend([0; 30]);
        assert_eq!(unwrap(&packet), Some(&b"message"[..]));
    }

    #[test]
    fn what_lies_about_its_lengths_is_refused() {
        let good = answer(b"message");
        for len in 0..good.len() {
            assert_eq!(unwrap(&good[..len]), None, "{len}");
        }
        // Each byte that matters, with every value: no panic, and nothing that
        // reaches behind the end.
        for at in 0..IP + UDP {
            for byte in 0..=255 {
                let mut packet = good.clone();
                packet[at] = byte;
                assert!(unwrap(&packet).is_none_or(|message| message.len() <= 7));
            }
        }
    }
}
