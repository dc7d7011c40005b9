//! The machine's console: what we say, and the pods' output line by line.
//!
//! A console may be slow, or stopped by somebody who presses ^S, and must not stop
//! this process: text waits in memory, and while there is much of it no more is
//! taken from the pods (`is_full`). A console that takes nothing for seconds holds up
//! nobody; what it misses is lost, and a line says so. One that comes late, with a module,
//! is found when there is something to say. Of what a pod prints only characters of UTF-8
//! that move nothing on a terminal are passed on.

use model::Fault;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// From here on pods' output is left where it is.
const FULL: usize = 64 << 10;
/// From here on lines are lost.
const MOST: usize = 1 << 20;
/// A console that has taken nothing for so long is stopped, or there is none.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a pipe holds is read in one turn, and no more: a pod that never stops writing must not keep this
/// process from everything else.
const READS: usize = 16;
/// A longer line is shown in parts.
const LONGEST_LINE: usize = 4 << 10;

pub(crate) struct Console {
    terminal: Option<File>,
    waiting: VecDeque<u8>,
    lost: bool,
    taken: Instant,
}

impl Console {
    /// Without a console, as before /dev is there, everything waits.
    pub(crate) fn open() -> Console {
        let mut console = Console::silent();
        console.reopen();
        console
    }

    pub(crate) fn silent() -> Console {
        Console {
            terminal: None,
            waiting: VecDeque::new(),
            lost: false,
            taken: Instant::now(),
        }
    }

    /// Opens it if it is not open. Nobody's controlling terminal, and with no effect on others' descriptors.
    pub(crate) fn reopen(&mut self) {
        let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        if self.terminal.is_none() {
            self.terminal = rustix::fs::open("/dev/console", flags, Mode::empty())
                .ok()
                .map(File::from);
        }
        self.flush();
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.line("rkt", text.as_bytes());
        self.flush();
    }

    pub(crate) fn complain(&mut self, fault: &Fault) {
        self.say(&format!("error: {fault}"));
        if let Some(hint) = &fault.hint {
            self.say(&format!("hint: {hint}"));
        }
    }

    fn line(&mut self, name: &str, text: &[u8]) {
        if self.waiting.len() >= MOST {
            self.lost = true;
            return;
        }
        if self.waiting.is_empty() {
            // It could take nothing while there was nothing.
            self.taken = Instant::now();
        }
        if std::mem::take(&mut self.lost) {
            self.waiting
                .extend(b"rkt: the console took nothing: lines are missing here\n");
        }
        self.waiting.extend(name.as_bytes());
        self.waiting.extend(b": ");
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        // The controls above 0x7f as well: U+009B begins for the kernel's terminal what ESC [ does, and so does the
        // byte 9B, which is no UTF-8.
        let shown = |c: char| match c {
            '\t' => c,
            char::REPLACEMENT_CHARACTER => '?',
            _ if c.is_control() => '?',
            _ => c,
        };
        let shown: String = String::from_utf8_lossy(text).chars().map(shown).collect();
        self.waiting.extend(shown.as_bytes());
        self.waiting.push_back(b'\n');
    }

    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= FULL && self.taken.elapsed() < PATIENCE
    }

    /// The terminal, while there is something to write.
    pub(crate) fn wants(&self) -> Option<BorrowedFd<'_>> {
        self.terminal
            .as_ref()
            .filter(|_| !self.waiting.is_empty())
            .map(AsFd::as_fd)
    }

    /// Writes as much as is taken now.
    pub(crate) fn flush(&mut self) {
        let Some(terminal) = &mut self.terminal else {
            return;
        };
        while !self.waiting.is_empty() {
            let (first, _) = self.waiting.as_slices();
            match terminal.write(first) {
                Ok(written) if written > 0 => {
                    self.taken = Instant::now();
                    drop(self.waiting.drain(..written));
                }
                Err(err) if err.kind() == std::io::ErrorKind::Interrupted => {}
                Err(err) if err.kind() == std::io::ErrorKind::WouldBlock => return,
                // A terminal that hung up: there may be a new one.
                _ => {
                    self.terminal = None;
                    return;
                }
            }
        }
    }

    /// Writes everything, if that can be had in so long.
    pub(crate) fn drain(&mut self, most: Duration) {
        let begun = Instant::now();
        self.reopen();
        while let (Some(terminal), false) = (self.wants(), begun.elapsed() >= most) {
            let turn = Timespec {
                tv_sec: 0,
                tv_nsec: 100_000_000,
            };
            let _ = rustix::event::poll(
                &mut [PollFd::from_borrowed_fd(terminal, PollFlags::OUT)],
                Some(&turn),
            );
            self.flush();
        }
    }
}

