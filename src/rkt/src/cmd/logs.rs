//! `rkt logs`: what the apps of a pod wrote.
//!
//! What an app wrote to stdout goes to stdout and what it wrote to stderr to
//! stderr, byte for byte. Where lines of several apps are mixed, each line
//! bears its app's name.

use crate::command::{Call, Command, Outcome, Stop, Words};
use crate::flags::{Flag, parse_duration};
use crate::output;
use model::fault::Result;
use pod::log::Stream;
use stage0::logs::{Entry, LogsRequest};
use stage0::pods::PodName;

const APP: Flag = Flag::text("app", "", "only the lines of this app");
const FOLLOW: Flag = Flag::bool(
    "follow",
    false,
    "go on with what is written until the pod ends",
)
.short('f');
const SINCE: Flag = Flag::word(
    "since",
    "",
    "only lines younger than a span (10m) or a moment (2026-01-31T12:00:00Z)",
)
.checked(|value| since(value, 0).map(drop));
const TAIL: Flag = Flag::word("tail", "all", "only so many of the last lines of each app")
    .checked(|value| tail(value).map(drop));

pub static COMMAND: Command = Command {
    name: "logs",
    short: "print what the apps of a pod wrote",
    usage: "rkt logs [-f|--follow] [--app=APPNAME] [--since=TIME] [--tail=N] UUID",
    long: "Prints the lines of all apps in the order of time. With several apps, each line starts\n\
           with its app's name.",
    flags: &[&[APP, FOLLOW, SINCE, TAIL]],
    run: Some(run),
    words: Words::Pods(&[]),
    ..Command::EMPTY
};

fn run(call: Call) -> Outcome {
    let args = call.mixed()?;
    let Ok([uuid]) = <[String; 1]>::try_from(args.texts()?) else {
        return Err(Stop::Usage);
    };
    let flags = &args.flags;
    let judged = "judged when parsed; defaults are well formed";
    let request = LogsRequest {
        pod: PodName::Uuid(uuid),
        app: flags.filled(APP.name),
        follow: flags.bool(&FOLLOW),
        tail: tail(flags.text(&TAIL)).expect(judged),
        since_ns: since(flags.text(&SINCE), sys::time::now_ns()).expect(judged),
    };
    let env = super::env(flags, COMMAND.name)?;
    let manifest = stage0::pods::cat_manifest(&env, &request.pod)?;
    let apps = model::PodManifest::parse(&manifest)?.apps.len();
    let mut printer = Printer::new(request.app.is_none() && apps > 1, request.follow);
    let result = stage0::logs::logs(&env, &request, &mut |entry| printer.entry(entry));
    printer.end()?;
    result?;
    Ok(0)
}

/// Puts entries together to lines.
struct Printer {
    named: bool,
    /// Whether each line goes out at once.
    prompt: bool,
    /// The stream whose line is not ended yet.
    open: Option<(String, Stream)>,
    waiting: Vec<u8>,
}

/// A reader that is not waited for gets its lines in portions of this size.
const PORTION: usize = 32 << 10;

impl Printer {
    fn new(named: bool, prompt: bool) -> Printer {
        Printer {
            named,
            prompt,
            open: None,
            waiting: Vec::new(),
        }
    }

    /// `false` when nobody reads any more.
    fn entry(&mut self, entry: Entry) -> Result<bool> {
        match entry {
            Entry::Missed { app, lines } => {
                let word = if lines == 1 { "line" } else { "lines" };
                output::remark(COMMAND.name, &format!("{lines} {word} of \"{app}\" missed"));
                Ok(true)
            }
            Entry::Line {
                stream: Stream::Rkt,
                ..
            } => Ok(true),
            Entry::Line {
                app,
                stream,
                partial,
                text,
                ..
            } => {
                let place = (app.to_string(), stream);
                let mut bytes = Vec::with_capacity(text.len() + 32);
                if self.open.as_ref() != Some(&place) {
                    self.close()?;
                    if self.named {
                        bytes.extend_from_slice(format!("{app}: ").as_bytes());
                    }
                }
                bytes.extend_from_slice(&text);
                if !partial {
                    bytes.push(b'\n');
                }
                self.open = partial.then_some(place);
                self.write(stream, &bytes)
            }
        }
    }

    /// Ends a line that another one interrupts.
    fn close(&mut self) -> Result<bool> {
        match self.open.take() {
            Some((_, stream)) => self.write(stream, b"\n"),
            None => Ok(true),
        }
    }

    fn write(&mut self, stream: Stream, bytes: &[u8]) -> Result<bool> {
        if stream == Stream::Stderr {
            let alive = self.flush()?;
            return Ok(output::err_bytes(bytes) && alive);
        }
        self.waiting.extend_from_slice(bytes);
        if self.prompt || self.waiting.len() >= PORTION {
            return self.flush();
        }
        Ok(true)
    }

    fn flush(&mut self) -> Result<bool> {
        output::out_alive(&std::mem::take(&mut self.waiting))
    }

    fn end(mut self) -> Result<()> {
        self.close()?;
        self.flush().map(drop)
    }
}

/// A moment in nanoseconds since 1970; a span counts back from `now_ns`.
fn since(value: &str, now_ns: i64) -> Result<Option<i64>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    if let Some(moment) = model::time::parse_rfc3339(value) {
        return Ok(Some(moment));
    }
    let span = parse_duration(value)
        .map_err(|_| "neither a span of time nor a moment in RFC 3339 form".to_string())?;
    Ok(Some(now_ns.saturating_sub(span)))
}

/// `all` or a number.
fn tail(value: &str) -> Result<Option<u64>, String> {
    match value {
        "all" | "" => Ok(None),
        number => match number.parse() {
            Ok(lines) => Ok(Some(lines)),
            Err(_) => Err("neither a number nor \"all\"".to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_to_start() {
        assert_eq!(since("", 5), Ok(None));
        assert_eq!(since("1s", 3_000_000_000), Ok(Some(2_000_000_000)));
        assert_eq!(since("1970-01-01T00:00:02Z", 0), Ok(Some(2_000_000_000)));
        assert!(since("yesterday", 0).is_err());
        assert_eq!(tail("all"), Ok(None));
        assert_eq!(tail("7"), Ok(Some(7)));
        assert!(tail("-1").is_err());
    }
}
