//! DHCP messages, option by option (RFC 2132): codes, lengths that are right, and values as servers send them.

use super::{Dice, words};

/// Where options begin.
const OPTIONS: usize = 240;
const CODES: &[u8] = &[1, 3, 6, 12, 15, 26, 33, 51, 52, 53, 54, 58, 59, 119, 121];
const VALUES: &[&[u8]] = &[
    &[],
    &[2],
    &[5],
    &[0, 0, 0, 0],
    &[0, 0, 0, 60],
    &[255, 255, 255, 255],
    &[255, 255, 255, 0],
    &[255, 255, 255, 254],
    &[10, 0, 0, 1],
    &[127, 0, 0, 1],
    &[224, 0, 0, 1],
    &[24, 10, 9, 8, 10, 0, 0, 1],
    &[0, 10, 0, 0, 1],
    &[32, 10, 0, 0, 7, 0, 0, 0, 0],
    b"example.com",
    b"\x07example\x03com\0",
    b"\x01a\xc0\0",
    b"\x01b\0",
    b"a b\n",
];

/// None if the input is no DHCP message; a lease's text is changed as text.
pub fn dhcp(dice: &mut Dice, data: &[u8]) -> Option<Vec<u8>> {
    let Some((fixed, rest)) = data.split_at_checked(OPTIONS) else {
        return words(dice, data);
    };
    let mut fixed = fixed.to_vec();
    let mut options = options(rest)?;
    for _ in 0..=dice.roll(3) {
        let at = dice.roll(options.len());
        match dice.roll(6) {
            0 | 1 => dice.shuffle(&mut options),
            2 if !options.is_empty() => options[at].0 = *dice.pick(CODES),
            3 if !options.is_empty() => {
                let more = *dice.pick(VALUES);
                options[at].1.extend_from_slice(more);
                options[at].1.truncate(255);
            }
            4 => {
                // The address that is given.
                let byte = 16 + dice.roll(4);
                fixed[byte] = *dice.pick(&[0, 1, 10, 127, 192, 224, 255]);
            }
            _ => options.push((*dice.pick(CODES), dice.pick(VALUES).to_vec())),
        }
    }
    for (code, value) in options {
        fixed.extend([code, value.len() as u8]);
        fixed.extend(value);
    }
    fixed.push(255);
    Some(fixed)
}

fn options(mut rest: &[u8]) -> Option<Vec<(u8, Vec<u8>)>> {
    let mut found = Vec::new();
    loop {
        match rest {
            [] | [255, ..] => return Some(found),
            [0, tail @ ..] => rest = tail,
            [code, len, tail @ ..] => {
                let (value, tail) = tail.split_at_checked(usize::from(*len))?;
                found.push((*code, value.to_vec()));
                rest = tail;
            }
            [_] => return None,
        }
    }
}
