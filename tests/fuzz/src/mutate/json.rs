//! JSON as a tree: values doubled, moved and exchanged, so that what comes out is JSON again.

use super::Dice;
use serde_json::{Value, json};

/// None if the input is no JSON.
pub fn json(dice: &mut Dice, data: &[u8]) -> Option<Vec<u8>> {
    let mut root: Value = serde_json::from_slice(data).ok()?;
    for _ in 0..=dice.roll(3) {
        let mut nodes = count(&root);
        let other = nth(&mut root, &mut dice.roll(nodes))?.clone();
        let node = nth(&mut root, &mut dice.roll(nodes))?;
        step(dice, node, other);
        nodes = count(&root);
        if nodes > 2000 {
            return None;
        }
    }
    serde_json::to_vec(&root).ok()
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(count).sum(),
        Value::Object(map) => map.values().map(count).sum(),
        _ => 0,
    }
}

/// The node with this number in the order of the document.
fn nth<'v>(value: &'v mut Value, number: &mut usize) -> Option<&'v mut Value> {
    if *number == 0 {
        return Some(value);
    }
    *number -= 1;
    match value {
        Value::Array(list) => list.iter_mut().find_map(|value| nth(value, number)),
        Value::Object(map) => map.values_mut().find_map(|value| nth(value, number)),
        _ => None,
    }
}

fn step(dice: &mut Dice, node: &mut Value, other: Value) {
    match node {
        Value::Array(list) if dice.roll(4) > 0 => match dice.roll(4) {
            0 => list.push(other),
            _ => dice.shuffle(list),
        },
        Value::Object(map) if dice.roll(4) > 0 && !map.is_empty() => {
            let mut pairs: Vec<(String, Value)> = std::mem::take(map).into_iter().collect();
            let at = dice.roll(pairs.len());
            match dice.roll(4) {
                0 => drop(pairs.remove(at)),
                1 => pairs[at].1 = other,
                2 => pairs[at].0 = changed(dice, &pairs[at].0),
                _ => {
                    let key = changed(dice, &pairs[at].0);
                    pairs.push((key, other));
                }
            }
            map.extend(pairs);
        }
        Value::String(text) if dice.roll(2) == 0 => *text = changed(dice, text),
        Value::Number(_) if dice.roll(2) == 0 => *node = number(dice),
        _ if dice.roll(3) == 0 => {
            let odd = [
                json!(null),
                json!(true),
                json!(""),
                json!([]),
                json!({}),
                json!([other]),
                number(dice),
            ];
            *node = dice.pick(&odd).clone();
        }
        _ => *node = other,
    }
}

fn number(dice: &mut Dice) -> Value {
    let odd = [
        json!(0),
        json!(1),
        json!(2),
        json!(-1),
        json!(65_535),
        json!(4_294_967_296_u64),
        json!(u64::MAX),
        json!(0.5),
        json!(1e300),
        json!(i64::MIN),
    ];
    dice.pick(&odd).clone()
}

fn changed(dice: &mut Dice, text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = dice.roll(chars.len() + 1);
    let (head, tail) = chars.split_at(at);
    let (head, tail): (String, String) = (head.iter().collect(), tail.iter().collect());
    match dice.roll(6) {
        0 => head,
        1 => tail,
        2 => format!("{tail}{head}"),
        3 => text.to_uppercase(),
        4 => format!(
            "{head}{}{tail}",
            dice.pick(&["/", ":", "-", "..", " ", "é", "\u{0}", "\n", "0", "a"])
        ),
        _ => format!("{head}{head}{tail}"),
    }
}
