//! How a fetch looks: remarks and one line per transfer, on stderr.
//!
//! On a terminal the lines of what runs stand at the bottom and are drawn anew in
//! place, at most ten times a second; a remark or a finished transfer moves above
//! them. Off a terminal a transfer is one plain line at its end. The form is
//! rkt's, `Downloading ACI: [=====    ] 12.3 MB/115 MB`.
//!
//! Invariant: while anything is drawn, the cursor stands at the start of the line
//! below; no line is as wide as the terminal, so none wraps.

use super::{err_bytes, tame};
use stage0::{Bar, Progress};
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const PERIOD: Duration = Duration::from_millis(100);
/// rkt draws for a terminal of this width, and leaves that much for the sizes.
const WIDTH: usize = 80;
const SIZES: usize = 18;

/// Watches one command's fetches; shared by their threads.
pub struct Face {
    quiet: bool,
    terminal: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// In the order they began.
    running: Vec<Transfer>,
    next: u64,
    /// Lines on the screen that are ours to draw over.
    drawn: usize,
    last: Option<Instant>,
}

struct Transfer {
    id: u64,
    what: String,
    done: u64,
    total: Option<u64>,
}

impl Face {
    /// `quiet` shows no transfers; remarks are shown in any case.
    pub fn new(quiet: bool) -> Face {
        Face {
            quiet,
            terminal: std::io::stderr().is_terminal(),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A remark, of one line or more, above what is drawn.
    pub fn remark(&self, prefix: &str, text: &str) {
        // Tabs stay: rkt indents with them.
        let tamed = |line: &str| line.split('\t').map(tame).collect::<Vec<_>>().join("\t");
        let lines: Vec<String> = text.lines().map(tamed).collect();
        let line = format!("{prefix}: {}", lines.join("\n"));
        self.print(&mut self.state(), Some(&line), true);
    }

    /// Prints `above`, which stays, and draws what runs below it.
    fn print(&self, state: &mut State, above: Option<&str>, now: bool) {
        let draws = self.terminal && !self.quiet;
        if !draws {
            if let Some(line) = above {
                err_bytes(format!("{line}\n").as_bytes());
            }
            return;
        }
        if !now && state.last.is_some_and(|last| last.elapsed() < PERIOD) {
            return;
        }
        let columns = sys::tty::columns(std::io::stderr().as_fd()).map_or(WIDTH, usize::from);
        err_bytes(frame(state, above, columns).as_bytes());
        state.last = Some(Instant::now());
    }
}

/// What has to be written for the next picture, in one piece.
fn frame(state: &mut State, above: Option<&str>, columns: usize) -> String {
    let mut out = String::new();
    if state.drawn > 0 {
        out.push_str(&format!("\x1b[{}A\r\x1b[J", state.drawn));
    }
    if let Some(line) = above {
        out.push_str(line);
        out.push('\n');
    }
    for transfer in &state.running {
        let line = line(&transfer.what, transfer.done, transfer.total);
        out.extend(line.chars().take(columns.saturating_sub(1)));
        out.push('\n');
    }
    state.drawn = state.running.len();
    out
}

impl Progress for Face {
    fn begin(&self, what: &str, total: Option<u64>) -> Box<dyn Bar + '_> {
        let mut state = self.state();
        let id = state.next;
        state.next += 1;
        let what = tame(what);
        let transfer = Transfer {
            id,
            what,
            done: 0,
            total,
        };
        state.running.push(transfer);
        self.print(&mut state, None, true);
        Box::new(Running { face: self, id })
    }
}

struct Running<'f> {
    face: &'f Face,
    id: u64,
}

impl Running<'_> {
    /// Off the list; what stays on the screen is the last line, if it `succeeded`.
    fn end(&mut self, succeeded: bool) {
        let mut state = self.face.state();
        let Some(index) = state
            .running
            .iter()
            .position(|transfer| transfer.id == self.id)
        else {
            return;
        };
        let transfer = state.running.remove(index);
        let line = line(&transfer.what, transfer.done, transfer.total);
        let above = (succeeded && !self.face.quiet).then_some(line.as_str());
        self.face.print(&mut state, above, true);
    }
}

