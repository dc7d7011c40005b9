//! Extended headers (POSIX pax): records `LEN KEY=VALUE\n`.
//!
//! Read strictly (a length that does not fit its record is an error) into a
//! list, because GNU sparse 0.0 repeats its keys; written sorted, because our
//! archives are reproducible.

use model::fault::Result;

use crate::header::invalid;

/// The records of one extended header, in order.
#[derive(Default)]
pub(crate) struct Records(Vec<(Vec<u8>, Vec<u8>)>);

impl Records {
    pub(crate) fn parse(body: &[u8]) -> Result<Records> {
        let mut records = Vec::new();
        let mut rest = body;
        // Some writers pad the body with NULs.
        while rest.iter().any(|&b| b != 0) {
            let space = rest
                .iter()
                .take(20)
                .position(|&b| b == b' ')
                .ok_or_else(invalid)?;
            let len = decimal(&rest[..space]).ok_or_else(invalid)?;
            let len = usize::try_from(len).map_err(|_| invalid())?;
            let record = rest.get(space + 1..len).ok_or_else(invalid)?;
            let record = record.strip_suffix(b"\n").ok_or_else(invalid)?;
            let equals = record.iter().position(|&b| b == b'=').ok_or_else(invalid)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            if key.is_empty() || key.contains(&0) {
                return Err(invalid());
            }
            records.push((key.to_vec(), value.to_vec()));
            rest = &rest[len..];
        }
        Ok(Records(records))
    }

    /// The last value of `key`; an empty one means "as if it were not there".
    pub(crate) fn get(&self, key: &str) -> Option<&[u8]> {
        let record = self.0.iter().rev().find(|(k, _)| k == key.as_bytes());
        record
            .map(|(_, value)| value.as_slice())
            .filter(|value| !value.is_empty())
    }

    pub(crate) fn number(&self, key: &str) -> Result<Option<u64>> {
        self.get(key)
            .map(|value| decimal(value).ok_or_else(invalid))
            .transpose()
    }

    /// Seconds and nanoseconds of a decimal like `-1.25`, rounded down.
    pub(crate) fn time(&self, key: &str) -> Result<Option<(i64, u32)>> {
        self.get(key)
            .map(|value| time(value).ok_or_else(invalid))
            .transpose()
    }

    /// Every record in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_slice(), value.as_slice()))
    }
}

pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn time(text: &[u8]) -> Option<(i64, u32)> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut halves = text.splitn(2, |&b| b == b'.');
    let secs = i64::try_from(decimal(halves.next()?)?).ok()?;
    let mut nanos = 0;
    if let Some(fraction) = halves.next() {
        if !fraction.iter().all(u8::is_ascii_digit) {
            return None;
        }
        for at in 0..9 {
            nanos = nanos * 10 + u32::from(fraction.get(at).map_or(0, |digit| digit - b'0'));
        }
    }
    match (negative, nanos) {
        (false, _) => Some((secs, nanos)),
        (true, 0) => Some((-secs, 0)),
        (true, _) => Some((-secs - 1, 1_000_000_000 - nanos)),
    }
}

/// Appends a record; its length counts its own digits.
pub(crate) fn push(body: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while rest + len.to_string().len() != len {
        len = rest + len.to_string().len();
    }
    body.extend_from_slice(len.to_string().as_bytes());
    body.push(b' ');
    body.extend_from_slice(key);
    body.push(b'=');
    body.extend_from_slice(value);
    body.push(b'\n');
}
