//! Durations in Go's syntax: `30m`, `1h30m0s`, `1.5h`, `-2ms`.
//!
//! Held as nanoseconds in an `i64`, as Go does, so up to some 292 years.

use crate::fault::{Fault, Result};
use crate::text::quote;
use std::time::Duration;

const UNITS: [(&str, i128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000), // U+00B5, the micro sign
    ("μs", 1_000), // U+03BC, the Greek letter
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Nanoseconds of a duration such as `24h0m0s`; may be negative.
pub fn parse(text: &str) -> Result<i64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let fault = |what: String| Err(Fault::usage(format!("time: {what} {}", quote(text))));
    if unsigned == "0" {
        return Ok(0);
    }
    let (mut rest, mut total) = (unsigned, 0i128);
    if rest.is_empty() {
        return fault("invalid duration".into());
    }
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(end);
        let end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return fault("invalid duration".into());
        }
        if unit.is_empty() {
            return fault("missing unit in duration".into());
        }
        let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return fault(format!("unknown unit {} in duration", quote(unit)));
        };
        match nanoseconds(whole, fraction, *scale) {
            Some(part) if total + part <= i128::from(i64::MAX) => total += part,
            _ => return fault("invalid duration".into()),
        }
        rest = tail;
    }
    let total = if text.starts_with('-') { -total } else { total };
    i64::try_from(total)
        .map_err(|_| Fault::usage(format!("time: invalid duration {}", quote(text))))
}

fn nanoseconds(whole: &str, fraction: &str, scale: i128) -> Option<i128> {
    let digits = whole.trim_start_matches('0');
    // 19 digits are more than any duration has; this bounds the product.
    if digits.len() > 19 {
        return None;
    }
    let whole: i128 = if digits.is_empty() {
        0
    } else {
        digits.parse().ok()?
    };
    let mut part = 0;
    let mut unit = scale;
    for digit in fraction.bytes().take(18) {
        part = part * 10 + i128::from(digit - b'0');
        unit *= 10;
    }
    // `part / (unit / scale)` of one unit, cut at the nanosecond.
    Some(whole * scale + part * scale / (unit / scale))
}

/// The same for a flag that must not be negative.
pub fn parse_positive(text: &str) -> Result<Duration> {
    match u64::try_from(parse(text)?) {
        Ok(nanoseconds) => Ok(Duration::from_nanos(nanoseconds)),
        Err(_) => Err(Fault::usage(format!(
            "duration {} is negative",
            quote(text)
        ))),
    }
}

/// Go's form: `1h30m0s`, `1.5ms`, `0s`.
pub fn to_text(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let total = nanoseconds.unsigned_abs();
    let fraction = |unit: u64, name: &str| {
        let width = unit.ilog10() as usize;
        let rest = format!("{:0width$}", total % unit);
        match rest.trim_end_matches('0') {
            "" => format!("{}{name}", total / unit),
            rest => format!("{}.{rest}{name}", total / unit),
        }
    };
    let text = match total {
        0 => "0s".to_string(),
        1..1_000 => format!("{total}ns"),
        1_000..1_000_000 => fraction(1_000, "µs"),
        1_000_000..1_000_000_000 => fraction(1_000_000, "ms"),
        _ => {
            let minutes = total / 60_000_000_000;
            let seconds = total % 60_000_000_000;
            let whole = seconds / 1_000_000_000;
            let rest = format!("{:09}", seconds % 1_000_000_000);
            let seconds = match rest.trim_end_matches('0') {
                "" => format!("{whole}s"),
                rest => format!("{whole}.{rest}s"),
            };
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    };
    format!("{sign}{text}")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    #[test]
    fn durations_are_read_and_shown() {
        for (text, want, shown) in [
            ("30m", 1800 * S, "30m0s"),
            ("1h30m", 5400 * S, "1h30m0s"),
            ("24h0m0s", 86_400 * S, "24h0m0s"),
            ("0s", 0, "0s"),
            ("0", 0, "0s"),
            ("-1.5h", -5400 * S, "-1h30m0s"),
            ("+.5s", S / 2, "500ms"),
            ("1.s", S, "1s"),
            ("1.000000001s", S + 1, "1.000000001s"),
            ("1500us", 1_500_000, "1.5ms"),
            ("1500ns", 1_500, "1.5µs"),
            ("3µs", 3_000, "3µs"),
            ("7ns", 7, "7ns"),
            (
                "2562047h47m16.854775807s",
                i64::MAX,
                "2562047h47m16.854775807s",
            ),
            (
                "0.3333333333333333333h",
                1_199_999_999_999,
                "19m59.999999999s",
            ),
        ] {
            assert_eq!(parse(text).unwrap(), want, "{text}");
            assert_eq!(to_text(want), shown, "{text}");
            assert_eq!(parse(shown).unwrap(), want);
        }
        assert_eq!(to_text(i64::MIN), "-2562047h47m16.854775808s");
        assert_eq!(parse_positive("1m").unwrap(), Duration::from_secs(60));
    }

    #[test]
    fn what_is_no_duration() {
        for (text, want) in [
            ("", "time: invalid duration \"\""),
            ("-", "time: invalid duration \"-\""),
            ("30", "time: missing unit in duration \"30\""),
            ("3x", "time: unknown unit \"x\" in duration \"3x\""),
            ("h", "time: invalid duration \"h\""),
            (".s", "time: invalid duration \".s\""),
            ("1..2s", "time: invalid duration \"1..2s\""),
            ("1m 2s", "time: unknown unit \"m \" in duration \"1m 2s\""),
            ("2562048h", "time: invalid duration \"2562048h\""),
            (
                "99999999999999999999s",
                "time: invalid duration \"99999999999999999999s\"",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().cause, want);
        }
        assert!(parse_positive("-1s").is_err());
    }
}
