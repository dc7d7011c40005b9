//! Base64 of RFC 4648, the standard alphabet with padding, and nothing else: a
//! signature has one spelling.

/// `None` if the text is anything but base64.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    if !bytes.len().is_multiple_of(4) {
        return None;
    }
    let mut out = Vec::with_capacity(bytes.len() / 4 * 3);
    let mut groups = bytes.chunks_exact(4).peekable();
    while let Some(group) = groups.next() {
        let digits = group.iter().take_while(|byte| **byte != b'=').count();
        let padded = group[digits..].iter().all(|byte| *byte == b'=');
        let last = groups.peek().is_none();
        if !padded || digits < 2 || digits < 4 && !last {
            return None;
        }
        let mut bits = 0u32;
        for byte in &group[..digits] {
            bits = bits << 6 | u32::from(digit(*byte)?);
        }
        bits <<= 6 * (4 - digits);
        let [_, three @ ..] = bits.to_be_bytes();
        let (used, spare) = three.split_at(digits - 1);
        // Bits that belong to no byte are zero.
        if spare.iter().any(|byte| *byte != 0) {
            return None;
        }
        out.extend_from_slice(used);
    }
    Some(out)
}

/// With padding.
#[cfg(feature = "trust")]
pub(crate) fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let digit = bits >> (18 - 6 * at) & 63;
            text.push(match at <= three.len() {
                true => char::from(DIGITS[digit as usize]),
                false => '=',
            });
        }
    }
    text
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_only() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("Zg==", b"f"),
            ("Zm8=", b"fo"),
            ("Zm9v", b"foo"),
            ("Zm9vYg==", b"foob"),
            ("+/+/", &[0xfb, 0xff, 0xbf]),
        ] {
            assert_eq!(decode(text).as_deref(), Some(bytes), "{text}");
            #[cfg(feature = "trust")]
            assert_eq!(encode(bytes), text);
        }
        for bad in [
            "Z", "Zg", "Zg=", "Zh==", "Zm9=", "=g==", "Zg==Zg==", "Z===", "Zm9v\n", "Zm 9v=",
            "-_-_", "Zg=a",
        ] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
    }
}
