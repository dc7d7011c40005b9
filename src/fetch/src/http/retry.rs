//! What is worth another try, and after which pause.
//!
//! Statuses and failures in, a verdict or a pause out. Pure but for the random
//! jitter, which keeps a hundred machines from knocking at the same moment.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Tries in all, the first included.
pub const TRIES: u32 = 5;

pub fn status(status: u16, method: super::Method) -> bool {
    match method {
        // What was posted may have been done.
        super::Method::Post => matches!(status, 429 | 503),
        _ => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
    }
}

/// Whether this is a connection that broke, as opposed to one that was not to be
/// had (nobody listens, no way there) or was refused on principle (certificate,
/// no such host, nonsense): who waits for these wants to know at once.
pub fn broken(err: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(
        err.kind(),
        K::ConnectionReset
            | K::ConnectionAborted
            | K::BrokenPipe
            | K::NotConnected
            | K::UnexpectedEof
    )
}

/// The pause before try `next` (2 is the first retry).
pub fn pause(next: u32, base: Duration, cap: Duration, after: Option<Duration>) -> Duration {
    if let Some(after) = after {
        return after.min(cap);
    }
    let full = base.saturating_mul(1 << (next.saturating_sub(2)).min(10));
    let mut byte = [0u8; 1];
    // Without randomness the pause is merely not spread.
    let _ = rustix::rand::getrandom(&mut byte, rustix::rand::GetRandomFlags::NONBLOCK);
    let spread = 192 + u32::from(byte[0]) / 2;
    (full * spread / 256).min(cap)
}

/// `Retry-After`: seconds, or a date, which counts from `now`. A date that is
/// past and anything else says nothing.
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a u64 takes are a long time as well.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let at = UNIX_EPOCH.checked_add(Duration::from_secs(http_date(value)?))?;
    at.duration_since(now).ok()
}

/// Seconds since 1970 of `Sun, 06 Nov 1994 08:49:37 GMT`, the one form that
/// servers may send (RFC 9110, section 5.6.7).
fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let rest = text.split_once(", ")?.1.strip_suffix(" GMT")?;
    let mut words = rest.split(' ');
    let day: u64 = number(words.next()?, 2)?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let year: u64 = number(words.next()?, 4)?;
    let mut clock = words.next()?.split(':');
    let mut part = || number(clock.next()?, 2);
    let (hour, minute, second) = (part()?, part()?, part()?);
    let sane = (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    if words.next().is_some() || clock.next().is_some() || !sane || year < 1970 {
        return None;
    }
    // Days since 1970, counted in years that begin in March, so that the leap
    // day is the last one.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1;
    Some((days.checked_sub(719_468)?) * 86_400 + hour * 3600 + minute * 60 + second)
}

fn number(text: &str, digits: usize) -> Option<u64> {
    let fine = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    fine.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_retry_after_says() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (value, want) in [
            ("2", Some(2)),
            (" 0 ", Some(0)),
            ("100000", Some(100_000)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Mon, 07 Nov 1994 08:49:37 GMT", Some(86_400)),
            (
                "Thu, 29 Feb 1996 00:00:00 GMT",
                Some(825_552_000 - 784_111_777),
            ),
            ("Sun, 06 Nov 1994 08:49:36 GMT", None),
            ("Thu, 01 Jan 1970 00:00:00 GMT", None),
            ("Sun, 06 Nov 1994 25:49:37 GMT", None),
            ("Sun, 06 Nov 99999 08:49:37 GMT", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            let got = retry_after(value, now).map(|time| time.as_secs());
            assert_eq!(got, want, "{value}");
        }
    }

    #[test]
    fn pauses_double_and_are_capped() {
        let (base, cap) = (Duration::from_secs(1), Duration::from_secs(60));
        for (next, at_most) in [(2, 1.25), (3, 2.5), (4, 5.0), (5, 10.0)] {
            let pause = pause(next, base, cap, None).as_secs_f64();
            assert!(
                pause >= at_most * 0.59 && pause <= at_most,
                "{next}: {pause}"
            );
        }
        assert_eq!(pause(u32::MAX, base, cap, None), cap);
        assert_eq!(pause(2, base, cap, Some(Duration::from_secs(100_000))), cap);
        assert_eq!(pause(2, base, cap, Some(Duration::ZERO)), Duration::ZERO);
    }
}
