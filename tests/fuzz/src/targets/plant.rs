//! Bugs on purpose, by which the fuzzer proves that it would find one.
//!
//! Each stands behind a property of parsed values, not of bytes. Unarmed they are only counted, so that the replay can
//! tell that no input of the corpora leads to one: the fuzzer has to find its own.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

static ARMED: AtomicBool = AtomicBool::new(false);

thread_local! {
    static MET: Cell<u64> = const { Cell::new(0) };
}

#[allow(dead_code, reason = "the fuzzer arms them, the replay does not")]
pub fn arm(yes: bool) {
    ARMED.store(yes, Ordering::Relaxed);
}

/// How often a planted bug's condition held in this thread.
#[allow(dead_code, reason = "the replay counts them, the fuzzer does not")]
pub fn met() -> u64 {
    MET.get()
}

/// The bug: whatever has this property is too much.
pub fn plant(met: bool, what: &str) {
    if met {
        MET.set(MET.get() + 1);
        assert!(!ARMED.load(Ordering::Relaxed), "planted bug: {what}");
    }
}
