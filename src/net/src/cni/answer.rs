//! What a CNI program answered: a result, or the error that it reports.
//!
//! Errors are JSON on stdout; a program that prints none is quoted from what it
//! wrote. No text of a program reaches a terminal with control characters.

use super::exec::{End, MAX_STDOUT, Ran};
use crate::Outcome;
use model::json;
use model::text::{is_invisible, quote};
use model::{Fault, Kind, Value, fault::Result};
use std::time::Duration;

/// What is shown of a program's text.
const MAX_SHOWN: usize = 2048;
/// `code`: the container is unknown, nothing is to be cleaned up.
const UNKNOWN_CONTAINER: u64 = 3;

/// The result of an ADD that succeeded, and the same as it was written.
pub(super) fn result(stdout: &[u8]) -> Result<(Outcome, Value)> {
    let bad = |fault: Fault| {
        let cause = fault.cause;
        Fault::invalid(format!("error parsing network plugin result: {cause}"))
    };
    let value = json::parse(stdout).map_err(|fault| match shown(stdout) {
        Some(text) => bad(Fault::invalid(format!("{}: {fault}", quote(&text)))),
        None => bad(Fault::invalid("it printed nothing")),
    })?;
    // A program that reports an error and forgets its exit status.
    if let Some(error) = Reported::of(&value).filter(|error| error.code != 0) {
        return Err(error.fault());
    }
    let outcome = Outcome::from_json(&value).map_err(bad)?;
    Ok((outcome, value))
}

/// Why it did not succeed.
pub(super) fn failure(ran: &Ran, patience: Duration) -> Fault {
    match ran.end {
        End::TimedOut => {
            let cause = format!("netplugin did not end within {patience:?}, it was killed");
            return Fault::new(Kind::TimedOut, cause);
        }
        End::TooMuch => {
            let cause = format!("netplugin printed more than {MAX_STDOUT} bytes, it was killed");
            return Fault::invalid(cause);
        }
        End::Interrupted => {
            return Fault::refused("interrupted while a netplugin ran, it was killed");
        }
        End::Exited(_) | End::Signalled(_) => {}
    }
    if let Some(error) = reported(ran) {
        return error.fault();
    }
    let how = match ran.end {
        End::Signalled(signal) => format!("signal {signal}"),
        End::Exited(status) => format!("exit status {status}"),
        End::TimedOut | End::TooMuch | End::Interrupted => unreachable!("returned above"),
    };
    let texts = [&ran.stdout, &ran.stderr].map(|bytes| shown(bytes));
    let cause = match texts {
        [Some(text), _] => format!(
            "netplugin failed but error parsing its diagnostic message {}",
            quote(&text)
        ),
        [None, Some(text)] => format!("netplugin failed: {} ({how})", quote(&text)),
        [None, None] => format!("netplugin failed with no error message: {how}"),
    };
    Fault::new(Kind::Refused, cause)
}

/// Whether it says that there is nothing to be undone.
pub(super) fn unknown_container(ran: &Ran) -> bool {
    matches!(ran.end, End::Exited(_))
        && reported(ran).is_some_and(|error| error.code == UNKNOWN_CONTAINER)
}

fn reported(ran: &Ran) -> Option<Reported> {
    Reported::of(&json::parse(&ran.stdout).ok()?)
}

/// The specification's error object.
struct Reported {
    code: u64,
    text: String,
}

impl Reported {
    fn of(value: &Value) -> Option<Reported> {
        let text = |key| shown(value.get(key)?.as_str()?.as_bytes());
        let msg = text("msg")?;
        Some(Reported {
            code: value.get("code").and_then(Value::as_u64).unwrap_or(0),
            text: match text("details") {
                Some(details) => format!("{msg}; {details}"),
                None => msg,
            },
        })
    }

    fn fault(self) -> Fault {
        let kind = match self.code {
            1 | 2 => Kind::Unsupported,
            UNKNOWN_CONTAINER => Kind::NotFound,
            4 | 6 | 7 => Kind::Invalid,
            _ => Kind::Refused,
        };
        Fault::new(kind, self.text)
    }
}

/// One line of bounded length that a terminal can be given; `None` when there
/// is nothing to show.
pub(super) fn shown(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_SHOWN)]);
    let plain: String = text
        .chars()
        .map(|c| match c.is_control() || is_invisible(c) {
            true => ' ',
            false => c,
        })
        .collect();
    let text = plain.trim();
    let more = if bytes.len() > MAX_SHOWN { " …" } else { "" };
    (!text.is_empty()).then(|| format!("{text}{more}"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn failed(end: End, stdout: &str, stderr: &str) -> Fault {
        let ran = Ran {
            end,
            stdout: stdout.into(),
            stderr: stderr.into(),
        };
        failure(&ran, Duration::from_secs(30))
    }

    #[test]
    fn failures_are_told_in_the_words_of_the_plugin() {
        let cases = [
            (
                r#"{"cniVersion":"0.4.0","code":7,"msg":"bad","details":"very"}"#,
                "",
                "bad; very",
            ),
            (r#"{"code":11,"msg":"try again"}"#, "noise", "try again"),
            (
                r#"{"code":7,"msg":"a\u001b[31m\nb","details":""}"#,
                "",
                "a [31m b",
            ),
            (
                "{}",
                "",
                r#"netplugin failed but error parsing its diagnostic message "{}""#,
            ),
            (
                "oops\n",
                "more",
                r#"netplugin failed but error parsing its diagnostic message "oops""#,
            ),
            (
                r#"{"code":7,"msg":3}"#,
                "",
                r#"netplugin failed but error parsing its diagnostic message "{\"code\":7,\"msg\":3}""#,
            ),
            (
                " \n",
                "died\n",
                r#"netplugin failed: "died" (exit status 1)"#,
            ),
            (
                "",
                "",
                "netplugin failed with no error message: exit status 1",
            ),
        ];
        for (stdout, stderr, want) in cases {
            assert_eq!(failed(End::Exited(1), stdout, stderr).cause, want);
        }
        assert_eq!(
            failed(End::Signalled(9), "", "").cause,
            "netplugin failed with no error message: signal 9"
        );
        assert_eq!(failed(End::TimedOut, "x", "").kind, Kind::TimedOut);
        assert!(
            failed(End::TooMuch, "x", "")
                .cause
                .contains("1048576 bytes")
        );
    }

    #[test]
    fn codes_say_what_kind_of_failure_it_is() {
        for (code, kind) in [
            (1, Kind::Unsupported),
            (3, Kind::NotFound),
            (7, Kind::Invalid),
            (11, Kind::Refused),
            (999, Kind::Refused),
        ] {
            let text = format!(r#"{{"code":{code},"msg":"m"}}"#);
            assert_eq!(failed(End::Exited(1), &text, "").kind, kind);
        }
    }

    #[test]
    fn results_that_are_none_are_refused() {
        let cases = [
            (
                "",
                "error parsing network plugin result: it printed nothing",
            ),
            (
                "hello",
                r#"error parsing network plugin result: "hello": line 1, column 1: expected value"#,
            ),
            (
                r#"{"ip4":{"ip":"x"}}"#,
                r#"error parsing network plugin result: ip4.ip: invalid CIDR address: "x""#,
            ),
            (r#"{"code":11,"msg":"later"}"#, "later"),
        ];
        for (stdout, want) in cases {
            assert_eq!(result(stdout.as_bytes()).unwrap_err().cause, want);
        }
        let long = "x".repeat(3000);
        let cause = result(long.as_bytes()).unwrap_err().cause;
        assert!(cause.len() < 2300 && cause.contains('…'), "{cause}");
    }
}
