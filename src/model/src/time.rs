//! Points in time as rkt shows them: humanised ages, the layout of the full
//! lists, Go's default rendering, and RFC 3339 as annotations carry it.
//!
//! Times are nanoseconds since 1970 UTC in an `i64` (1677 to 2262), local time
//! is an offset and a zone name that the caller knows. No clock is read here.

const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const WEEK: i64 = 7 * DAY;
const MONTH: i64 = 30 * DAY;
/// A year of twelve such months, as rkt counts.
const YEAR: i64 = 12 * MONTH;

/// What the lists show for a time that is not known: year 1, Go's zero.
pub const UNKNOWN: &str = "0001-01-01 00:00:00 +0000 UTC";
/// The age that goes with it.
pub const UNKNOWN_AGE: &str = "a long while ago";

/// The distance of `then_ns` from `now_ns` in words: `5 minutes ago`.
pub fn age(then_ns: i64, now_ns: i64) -> String {
    let seconds = i128::from(now_ns) - i128::from(then_ns);
    let whole = seconds / i128::from(SECOND);
    let suffix = if whole < 0 { "from now" } else { "ago" };
    let d = i64::try_from(whole.abs()).unwrap_or(i64::MAX);
    let text = match d {
        ..1 => return "now".to_string(),
        1 => "1 second".to_string(),
        2..MINUTE => format!("{d} seconds"),
        MINUTE..120 => "1 minute".to_string(),
        120..HOUR => format!("{} minutes", d / MINUTE),
        HOUR..7200 => "1 hour".to_string(),
        7200..DAY => format!("{} hours", d / HOUR),
        DAY..172_800 => "1 day".to_string(),
        172_800..WEEK => format!("{} days", d / DAY),
        WEEK..1_209_600 => "1 week".to_string(),
        1_209_600..MONTH => format!("{} weeks", d / WEEK),
        MONTH..5_184_000 => "1 month".to_string(),
        5_184_000..YEAR => format!("{} months", d / MONTH),
        YEAR..46_656_000 => "1 year".to_string(),
        46_656_000..62_208_000 => "2 years".to_string(),
        62_208_000..1_150_848_000 => format!("{} years", d / YEAR),
        _ => "a long while".to_string(),
    };
    format!("{text} {suffix}")
}

/// `2006-01-02 15:04:05.999 -0700 MST`: milliseconds, trailing zeros dropped.
pub fn full(unix_ns: i64, offset_seconds: i32, zone: &str) -> String {
    layout(unix_ns, offset_seconds, zone, 3)
}

/// Go's default rendering: as `full`, down to the nanosecond.
pub fn precise(unix_ns: i64, offset_seconds: i32, zone: &str) -> String {
    layout(unix_ns, offset_seconds, zone, 9)
}

/// RFC 3339 in UTC with nanoseconds, as log lines carry it.
pub fn rfc3339(unix_ns: i64) -> String {
    let civil = Civil::of(unix_ns, 0);
    format!(
        "{}T{}{}Z",
        civil.date(),
        civil.clock(),
        fraction(civil.nanosecond, 9)
    )
}

fn layout(unix_ns: i64, offset: i32, zone: &str, digits: usize) -> String {
    let civil = Civil::of(unix_ns, offset);
    let sign = if offset < 0 { '-' } else { '+' };
    let minutes = offset.unsigned_abs() / 60;
    format!(
        "{} {}{} {sign}{:02}{:02} {zone}",
        civil.date(),
        civil.clock(),
        fraction(civil.nanosecond, digits),
        minutes / 60,
        minutes % 60,
    )
}

/// `.25` for a quarter of a second; nothing for none.
fn fraction(nanosecond: i64, digits: usize) -> String {
    let text = format!("{nanosecond:09}");
    match text[..digits].trim_end_matches('0') {
        "" => String::new(),
        digits => format!(".{digits}"),
    }
}

/// A point in time on a wall somewhere.
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    second: i64,
    nanosecond: i64,
}

impl Civil {
    fn of(unix_ns: i64, offset_seconds: i32) -> Civil {
        let seconds = unix_ns.div_euclid(SECOND) + i64::from(offset_seconds);
        let (year, month, day) = civil_from_days(seconds.div_euclid(DAY));
        Civil {
            year,
            month,
            day,
            second: seconds.rem_euclid(DAY),
            nanosecond: unix_ns.rem_euclid(SECOND),
        }
    }

    fn date(&self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }

    fn clock(&self) -> String {
        let second = self.second;
        format!(
            "{:02}:{:02}:{:02}",
            second / HOUR,
            second / MINUTE % 60,
            second % 60
        )
    }
}

