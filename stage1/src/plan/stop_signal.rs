//! The signal that asks an app to end: the one that its docker image names, else SIGTERM.

use model::oci::STOP_SIGNAL;
use model::{Fault, ImageManifest, fault::Result};
use sys::signal;

/// `SIGQUIT`, `QUIT`, `3`, `SIGRTMIN+3`: one of Linux, 1 to 64, which a process can be ended with.
pub(super) fn of(image: &ImageManifest) -> Result<i32> {
    let said = image
        .annotations
        .iter()
        .find(|annotation| annotation.name.as_str() == STOP_SIGNAL)
        .map(|annotation| annotation.value.as_str());
    let Some(text) = said else {
        return Ok(signal::TERM);
    };
    number(text).ok_or_else(|| {
        Fault::invalid(format!(
            "the image's stop signal {text:?} is none of Linux; SIGTERM is sent instead"
        ))
    })
}

/// In the numbers of x86 and arm, which are those of all architectures that rkt is built for.
const NAMES: [(&str, i32); 28] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CONT", 18),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("RTMIN", 34),
];
const RTMAX: i32 = 64;

fn number(text: &str) -> Option<i32> {
    let text = text.trim().to_ascii_uppercase();
    let name = text.strip_prefix("SIG").unwrap_or(&text);
    let found = if let Ok(number) = name.parse::<i32>() {
        number
    } else if let Some(above) = name.strip_prefix("RTMIN+") {
        34_i32.checked_add(above.parse().ok()?)?
    } else if let Some(below) = name.strip_prefix("RTMAX") {
        match below {
            "" => RTMAX,
            _ => RTMAX.checked_sub(below.strip_prefix('-')?.parse().ok()?)?,
        }
    } else {
        NAMES.iter().find(|(known, _)| *known == name)?.1
    };
    // What stops a process does not end it.
    let stops = (19..=22).contains(&found);
    ((1..=RTMAX).contains(&found) && !stops).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (text, expected) in [
            ("SIGTERM", Some(15)),
            ("quit", Some(3)),
            ("28", Some(28)),
            ("SIGRTMIN+3", Some(37)),
            ("SIGRTMAX-1", Some(63)),
            ("RTMAX", Some(64)),
            ("SIGSTOP", None),
            ("19", None),
            ("0", None),
            ("-1", None),
            ("65", None),
            ("RTMIN+99999999999", None),
            ("RTMIN+2147483647", None),
            ("RTMAX--2147483648", None),
            ("", None),
            ("SIG", None),
        ] {
            assert_eq!(number(text), expected, "{text}");
        }
    }
}
