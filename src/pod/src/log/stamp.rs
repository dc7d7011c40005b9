//! Time stamps of log lines: RFC 3339 in UTC with nine digits.

const DAY: i64 = 86_400;
/// `2026-11-21T05:48:45.123456789Z`.
pub const LEN: usize = 30;

/// Appends the stamp of a moment, in nanoseconds since 1970, to `out`. Moments
/// outside the years 0 to 9999 are moved to the nearest that can be written.
pub fn format_stamp(ns: i64, out: &mut Vec<u8>) {
    // i64 nanoseconds span the years 1677 to 2262, so four digits suffice.
    let seconds = ns.div_euclid(1_000_000_000);
    let nanos = ns.rem_euclid(1_000_000_000);
    let (year, month, day) = date(seconds.div_euclid(DAY));
    let time = seconds.rem_euclid(DAY);
    let mut stamp = *b"0000-00-00T00:00:00.000000000Z";
    digits(&mut stamp[0..4], year);
    digits(&mut stamp[5..7], month);
    digits(&mut stamp[8..10], day);
    digits(&mut stamp[11..13], time / 3600);
    digits(&mut stamp[14..16], time / 60 % 60);
    digits(&mut stamp[17..19], time % 60);
    digits(&mut stamp[20..29], nanos);
    out.extend_from_slice(&stamp);
}

fn digits(place: &mut [u8], mut value: i64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Reads a stamp as [`format_stamp`] writes it, or with fewer or no digits of
/// a second.
pub fn parse_stamp(text: &[u8]) -> Option<i64> {
    let text = text.strip_suffix(b"Z")?;
    let (whole, fraction) = match text.iter().position(|byte| *byte == b'.') {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &b"0"[..]),
    };
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if whole.len() != 19 || marks.iter().any(|(at, mark)| whole[*at] != *mark) {
        return None;
    }
    let year = number(&whole[0..4])?;
    let month = number(&whole[5..7]).filter(|month| (1..=12).contains(month))?;
    let day = number(&whole[8..10]).filter(|day| (1..=31).contains(day))?;
    let hour = number(&whole[11..13]).filter(|hour| *hour < 24)?;
    let minute = number(&whole[14..16]).filter(|minute| *minute < 60)?;
    let second = number(&whole[17..19]).filter(|second| *second <= 60)?;
    if fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let scale = 10_i64.pow(9 - fraction.len() as u32);
    let nanos = number(fraction)? * scale;
    let seconds = days(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |value, digit| {
        digit
            .is_ascii_digit()
            .then(|| value * 10 + i64::from(digit - b'0'))
    })
}

/// Civil date of a day since 1970. Years are counted from March, so that the
/// leap day ends one; 400 years are 146,097 days.
fn date(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_month)
}

/// The inverse of [`date`].
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    era * 146_097 + of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(ns: i64) -> String {
        let mut out = Vec::new();
        format_stamp(ns, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn known_moments() {
        let table = [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (1_795_233_917_690_031_994, "2026-11-21T04:05:17.690031994Z"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00.000000000Z"),
            (4_107_542_400_000_000_000, "2100-03-01T00:00:00.000000000Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
        ];
        for (ns, stamp) in table {
            assert_eq!(text(ns), stamp);
            assert_eq!(stamp.len(), LEN);
            assert_eq!(parse_stamp(stamp.as_bytes()), Some(ns), "{stamp}");
        }
        assert_eq!(parse_stamp(b"1970-01-01T00:00:01Z"), Some(1_000_000_000));
        assert_eq!(parse_stamp(b"1970-01-01T00:00:01.5Z"), Some(1_500_000_000));
    }

    #[test]
    fn every_day_of_six_centuries_comes_back() {
        for day in -106_000..106_000 {
            let ns = day * DAY * 1_000_000_000 + 1;
            assert_eq!(parse_stamp(text(ns).as_bytes()), Some(ns));
        }
    }

    #[test]
    fn other_texts_are_no_stamps() {
        for bad in [
            "",
            "Z",
            "2026",
            "2026-11-21T04:05:17.690031994",
            "2026-13-21T04:05:17.1Z",
            "2026-11-21 04:05:17.1Z",
            "2026-11-21T24:05:17.1Z",
            "2026-11-21T04:05:17.Z",
            "2026-11-21T04:05:17.1234567890Z",
            "9999-11-21T04:05:17.1Z",
            "+026-11-21T04:05:17Z",
        ] {
            assert_eq!(parse_stamp(bad.as_bytes()), None, "{bad}");
        }
    }
}
