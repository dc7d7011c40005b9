//! Paths, queries and forms: what stands behind percent signs.

use super::request::Request;

/// The bytes that a percent-encoded text stands for; `None` if it is malformed.
/// In forms and queries `+` is a blank.
fn decode(text: &[u8], plus: bool) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        bytes.push(match first {
            b'%' => {
                let (digits, after) = rest.split_first_chunk::<2>()?;
                rest = after;
                hex(digits[0])? << 4 | hex(digits[1])?
            }
            b'+' if plus => b' ',
            other => other,
        });
    }
    Some(bytes)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

/// The parts of the path between its slashes; `None` if one is malformed.
pub(super) fn segments(target: &str) -> Option<Vec<String>> {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let parts = path.strip_prefix('/')?.split('/');
    parts
        .map(|part| String::from_utf8(decode(part.as_bytes(), false)?).ok())
        .collect()
}

/// The first value of a name in a list `a=1&b=2`. A pair that is malformed does
/// not count.
fn find(list: &[u8], name: &str) -> Option<Vec<u8>> {
    list.split(|b| *b == b'&').find_map(|pair| {
        let mut halves = pair.splitn(2, |b| *b == b'=');
        let key = decode(halves.next()?, true)?;
        let value = decode(halves.next().unwrap_or_default(), true)?;
        (key == name.as_bytes()).then_some(value)
    })
}

/// A value of the query; empty if there is none.
pub(super) fn query(target: &str, name: &str) -> Vec<u8> {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    find(query.as_bytes(), name).unwrap_or_default()
}

/// A value of the form in the body, else of the query; empty if there is none.
pub(super) fn value(request: &Request, name: &str) -> Vec<u8> {
    let form = request.form.then(|| find(&request.body, name)).flatten();
    form.unwrap_or_else(|| query(&request.target, name))
}
