//! Amounts of memory, processor time and bandwidth in the syntax of Kubernetes'
//! `resource.Quantity`: `64Mi`, `500m`, `1.5G`, `12e6`.
//!
//! Held exactly, as an integer number of nano-units; whatever is finer than a
//! nano is rounded away from zero, whatever is larger than 2⁶³−1 is capped, as
//! rkt does.

use crate::fault::{Fault, Result};
use crate::text::quote;
use std::fmt;

const NANO: i128 = 1_000_000_000;
const LIMIT: i128 = i64::MAX as i128 * NANO;
/// Digits of a mantissa that can matter at all; more is an attack.
const MAX_TEXT: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Decimal,
    Binary,
    Exponent,
}

/// An exact amount and the family of suffixes it was written with.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nano: i128,
    family: Family,
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Quantity) -> bool {
        self.nano == other.nano
    }
}
impl Eq for Quantity {}
impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Quantity) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Quantity {
    fn cmp(&self, other: &Quantity) -> std::cmp::Ordering {
        self.nano.cmp(&other.nano)
    }
}

impl Quantity {
    pub fn parse(text: &str) -> Result<Quantity> {
        Quantity::read(text).ok_or_else(|| {
            let fault = Fault::invalid(format!("{} is not a quantity", quote(text)));
            if text.ends_with('K') {
                return fault.hint("write \"k\" for 1000 or \"Ki\" for 1024");
            }
            fault.hint("a number with a suffix such as m, k, M, G, Ki, Mi or Gi")
        })
    }

    fn read(text: &str) -> Option<Quantity> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let (negative, digits) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let end = digits
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(digits.len());
        let (mantissa, suffix) = digits.split_at(end);
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return None;
        }
        let (family, base, power) = read_suffix(suffix)?;
        let nano = scale(whole, fraction, base, power);
        Some(Quantity {
            nano: if negative { -nano } else { nano },
            family,
        })
    }

    /// From a whole number of units.
    pub fn from_units(units: i64) -> Quantity {
        Quantity {
            nano: i128::from(units) * NANO,
            family: Family::Decimal,
        }
    }

    /// Whole units, fractions rounded away from zero.
    pub fn value(&self) -> i64 {
        self.per(NANO)
    }

    /// Thousandths of the unit, rounded away from zero, capped at the largest
    /// number there is.
    pub fn milli(&self) -> i64 {
        self.per(NANO / 1000)
    }

    fn per(&self, unit: i128) -> i64 {
        let rounded = self.nano / unit + (self.nano % unit).signum();
        i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
    }
}

/// Family, base and power of a suffix.
fn read_suffix(suffix: &str) -> Option<(Family, u32, i32)> {
    let decimal = |power| Some((Family::Decimal, 10, power));
    let binary = |power| Some((Family::Binary, 1024, power));
    match suffix {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let power = suffix.strip_prefix(['e', 'E'])?;
            // `parse` alone would take an exponent of any length; four digits
            // are beyond every cap already.
            if power.len() > 5 {
                return None;
            }
            Some((Family::Exponent, 10, power.parse().ok()?))
        }
    }
}

/// `whole.fraction × base^power` in nano-units, rounded up, capped.
fn scale(whole: &str, fraction: &str, base: u32, power: i32) -> i128 {
    // The digits as one integer and the power of ten that it stands at.
    let mut digits: i128 = 0;
    let mut ten = 0i32;
    let mut inexact = false;
    for (index, byte) in whole.bytes().chain(fraction.bytes()).enumerate() {
        let in_fraction = index >= whole.len();
        if digits > i128::MAX / 100_000 {
            // Beyond 33 significant digits only "something is left" counts.
            inexact |= byte != b'0';
            ten += i32::from(!in_fraction);
        } else {
            digits = digits * 10 + i128::from(byte - b'0');
            ten -= i32::from(in_fraction);
        }
    }
    if digits == 0 {
        return 0;
    }
    let (mut nano, mut ten) = (digits, ten + 9);
    match base {
        10 => ten += power,
        base => {
            for _ in 0..power {
                nano = nano.saturating_mul(i128::from(base));
            }
        }
    }
    while ten > 0 && nano < LIMIT {
        nano = nano.saturating_mul(10);
        ten -= 1;
    }
    while ten < 0 && nano > 1 {
        inexact |= nano % 10 != 0;
        nano /= 10;
        ten += 1;
    }
    if ten < 0 {
        return 1;
    }
    (nano.min(LIMIT) + i128::from(inexact)).clamp(1, LIMIT)
}

