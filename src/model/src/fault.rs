//! The one error of floors 1 and up: what kind it is, what was being done, the
//! cause, and what the user can do next. It is printed once, in `main`.
//!
//! rkt prints `<message>: <innermost cause>`; with `--debug` the links between
//! the two appear as well, outermost first.

use std::fmt;

/// What sort of failure this is; callers decide on it, never on text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The command line is wrong; the command's usage screen may help.
    Usage,
    /// What was named does not exist.
    NotFound,
    /// It exists already, or is in use.
    Conflict,
    /// There is none left to be given.
    Exhausted,
    /// Input from outside is malformed or hostile.
    Invalid,
    /// Policy or permission says no.
    Refused,
    /// This kernel, host or build cannot do it.
    Unsupported,
    /// The operating system failed; the errno where one is known.
    Os(i32),
    /// Our own data on disk is damaged.
    Corrupt,
    /// A time-out ran out.
    TimedOut,
}

/// A failure on its way up to `main`.
#[derive(Debug, Clone)]
pub struct Fault {
    pub kind: Kind,
    /// Printed before the cause, e.g. `error setting up stage0`.
    pub message: Option<String>,
    /// What was being done, outermost first; shown with `--debug` only.
    pub links: Vec<String>,
    /// The innermost text, always shown.
    pub cause: String,
    /// The next step for the user, shown on a line of its own.
    pub hint: Option<String>,
    /// Exit status of the process; 254 unless rkt's reference says otherwise.
    pub exit: u8,
}

pub type Result<T, E = Fault> = std::result::Result<T, E>;

impl Fault {
    pub fn new(kind: Kind, cause: impl Into<String>) -> Fault {
        Fault {
            kind,
            message: None,
            links: Vec::new(),
            cause: cause.into(),
            hint: None,
            exit: 254,
        }
    }
    pub fn usage(cause: impl Into<String>) -> Fault {
        Fault::new(Kind::Usage, cause)
    }
    pub fn not_found(cause: impl Into<String>) -> Fault {
        Fault::new(Kind::NotFound, cause)
    }
    pub fn conflict(cause: impl Into<String>) -> Fault {
        Fault::new(Kind::Conflict, cause)
    }
    pub fn invalid(cause: impl Into<String>) -> Fault {
        Fault::new(Kind::Invalid, cause)
    }
    pub fn refused(cause: impl Into<String>) -> Fault {
        Fault::new(Kind::Refused, cause)
    }
    pub fn unsupported(cause: impl Into<String>) -> Fault {
        Fault::new(Kind::Unsupported, cause)
    }
    pub fn corrupt(cause: impl Into<String>) -> Fault {
        Fault::new(Kind::Corrupt, cause)
    }

    /// An operating system failure, worded as rkt words it: `open /x: no such
    /// file or directory`.
    pub fn io(verb: &str, what: impl fmt::Display, err: impl Into<std::io::Error>) -> Fault {
        let err = err.into();
        let kind = match err.raw_os_error() {
            Some(errno) => Kind::Os(errno),
            None => Kind::Invalid,
        };
        Fault::new(kind, format!("{verb} {what}: {}", errno_text(&err)))
    }

    /// Sets the text that is printed before the cause (outermost wins).
    pub fn message(mut self, message: impl Into<String>) -> Fault {
        if let Some(old) = self.message.replace(message.into()) {
            self.links.insert(0, old);
        }
        self
    }
    /// Adds what was being done around the failure; `--debug` shows it.
    pub fn link(mut self, link: impl Into<String>) -> Fault {
        self.links.insert(0, link.into());
        self
    }
    pub fn hint(mut self, hint: impl Into<String>) -> Fault {
        self.hint.get_or_insert(hint.into());
        self
    }
    pub fn exit(mut self, exit: u8) -> Fault {
        self.exit = exit;
        self
    }
    /// The errno behind it, where there is one.
    pub fn errno(&self) -> Option<i32> {
        match self.kind {
            Kind::Os(errno) => Some(errno),
            _ => None,
        }
    }
}

/// The system's own words in lower case and without Rust's `(os error N)`.
pub fn errno_text(err: &std::io::Error) -> String {
    let text = err.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    match chars.next() {
        // "Is a directory" → "is a directory", but "I/O error" keeps its capitals.
        Some(first) if chars.clone().next().is_some_and(|c| c.is_lowercase()) => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_string(),
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            Some(message) if !message.is_empty() => write!(f, "{message}: {}", self.cause),
            _ => f.write_str(&self.cause),
        }
    }
}

impl std::error::Error for Fault {}

/// Adds intent to a failure on the way up.
pub trait Context<T> {
    fn message(self, message: impl FnOnce() -> String) -> Result<T>;
    fn link(self, link: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Context<T> for Result<T> {
    fn message(self, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|fault| fault.message(message()))
    }
    fn link(self, link: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|fault| fault.link(link()))
    }
}
