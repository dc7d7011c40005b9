//! A table of iptables, entry by entry: entries doubled, moved and removed, their targets and matches changed; sizes,
//! hooks and jumps follow as far as what they lead to is still there.

use super::Dice;

/// `struct ipt_getinfo`.
const HEAD: usize = 84;
/// Of a match or target.
const EXTENSION: usize = 32;

#[derive(Clone)]
struct Entry<'d> {
    /// Where it stood.
    from: usize,
    bytes: std::borrow::Cow<'d, [u8]>,
}

/// None if the input is no table.
pub fn xtables(dice: &mut Dice, data: &[u8]) -> Option<Vec<u8>> {
    let (head, rest) = data.split_at_checked(HEAD)?;
    let mut head = head.to_vec();
    // Where the offsets of the target and of the next entry stand.
    let target = if head[31] == 6 { 140 } else { 88 };
    let mut entries = Vec::new();
    let mut at = 0;
    while at < rest.len() {
        let len = number(rest, at + target + 2)?;
        let bytes = rest.get(at..at + len).filter(|_| len > target + 4)?;
        entries.push(Entry {
            from: at,
            bytes: bytes.into(),
        });
        at += len;
    }
    for _ in 0..=dice.roll(3) {
        let one = dice.roll(entries.len());
        match dice.roll(7) {
            0 | 1 => dice.shuffle(&mut entries),
            2 | 3 => {
                // A rule that is right is so once more.
                let more = vec![entries.get(one)?.clone(); dice.roll(4)];
                entries.splice(one..one, more);
            }
            4 => change(dice, entries.get_mut(one)?.bytes.to_mut(), target),
            5 => {
                let to = entries.get(dice.roll(entries.len()))?.from as u32;
                lead(entries.get_mut(one)?.bytes.to_mut(), target, to);
            }
            _ => {
                let byte = dice.roll(HEAD);
                head[byte] = dice.roll(32) as u8;
            }
        }
    }
    Some(write(head, &entries, target))
}

/// An entry's protocol, flags, interface, or something of its matches and its target.
fn change(dice: &mut Dice, entry: &mut [u8], target: usize) {
    let at = match dice.roll(3) {
        0 => dice.roll(target),
        1 => target + 8 + dice.roll(entry.len() - target - 8),
        _ => dice.roll(entry.len()),
    };
    entry[at] = *dice.pick(&[0, 1, 2, 32, b'A', b'e', 0xff, 0xfe]);
}

/// Makes a jump of an entry with a verdict.
fn lead(entry: &mut [u8], target: usize, to: u32) -> Option<()> {
    let field = verdict(entry, target)?;
    entry[field..field + 4].copy_from_slice(&to.to_ne_bytes());
    Some(())
}

/// Where the verdict stands, if the entry's target is one.
fn verdict(entry: &[u8], target: usize) -> Option<usize> {
    let at = number(entry, target)?;
    let standard = *entry.get(at + 2)? == 0 && entry.len() >= at + EXTENSION + 4;
    standard.then_some(at + EXTENSION)
}

fn write(mut head: Vec<u8>, entries: &[Entry<'_>], target: usize) -> Vec<u8> {
    let mut places = std::collections::HashMap::new();
    let mut at = 0;
    for entry in entries {
        places.entry(entry.from as u32).or_insert(at as u32);
        at += entry.bytes.len();
    }
    let moved = |bytes: &mut [u8]| {
        let old = u32::from_ne_bytes([0, 1, 2, 3].map(|byte| bytes[byte]));
        if let Some(new) = places.get(&old) {
            bytes.copy_from_slice(&new.to_ne_bytes());
        }
    };
    // The hooks' first entries and policies.
    for place in 9..19 {
        moved(&mut head[4 * place..4 * place + 4]);
    }
    head[76..80].copy_from_slice(&(entries.len() as u32).to_ne_bytes());
    head[80..84].copy_from_slice(&(at as u32).to_ne_bytes());
    for entry in entries {
        let mut bytes = entry.bytes.to_vec();
        if let Some(field) = verdict(&bytes, target) {
            moved(&mut bytes[field..field + 4]);
        }
        head.extend(bytes);
    }
    head
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let two = [*bytes.get(at)?, *bytes.get(at + 1)?];
    Some(usize::from(u16::from_ne_bytes(two)))
}