impl fmt::Display for Quantity {
    /// The canonical form: no fraction, the largest suffix of the family that
    /// leaves an integer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nano == 0 {
            return f.write_str("0");
        }
        let whole = self.nano % NANO == 0;
        let units = self.nano / NANO;
        // Below 1024 and with a fraction, the binary family has no suffix.
        if self.family == Family::Binary && whole && units.abs() >= 1024 {
            let (mut mantissa, mut step) = (units, 0);
            while mantissa % 1024 == 0 && step < 6 {
                mantissa /= 1024;
                step += 1;
            }
            return write!(
                f,
                "{mantissa}{}",
                ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][step]
            );
        }
        let (mut mantissa, mut power) = (self.nano, -9);
        while mantissa % 1000 == 0 && power < 18 {
            mantissa /= 1000;
            power += 3;
        }
        match self.family {
            Family::Exponent if power == 0 => write!(f, "{mantissa}"),
            Family::Exponent => write!(f, "{mantissa}e{power}"),
            _ => {
                let suffix = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
                let index = usize::try_from((power + 9) / 3).expect("power is at least -9");
                write!(f, "{mantissa}{}", suffix[index])
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn amounts_and_canonical_forms() {
        for (text, value, milli, canonical) in [
            ("0", 0, 0, "0"),
            ("-0.0Ki", 0, 0, "0"),
            ("1", 1, 1000, "1"),
            ("100m", 1, 100, "100m"),
            ("1000m", 1, 1000, "1"),
            ("0.1", 1, 100, "100m"),
            ("-0.1", -1, -100, "-100m"),
            (".5", 1, 500, "500m"),
            ("5.", 5, 5000, "5"),
            ("+2k", 2000, 2_000_000, "2k"),
            ("2G", 2_000_000_000, 2_000_000_000_000, "2G"),
            ("1.5Gi", 1_610_612_736, 1_610_612_736_000, "1536Mi"),
            ("123Mi", 128_974_848, 128_974_848_000, "123Mi"),
            ("125952Ki", 128_974_848, 128_974_848_000, "123Mi"),
            ("128974848", 128_974_848, 128_974_848_000, "128974848"),
            ("1e3", 1000, 1_000_000, "1e3"),
            ("12E6", 12_000_000, 12_000_000_000, "12e6"),
            ("1E", 1_000_000_000_000_000_000, i64::MAX, "1E"),
            ("1n", 1, 1, "1n"),
            ("0.1n", 1, 1, "1n"),
            ("1e-20", 1, 1, "1e-9"),
            ("512Ei", i64::MAX, i64::MAX, "9223372036854775807"),
            (
                "12345678901234567890123456789012345678.1Gi",
                i64::MAX,
                i64::MAX,
                "9223372036854775807",
            ),
            ("1e9999", i64::MAX, i64::MAX, "9223372036854775807"),
            (
                "99999999999999999999999999999999999999999999",
                i64::MAX,
                i64::MAX,
                "9223372036854775807",
            ),
            ("0.00000000000000000000000000000000000000000001", 1, 1, "1n"),
            (
                "1.00000000000000000000000000000000000000000001",
                2,
                1001,
                "1000000001n",
            ),
        ] {
            let quantity = Quantity::parse(text).unwrap();
            assert_eq!(quantity.value(), value, "{text}");
            assert_eq!(quantity.milli(), milli, "{text}");
            assert_eq!(quantity.to_string(), canonical, "{text}");
            assert_eq!(Quantity::parse(canonical).unwrap(), quantity, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_quantity() {
        for text in [
            "",
            " 1",
            "1 ",
            "1K",
            "1ki",
            "--1",
            "1.2.3",
            ".",
            "+",
            "m",
            "1e",
            "1e1.5",
            "1e99999999",
            "0x10",
            "1MiB",
            "é",
            "1e+-3",
        ] {
            assert!(Quantity::parse(text).is_err(), "{text}");
        }
        assert!(Quantity::parse(&"9".repeat(65)).is_err());
        let fault = Quantity::parse("10K").unwrap_err();
        assert_eq!(fault.cause, "\"10K\" is not a quantity");
        assert!(fault.hint.unwrap().contains("\"Ki\""));
    }

    #[test]
    fn order_ignores_how_it_was_written() {
        assert_eq!(Quantity::parse("1Ki").unwrap(), Quantity::from_units(1024));
        assert!(Quantity::parse("1k").unwrap() < Quantity::parse("1Ki").unwrap());
    }
}
