//! Base64 (RFC 4648): the standard alphabet with padding, and the one for URLs
//! without, as JSON web signatures have it.
//!
//! Strict: no white space, no missing or surplus padding, and the bits that
//! encode nothing are zero, so that each sequence of bytes has one spelling.

use crate::fault::{Fault, Result};

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Standard alphabet, padded with `=`.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().enumerate().fold(0u32, |word, (index, &byte)| {
            word | u32::from(byte) << (16 - 8 * index)
        });
        for digit in 0..4 {
            text.push(match digit <= chunk.len() {
                true => STANDARD[(word >> (18 - 6 * digit) & 63) as usize] as char,
                false => '=',
            });
        }
    }
    text
}

/// Standard alphabet, padding required.
pub fn decode(text: &str) -> Result<Vec<u8>> {
    let padding = text.len() - text.trim_end_matches('=').len();
    if !text.len().is_multiple_of(4) || padding > 2 {
        return Err(malformed());
    }
    digits(&text.as_bytes()[..text.len() - padding], STANDARD)
}

/// The alphabet for URLs; padding may be left out, as it usually is.
pub fn decode_url(text: &str) -> Result<Vec<u8>> {
    let bare = text.trim_end_matches('=');
    let padding = text.len() - bare.len();
    if padding > 0 && (padding > 2 || !text.len().is_multiple_of(4)) {
        return Err(malformed());
    }
    digits(bare.as_bytes(), URL)
}

fn digits(text: &[u8], alphabet: &[u8; 64]) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for chunk in text.chunks(4) {
        let mut word = 0u32;
        for (index, digit) in chunk.iter().enumerate() {
            let value = alphabet
                .iter()
                .position(|letter| letter == digit)
                .ok_or_else(malformed)?;
            word |= (value as u32) << (18 - 6 * index);
        }
        let count = match chunk.len() {
            4 => 3,
            3 => 2,
            2 => 1,
            _ => return Err(malformed()),
        };
        let all = [(word >> 16) as u8, (word >> 8) as u8, word as u8];
        if all[count..].iter().any(|&rest| rest != 0) {
            return Err(malformed());
        }
        bytes.extend_from_slice(&all[..count]);
    }
    Ok(bytes)
}

fn malformed() -> Fault {
    Fault::invalid("malformed base64")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_one_spelling() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"foobar", "Zm9vYmFy"),
            (b"{}", "e30="),
            (b"\xfb\xff\xfe", "+//+"),
        ] {
            assert_eq!(encode(bytes), text);
            assert_eq!(decode(text).expect(text), bytes);
        }
        for bad in [
            "Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "Zm9v\n", " Zm9v", "====", "=", "Z===",
            "Zm9v====", "-__-", "Zg==Zg==", "Zg=a", "=g==", "Zm 9v=", "é===",
        ] {
            assert!(decode(bad).is_err(), "{bad}");
        }
        assert_eq!(decode_url("-__-").expect("bytes"), b"\xfb\xff\xfe");
        assert_eq!(decode_url("Zg").expect("bytes"), b"f");
        assert_eq!(decode_url("Zg==").expect("bytes"), b"f");
        for bad in ["Zg=", "Z", "+//+", "Zh", "Zm9vYg==="] {
            assert!(decode_url(bad).is_err(), "{bad}");
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)).expect("bytes"), all);
    }
}
