//! OpenPGP, packet by packet (RFC 9580, section 4.2): keys and signatures are lists whose order carries meaning.

use super::Dice;

/// None if the input is no list of packets.
pub fn packets(dice: &mut Dice, data: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    let mut rest = data;
    while !rest.is_empty() && parts.len() < 200 {
        let (one, behind) = rest.split_at(length(rest)?);
        parts.push(one);
        rest = behind;
    }
    if parts.is_empty() {
        return None;
    }
    for _ in 0..=dice.roll(3) {
        let from = dice.roll(parts.len());
        match dice.roll(3) {
            // A key and what belongs to it is a run of packets.
            0 => {
                let run = parts[from..from + 1 + dice.roll(parts.len() - from)].to_vec();
                parts.extend(run);
            }
            _ => dice.shuffle(&mut parts),
        }
        if parts.is_empty() {
            return None;
        }
    }
    Some(parts.concat())
}

/// Of the first packet, with its header.
fn length(data: &[u8]) -> Option<usize> {
    let byte = |at: usize| data.get(at).map(|b| usize::from(*b));
    let number = |bytes: std::ops::Range<usize>| {
        let bytes = data.get(bytes)?;
        Some(
            bytes
                .iter()
                .fold(0_usize, |sum, b| (sum << 8) | usize::from(*b)),
        )
    };
    let tag = byte(0)?;
    let (head, body) = match (tag & 0xc0, tag & 3) {
        (0xc0, _) => match byte(1)? {
            len @ 0..=191 => (2, len),
            len @ 192..=223 => (3, ((len - 192) << 8) + byte(2)? + 192),
            255 => (6, number(2..6)?),
            _ => return None,
        },
        (0x80, 0) => (2, byte(1)?),
        (0x80, 1) => (3, number(1..3)?),
        (0x80, 2) => (5, number(1..5)?),
        _ => return None,
    };
    Some(head + body).filter(|len| *len <= data.len())
}
