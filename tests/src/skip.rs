//! Tests that cannot run on this machine say so, with the reason, and are counted.
//!
//! libtest knows only passed, failed and ignored-at-compile-time. `skip!` prints the reason, appends one line
//! `suite::test: reason` to the file named by `RKT_SKIPS` (set by `tests/suite`) and returns from the test;
//! the tally then moves the test from the passed to the skipped column.

use std::io::Write;

/// Ends the running test as skipped. Must stand in the test function itself.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)*) => {{
        $crate::skip::record(&format!($($reason)*));
        return;
    }};
}

/// Writes the reason where `tests/suite` counts it. The test is named after its thread, as libtest does.
pub fn record(reason: &str) {
    let thread = std::thread::current();
    let test = std::env::var("RKT_TEST_NAME")
        .ok()
        .or_else(|| thread.name().map(str::to_owned))
        .unwrap_or_else(|| "unnamed".to_owned());
    eprintln!("SKIP {test}: {reason}");
    let Some(path) = std::env::var_os("RKT_SKIPS") else {
        return;
    };
    let line = format!("{test}: {reason}\n");
    // One write of one line with O_APPEND: tests of several processes never interleave.
    let opened = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path);
    if let Err(e) = opened.and_then(|mut f| f.write_all(line.as_bytes())) {
        eprintln!("skip not recorded in {}: {e}", path.display());
    }
}