/// Days since 1970-01-01 to a date of the Gregorian calendar, by counting in
/// eras of 400 years that begin on 1 March.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Nanoseconds since 1970 of an RFC 3339 time such as `2016-01-02T03:04:05.6+01:00`.
/// `None` for what is not one; years that do not fit are capped.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if !text.is_ascii() || bytes.len() < 20 || bytes.len() > 64 {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = &text[from..to];
        digits
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| digits.parse().ok())?
    };
    let shape = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if shape.iter().any(|&(at, byte)| bytes[at] != byte) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let in_range = (1..=12).contains(&month) && day >= 1 && hour < 24 && minute < 60 && second < 60;
    if !in_range || civil_from_days(days_from_civil(year, month, day)) != (year, month, day) {
        return None;
    }
    let mut rest = &text[19..];
    let mut nanosecond = 0;
    if let Some(tail) = rest.strip_prefix('.') {
        let end = tail
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(tail.len());
        if end == 0 {
            return None;
        }
        let digits: String = tail[..end]
            .chars()
            .chain("000000000".chars())
            .take(9)
            .collect();
        nanosecond = digits.parse().ok()?;
        rest = &tail[end..];
    }
    let offset = match rest.as_bytes() {
        b"Z" => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let digit = |byte: &u8| (*byte as char).to_digit(10).map(i64::from);
            let hours = digit(h1)? * 10 + digit(h2)?;
            let minutes = digit(m1)? * 10 + digit(m2)?;
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = hours * HOUR + minutes * MINUTE;
            if *sign == b'-' { -offset } else { offset }
        }
        _ => return None,
    };
    let days = days_from_civil(year, month, day);
    let seconds = days * DAY + hour * HOUR + minute * MINUTE + second - offset;
    Some(seconds.saturating_mul(SECOND).saturating_add(nanosecond))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        for (seconds, want) in [
            (0, "now"),
            (1, "1 second ago"),
            (59, "59 seconds ago"),
            (60, "1 minute ago"),
            (119, "1 minute ago"),
            (120, "2 minutes ago"),
            (3600, "1 hour ago"),
            (7200, "2 hours ago"),
            (DAY, "1 day ago"),
            (2 * DAY, "2 days ago"),
            (WEEK, "1 week ago"),
            (3 * WEEK, "3 weeks ago"),
            (MONTH, "1 month ago"),
            (2 * MONTH, "2 months ago"),
            (YEAR, "1 year ago"),
            (18 * MONTH, "2 years ago"),
            (2 * YEAR, "2 years ago"),
            (36 * YEAR, "36 years ago"),
            (37 * YEAR, "a long while ago"),
            (-5, "5 seconds from now"),
            (-DAY, "1 day from now"),
        ] {
            let now = 200 * YEAR * SECOND;
            assert_eq!(age(now - seconds * SECOND, now), want);
        }
        assert_eq!(age(SECOND / 2, SECOND), "now");
        assert_eq!(age(SECOND, SECOND / 2), "now");
        assert_eq!(age(i64::MIN, i64::MAX), "a long while ago");
    }

    #[test]
    fn layouts() {
        let at = 1_795_230_408_852_102_575;
        assert_eq!(full(at, 0, "UTC"), "2026-11-21 03:06:48.852 +0000 UTC");
        assert_eq!(
            precise(at, 0, "UTC"),
            "2026-11-21 03:06:48.852102575 +0000 UTC"
        );
        assert_eq!(full(at, 19_800, "IST"), "2026-11-21 08:36:48.852 +0530 IST");
        assert_eq!(
            full(at, -12_600, "NST"),
            "2026-11-20 23:36:48.852 -0330 NST"
        );
        assert_eq!(
            full(1_300_000_000_300_000_000, 0, "UTC"),
            "2011-03-13 07:06:40.3 +0000 UTC"
        );
        assert_eq!(full(0, 0, "UTC"), "1970-01-01 00:00:00 +0000 UTC");
        assert_eq!(full(-1, 0, "UTC"), "1969-12-31 23:59:59.999 +0000 UTC");
        assert_eq!(rfc3339(at), "2026-11-21T03:06:48.852102575Z");
        assert_eq!(
            full(i64::MIN, 0, "UTC"),
            "1677-09-21 00:12:43.145 +0000 UTC"
        );
    }

    #[test]
    fn rfc3339_is_read() {
        for (text, want) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600 * SECOND),
            ("1970-01-01T01:00:00.5+01:00", SECOND / 2),
            ("1969-12-31T23:00:00-01:00", 0),
            ("1970-01-01T00:00:00.1234567891Z", 123_456_789),
            ("9999-12-31T23:59:59Z", i64::MAX),
        ] {
            assert_eq!(parse_rfc3339(text), Some(want), "{text}");
        }
        for text in [
            "",
            "1970-01-01",
            "1970-01-01 00:00:00Z",
            "1970-13-01T00:00:00Z",
            "1970-02-30T00:00:00Z",
            "1970-01-01T24:00:00Z",
            "1970-01-01T00:00:00",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00+0100",
            "1970-01-01T00:00:00+01:60",
            "+970-01-01T00:00:00Z",
            "1970-01-01T00:00:0éZ",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn the_calendar_has_no_gaps() {
        let mut last = civil_from_days(-800_000);
        for days in -799_999..800_000 {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
            assert!((year, month, day) > last);
            last = (year, month, day);
        }
        assert_eq!(civil_from_days(0), (1970, 1, 1));
        assert!(parse_rfc3339("2000-02-29T00:00:00Z").is_some());
        assert!(parse_rfc3339("1900-02-29T00:00:00Z").is_none());
    }
}