impl Bar for Running<'_> {
    fn advance(&mut self, bytes: u64) {
        let mut state = self.face.state();
        if let Some(transfer) = state
            .running
            .iter_mut()
            .find(|transfer| transfer.id == self.id)
        {
            transfer.done += bytes;
        }
        self.face.print(&mut state, None, false);
    }

    fn finish(&mut self) {
        self.end(true);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.end(false);
    }
}

/// rkt's line: the bar fills what 80 columns leave beside the words.
fn line(what: &str, done: u64, total: Option<u64>) -> String {
    let Some(total) = total else {
        return format!("{what}: {} of an unknown total size", size(done));
    };
    let width = WIDTH.saturating_sub(what.chars().count() + SIZES);
    let inner = width.saturating_sub(2) as u64;
    let full = match total {
        0 => inner,
        total => {
            (u128::from(done) * u128::from(inner) / u128::from(total)).min(inner.into()) as u64
        }
    };
    let bar: String = (0..inner)
        .map(|at| if at < full { '=' } else { ' ' })
        .collect();
    format!("{what}: [{bar}] {}/{}", size(done), size(total))
}

/// Three significant digits in decimal units, as Go's `%.3g` has them.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KB", "MB", "GB", "TB", "PB", "EB"];
    let mut unit = 0;
    let mut scale = 1u64;
    while unit + 1 < UNITS.len() && bytes / scale >= 1000 {
        scale *= 1000;
        unit += 1;
    }
    let value = bytes as f64 / scale as f64;
    let digits = match value {
        ..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    let mut text = format!("{value:.digits$}");
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    // What rounds up to four digits is written with an exponent.
    if text == "1000" {
        text = "1e+03".to_string();
    }
    format!("{text} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_gos() {
        for (bytes, want) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1 KB"),
            (1250, "1.25 KB"),
            (32_768, "32.8 KB"),
            (99_960, "100 KB"),
            (999_499, "999 KB"),
            (999_999, "1e+03 KB"),
            (3_400_000, "3.4 MB"),
            (115_343_360, "115 MB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(size(bytes), want, "{bytes}");
        }
    }

    #[test]
    fn the_bar_is_rkts() {
        let line_of = |done, total| line("Downloading ACI", done, total);
        let empty = line_of(0, Some(115_343_360));
        // 80 − 15 − 18 in all.
        assert_eq!(
            empty,
            format!("Downloading ACI: [{}] 0 B/115 MB", " ".repeat(45))
        );
        let half = line_of(50, Some(100));
        assert!(
            half.contains(&format!("[{}{}]", "=".repeat(22), " ".repeat(23))),
            "{half}"
        );
        // A server that sends more than it said, and one with nothing to send.
        for full in [line_of(300, Some(100)), line_of(0, Some(0))] {
            assert!(full.contains(&format!("[{}]", "=".repeat(45))), "{full}");
        }
        assert_eq!(
            line_of(1_250_000, None),
            "Downloading ACI: 1.25 MB of an unknown total size"
        );
        let long = line(&"x".repeat(100), 1, Some(2));
        assert!(long.ends_with(": [] 1 B/2 B"), "{long}");
    }

    #[test]
    fn a_picture_replaces_the_one_before() {
        let transfer = |id, what: &str| Transfer {
            id,
            what: what.into(),
            done: 1,
            total: None,
        };
        let mut state = State {
            running: vec![transfer(0, "a"), transfer(1, "b")],
            ..State::default()
        };
        let end = "1 B of an unknown total size\n";
        assert_eq!(frame(&mut state, None, 80), format!("a: {end}b: {end}"));
        state.running.remove(0);
        let want = format!("\x1b[2A\r\x1b[Jimage: done\nb: {end}");
        assert_eq!(frame(&mut state, Some("image: done"), 80), want);
        // Nothing as wide as the terminal.
        assert_eq!(frame(&mut state, None, 10), "\x1b[1A\r\x1b[Jb: 1 B of\n");
        assert_eq!(frame(&mut state, None, 0), "\x1b[1A\r\x1b[J\n");
    }
}
