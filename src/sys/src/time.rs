//! Clocks, and the local zone.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since 1970.
pub fn now_ns() -> i64 {
    clock_ns(ClockId::Realtime)
}

/// Nanoseconds since the machine started, not counting sleep.
pub fn monotonic_ns() -> i64 {
    clock_ns(ClockId::Monotonic)
}

fn clock_ns(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    let rest: i64 = fit(time.tv_nsec).expect("nanoseconds are fewer than a billion");
    time.tv_sec * 1_000_000_000 + rest
}

/// Between our numbers and C's, whose width differs by target. Generic, so that
/// it is no conversion to itself where the two are one type.
fn fit<A, B: TryFrom<A>>(number: A) -> Option<B> {
    B::try_from(number).ok()
}

/// The local zone at `unix` seconds: seconds east of UTC, and its abbreviation.
pub fn local_offset(unix: i64) -> (i32, String) {
    let utc = || (0, "UTC".to_string());
    let Some(time) = fit(unix) else {
        return utc();
    };
    // SAFETY: tm is plain data for which zero is valid.
    let mut parts: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid; localtime_r needs no lock of ours.
    if unsafe { libc::localtime_r(&time, &mut parts) }.is_null() {
        return utc();
    }
    if parts.tm_zone.is_null() {
        return utc();
    }
    // SAFETY: tm_zone points to a NUL-terminated text owned by libc.
    let zone = unsafe { std::ffi::CStr::from_ptr(parts.tm_zone) };
    match fit(parts.tm_gmtoff) {
        Some(offset) => (offset, zone.to_string_lossy().into_owned()),
        None => utc(),
    }
}
