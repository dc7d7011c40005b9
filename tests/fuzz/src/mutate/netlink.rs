//! Netlink, message by message and attribute by attribute, nested ones too; lengths come out right.

use super::Dice;

const HEADER: usize = 16;
/// Deeper than any family nests.
const DEEPEST: usize = 6;

#[derive(Clone)]
struct Message {
    /// netlink's and the family's.
    head: Vec<u8>,
    attributes: Vec<Attribute>,
}

#[derive(Clone)]
struct Attribute {
    kind: [u8; 2],
    value: Value,
}

#[derive(Clone)]
enum Value {
    Bytes(Vec<u8>),
    Nest(Vec<Attribute>),
}

/// None if the input is no list of messages.
pub fn netlink(dice: &mut Dice, data: &[u8]) -> Option<Vec<u8>> {
    let mut messages = read(data)?;
    for _ in 0..=dice.roll(3) {
        if dice.roll(6) == 0 {
            dice.shuffle(&mut messages);
        }
        let from = messages.get(dice.roll(messages.len()))?.clone();
        let at = dice.roll(messages.len());
        let to = &mut messages[at];
        match dice.roll(6) {
            0 => {
                let byte = dice.roll(to.head.len());
                to.head[byte] = dice.roll(256) as u8;
            }
            _ => {
                let other = some(dice, &from.attributes);
                step(dice, &mut to.attributes, other, 0);
            }
        }
    }
    let mut out = Vec::new();
    for message in &messages {
        let start = out.len();
        out.extend_from_slice(&message.head);
        write(&message.attributes, &mut out);
        let len = (out.len() - start) as u32;
        out[start..start + 4].copy_from_slice(&len.to_ne_bytes());
    }
    Some(out)
}

fn read(data: &[u8]) -> Option<Vec<Message>> {
    let mut messages = Vec::new();
    let mut rest = data;
    while !rest.is_empty() && messages.len() < 100 {
        let len = u32::from_ne_bytes(*rest.first_chunk()?) as usize;
        let message = rest.get(..len).filter(|_| len >= HEADER)?;
        let family = match u16::from_ne_bytes([message[4], message[5]]) {
            16..=19 => 16,
            20..=22 => 8,
            24..=26 => 12,
            0..=15 => 4,
            _ => 4,
        };
        let head = (HEADER + family).min(len);
        messages.push(Message {
            head: message[..head].to_vec(),
            attributes: attributes(&message[head..], 0).unwrap_or_default(),
        });
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(messages)
}

/// None if they do not fill the bytes.
fn attributes(bytes: &[u8], depth: usize) -> Option<Vec<Attribute>> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let head = rest.first_chunk::<4>()?;
        let len = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let value = rest.get(4..len)?;
        let nested = attributes(value, depth + 1).filter(|_| !value.is_empty() && depth < DEEPEST);
        found.push(Attribute {
            kind: [head[2], head[3]],
            value: nested.map_or_else(|| Value::Bytes(value.to_vec()), Value::Nest),
        });
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(found)
}

/// One of them, at any depth.
fn some(dice: &mut Dice, list: &[Attribute]) -> Option<Attribute> {
    let one = list.get(dice.roll(list.len()))?;
    match &one.value {
        Value::Nest(inner) if dice.roll(3) > 0 => some(dice, inner),
        _ => Some(one.clone()),
    }
}

fn step(dice: &mut Dice, list: &mut Vec<Attribute>, other: Option<Attribute>, depth: usize) {
    let at = dice.roll(list.len());
    if let Some(Attribute {
        value: Value::Nest(inner),
        ..
    }) = list.get_mut(at)
        && depth < DEEPEST
        && dice.roll(3) > 0
    {
        return step(dice, inner, other, depth + 1);
    }
    match (dice.roll(6), list.get_mut(at), other) {
        (0 | 1, _, Some(other)) => list.push(other),
        (2, Some(one), Some(other)) => one.value = other.value,
        (3, Some(one), _) => one.kind[0] = dice.roll(40) as u8,
        (4, Some(one), _) => change(dice, &mut one.value),
        _ => dice.shuffle(list),
    }
}

fn change(dice: &mut Dice, value: &mut Value) {
    let Value::Bytes(bytes) = value else {
        return;
    };
    match dice.roll(4) {
        0 => bytes.truncate(dice.roll(bytes.len())),
        1 => bytes.push(dice.roll(256) as u8),
        _ if !bytes.is_empty() => {
            let at = dice.roll(bytes.len());
            bytes[at] = *dice.pick(&[0, 1, 2, 3, 4, 10, 127, 255]);
        }
        _ => {}
    }
}

fn write(list: &[Attribute], out: &mut Vec<u8>) {
    for one in list {
        let start = out.len();
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&one.kind);
        match &one.value {
            Value::Bytes(bytes) => out.extend_from_slice(bytes),
            Value::Nest(inner) => write(inner, out),
        }
        let len = (out.len() - start) as u16;
        out[start..start + 2].copy_from_slice(&len.to_ne_bytes());
        out.resize(out.len().next_multiple_of(4), 0);
    }
}
