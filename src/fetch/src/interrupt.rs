//! A way out of a fetch: ^C sets a flag, every wait and every read of a download
//! looks at it and fails, and the failure cleans up as any other does.
//!
//! Nothing has to be woken: no wait on the network or on a thread lasts longer
//! than [`SLICE`] without a look at the flag. A second signal ends the process,
//! for the handler serves once.

use model::fault::{Fault, Kind};
use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The longest wait between two looks at the flag.
pub const SLICE: Duration = Duration::from_millis(100);

/// SIGINT, SIGTERM and SIGHUP set the flag from now until this is dropped.
pub struct Watch(());

pub fn watch() -> io::Result<Watch> {
    sys::signal::catch(&[sys::signal::INT, sys::signal::TERM, sys::signal::HUP])?;
    Ok(Watch(()))
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Fails for no signal that `watch` could take.
        let _ = sys::signal::release(&[sys::signal::INT, sys::signal::TERM, sys::signal::HUP]);
    }
}

thread_local! {
    /// Tells a thread that works for a download that nobody wants it any more.
    static CANCEL: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// This thread stops as soon as `flag` is set.
#[cfg(feature = "http")]
pub(crate) fn stop_on(flag: Arc<AtomicBool>) {
    CANCEL.with(|cancel| *cancel.borrow_mut() = Some(flag));
}

/// An error once the user or the caller does not want to go on. The exit status
/// is that of a process killed by the signal.
pub fn check() -> io::Result<()> {
    if let Some(signal) = sys::signal::caught() {
        let exit = u8::try_from(128 + signal).unwrap_or(254);
        let fault = Fault::new(
            Kind::Os(rustix::io::Errno::INTR.raw_os_error()),
            "interrupted",
        );
        return Err(io::Error::other(fault.exit(exit)));
    }
    let unwanted = CANCEL.with(|cancel| {
        let cancel = cancel.borrow();
        cancel
            .as_ref()
            .is_some_and(|flag| flag.load(Ordering::Relaxed))
    });
    if unwanted {
        return Err(io::Error::other(Fault::refused("cancelled")));
    }
    Ok(())
}

/// Sleeps for `time`, or fails.
pub fn sleep(time: Duration) -> io::Result<()> {
    let end = Instant::now() + time;
    loop {
        check()?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(SLICE));
    }
}
