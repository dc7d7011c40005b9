//! Configurations and results of networks: JSON, whose strings are mostly addresses, versions and names of plugins.

use super::{Dice, json};
use serde_json::Value;

const WORDS: &[&str] = &[
    "0.1.0",
    "0.2.0",
    "0.3.1",
    "0.4.0",
    "1.0.0",
    "1.1.0",
    "ptp",
    "bridge",
    "macvlan",
    "ipvlan",
    "loopback",
    "host-local",
    "static",
    "dhcp",
    "10.1.0.0/16",
    "10.1.2.0/24",
    "10.1.2.3/24",
    "10.2.0.0/30",
    "0.0.0.0/0",
    "10.1.2.255",
    "10.1.0.1",
    "10.1.2.9",
    "10.2.0.2",
    "fd00::/64",
    "fd00::5/64",
    "fd00::/126",
    "fd00::1",
    "::ffff:10.1.2.9",
    "::/0",
    "255.255.255.255",
    "IP=10.1.2.9",
    "IP=10.1.2.9/24;GATEWAY=10.1.2.1",
    "IP=10.1.2.9;IgnoreUnknown=1",
    "0a:58:0a:01:02:09",
    "a b",
    "a\nb",
    "a\u{2028}b",
    "a\u{85}b",
    "..",
    "lock",
    "l3",
];

/// None if the input is no JSON.
pub fn network(dice: &mut Dice, data: &[u8]) -> Option<Vec<u8>> {
    if dice.roll(2) == 0 {
        return json(dice, data);
    }
    let mut root: Value = serde_json::from_slice(data).ok()?;
    for _ in 0..=dice.roll(3) {
        if dice.roll(3) == 0 {
            // Addresses, routes, plugins: what is right is so once more.
            let mut all = Vec::new();
            lists(&mut root, &mut all);
            let at = dice.roll(all.len());
            let list = all.get_mut(at)?;
            let one = list.get(dice.roll(list.len()))?.clone();
            list.extend(vec![one; 1 + dice.roll(3)]);
            continue;
        }
        let mut texts = Vec::new();
        strings(&mut root, &mut texts);
        let (at, from) = (dice.roll(texts.len()), dice.roll(texts.len()));
        let word = match dice.roll(4) {
            0 => texts.get(from)?.to_string(),
            _ => dice.pick(WORDS).to_string(),
        };
        **texts.get_mut(at)? = word;
    }
    serde_json::to_vec(&root).ok()
}

fn strings<'v>(value: &'v mut Value, out: &mut Vec<&'v mut String>) {
    match value {
        Value::String(text) => out.push(text),
        Value::Array(list) => list.iter_mut().for_each(|one| strings(one, out)),
        Value::Object(map) => map.values_mut().for_each(|one| strings(one, out)),
        _ => {}
    }
}

fn lists<'v>(value: &'v mut Value, out: &mut Vec<&'v mut Vec<Value>>) {
    match value {
        // The innermost ones: a list and what is in it cannot both be lent.
        Value::Array(list) => match list.iter().any(has_list) {
            false => out.push(list),
            true => list.iter_mut().for_each(|one| lists(one, out)),
        },
        Value::Object(map) => map.values_mut().for_each(|one| lists(one, out)),
        _ => {}
    }
}

fn has_list(value: &Value) -> bool {
    match value {
        Value::Array(_) => true,
        Value::Object(map) => map.values().any(has_list),
        _ => false,
    }
}