/// What one pod, or another child, prints.
pub(crate) struct Output {
    name: String,
    pipe: File,
    /// A line that has not ended.
    part: Vec<u8>,
}

impl Output {
    /// The reading side here, and the side to be handed to the child.
    pub(crate) fn pipe(name: &str) -> Result<(Output, OwnedFd), Fault> {
        let fail = |err: rustix::io::Errno| Fault::io("cannot make", "a pipe", err);
        let (ours, theirs) =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(fail)?;
        rustix::fs::fcntl_setfl(&ours, OFlags::NONBLOCK).map_err(fail)?;
        let output = Output {
            name: name.to_string(),
            pipe: ours.into(),
            part: Vec::new(),
        };
        Ok((output, theirs))
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Passes on what is there; false when nothing more will come.
    pub(crate) fn pass(&mut self, console: &mut Console) -> bool {
        let mut buffer = [0; 4 << 10];
        let mut open = true;
        for _ in 0..READS {
            if console.is_full() {
                break;
            }
            match self.pipe.read(&mut buffer) {
                Ok(0) => {
                    open = false;
                    break;
                }
                Ok(length) => self.take(&buffer[..length], console),
                Err(err) if err.kind() == std::io::ErrorKind::Interrupted => {}
                Err(err) => {
                    open = err.kind() == std::io::ErrorKind::WouldBlock;
                    break;
                }
            }
        }
        if !open && !self.part.is_empty() {
            console.line(&self.name, &std::mem::take(&mut self.part));
        }
        console.flush();
        open
    }

    fn take(&mut self, bytes: &[u8], console: &mut Console) {
        for byte in bytes {
            if *byte == b'\n' {
                console.line(&self.name, &std::mem::take(&mut self.part));
            } else if self.part.len() >= LONGEST_LINE {
                let rest = self.part.split_off(whole(&self.part));
                console.line(&self.name, &std::mem::replace(&mut self.part, rest));
            }
            if *byte != b'\n' {
                self.part.push(*byte);
            }
        }
    }
}

/// The length without a character of UTF-8 that has only begun at the end, which has three bytes at most.
fn whole(line: &[u8]) -> usize {
    let tail = line.len().saturating_sub(3);
    let begin = line[tail..].iter().rposition(|byte| *byte >= 0xc0);
    let begin = begin.map_or(line.len(), |place| tail + place);
    match std::str::from_utf8(&line[begin..]) {
        Err(err) if err.error_len().is_none() => begin,
        _ => line.len(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn shown(console: &mut Console) -> String {
        String::from_utf8(console.waiting.drain(..).collect()).unwrap()
    }

    #[test]
    fn each_line_has_its_pods_name() {
        let mut console = Console::silent();
        let (mut output, theirs) = Output::pipe("web").unwrap();
        let mut theirs = File::from(theirs);
        theirs
            .write_all(b"one\r\ntwo \x1b[31mred\x1b[0m\tx\nth")
            .unwrap();
        assert!(output.pass(&mut console));
        assert_eq!(shown(&mut console), "web: one\nweb: two ?[31mred?[0m\tx\n");
        theirs.write_all(b"ree").unwrap();
        drop(theirs);
        assert!(!output.pass(&mut console));
        assert_eq!(shown(&mut console), "web: three\n");
    }

    #[test]
    fn a_line_without_end_comes_in_parts() {
        let mut console = Console::silent();
        let (mut output, theirs) = Output::pipe("a").unwrap();
        drop(theirs);
        output.take(&vec![b'x'; 2 * LONGEST_LINE + 1], &mut console);
        assert!(!output.pass(&mut console));
        let lengths: Vec<usize> = shown(&mut console).lines().map(str::len).collect();
        assert_eq!(lengths, [LONGEST_LINE + 3, LONGEST_LINE + 3, 4]);
    }

    #[test]
    fn nothing_that_moves_the_cursor_is_passed_on() {
        let mut console = Console::silent();
        // U+009B, the same in eight bits, the end of a title, DEL; then what is only text.
        console.line("a", b"\xc2\x9b2J \x9b2J \xc2\x9c \x7f \xff");
        console.line("a", "ä Û — 漢\u{a0}\u{1f600}".as_bytes());
        assert_eq!(
            shown(&mut console),
            "a: ?2J ?2J ? ? ?\na: ä Û — 漢\u{a0}\u{1f600}\n"
        );
    }

    #[test]
    fn a_character_is_not_cut_between_two_reads_or_two_parts_of_a_line() {
        let mut console = Console::silent();
        let (mut output, theirs) = Output::pipe("a").unwrap();
        drop(theirs);
        output.take(b"\xe6\xbc", &mut console);
        output.take(b"\xa2\n", &mut console);
        assert_eq!(shown(&mut console), "a: 漢\n");
        for before in LONGEST_LINE - 5..=LONGEST_LINE {
            let line = format!("{}\u{1f600}{}\n", "x".repeat(before), "y".repeat(9));
            output.take(line.as_bytes(), &mut console);
            let parts = shown(&mut console).replace("a: ", "").replace('\n', "");
            assert_eq!(parts, line.trim_end(), "{before}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_do_not_make_a_line_longer_than_it_may_be() {
        let mut console = Console::silent();
        let (mut output, theirs) = Output::pipe("a").unwrap();
        drop(theirs);
        output.take(&vec![0xc3; 2 * LONGEST_LINE], &mut console);
        assert!(!output.pass(&mut console));
        assert!(
            shown(&mut console)
                .lines()
                .all(|line| line.len() <= LONGEST_LINE + 3)
        );
    }

    #[test]
    fn a_pod_that_never_stops_writing_gets_its_turn_and_no_more() {
        let mut console = Console::silent();
        let (mut output, theirs) = Output::pipe("a").unwrap();
        let mut theirs = File::from(theirs);
        let writer =
            std::thread::spawn(move || while theirs.write_all(&[b'x'; 4 << 10]).is_ok() {});
        for _ in 0..3 {
            console.say("something waits");
            // As if it had been stopped for long.
            console.taken = Instant::now().checked_sub(2 * PATIENCE).unwrap();
            assert!(output.pass(&mut console), "it comes back");
        }
        drop(output);
        writer.join().unwrap();
    }

    #[test]
    fn patience_begins_when_something_waits() {
        let mut console = Console::silent();
        console.taken = Instant::now().checked_sub(2 * PATIENCE).unwrap();
        while console.waiting.len() < FULL {
            console.say("the first words after a long silence");
        }
        assert!(console.is_full());
    }

    #[test]
    fn a_console_that_takes_nothing_bounds_what_waits() {
        let mut console = Console::silent();
        for _ in 0..100_000 {
            console.say("a line that nobody reads");
        }
        assert!(console.is_full());
        assert!(console.waiting.len() < MOST + 100);
        shown(&mut console);
        console.say("again");
        assert!(shown(&mut console).contains("lines are missing here\nrkt: again\n"));
    }
}
