//! A user at a terminal: a pty of the test's own, a shell as the session's leader, and rkt under that shell.
//!
//! The shell stays when rkt has ended, as a user's does: a terminal whose session is over is reset by the kernel, and
//! what rkt left behind could not be seen any more. `start` runs rkt in the foreground of the session, so that a
//! new window size reaches it as SIGWINCH from the kernel. The user's keys and the screen go through the master.

use crate::isolated::Mode as Surroundings;
use crate::rkt::Rkt;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::{Termios, Winsize};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);
/// What the shell says when rkt has ended.
const OVER: &str = "shell-saw-exit=";

#[derive(Debug)]
pub struct Terminal {
    master: OwnedFd,
    name: String,
    screen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    pub fn new(rows: u16, columns: u16) -> Terminal {
        let master =
            rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
                .expect("the host has ptys");
        rustix::pty::unlockpt(&master).expect("a fresh pty");
        let name = rustix::pty::ptsname(&master, Vec::new()).expect("a pty has a name");
        let terminal = Terminal {
            master,
            name: name.into_string().expect("/dev/pts/N"),
            screen: Arc::default(),
        };
        terminal.resize(rows, columns);
        terminal
    }

    /// The path of its other end, as the host names it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// rkt in the foreground of a new session at this terminal.
    #[track_caller]
    pub fn start(&self, rkt: &Rkt) -> Seated<'_> {
        self.start_with(rkt, "")
    }

    /// The same with redirections, as a shell writes them.
    #[track_caller]
    pub fn start_with(&self, rkt: &Rkt, redirections: &str) -> Seated<'_> {
        let find = |tool: &str| crate::isolated::find(tool).unwrap_or_else(|| tool.into());
        let rkt = rkt.command();
        let script = format!("\"$0\" \"$@\" {redirections}; echo {OVER}$?.; read -r line");
        let user = self.other_end();
        let copy = || Stdio::from(user.try_clone().expect("a descriptor is free"));
        let mut shell = Command::new(find("setsid"));
        if crate::isolated::mode() == Surroundings::Bare {
            shell.env_clear();
        }
        let shell = shell
            .envs(
                rkt.get_envs()
                    .filter_map(|(key, value)| Some((key, value?))),
            )
            .arg("--ctty")
            .arg(find("sh"))
            .args(["-c", &script])
            .arg(rkt.get_program())
            .args(rkt.get_args())
            .stdin(copy())
            .stdout(copy())
            .stderr(copy())
            .spawn()
            .expect("setsid comes with unshare");
        self.follow();
        Seated {
            terminal: self,
            shell,
        }
    }

    /// Collects what the terminal shows.
    fn follow(&self) {
        let master = self.master.try_clone().expect("a descriptor is free");
        let screen = self.screen.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Ends with EIO when nobody holds the other end any more.
            while let Ok(n @ 1..) = rustix::io::read(&master, &mut buffer) {
                screen
                    .lock()
                    .expect("nobody panics with this lock")
                    .extend_from_slice(&buffer[..n]);
            }
        });
    }

    fn other_end(&self) -> OwnedFd {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        rustix::fs::open(&self.name, flags, Mode::empty()).expect("the pty's other end")
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(&self.master, size).expect("a pty takes a size");
    }

    #[track_caller]
    pub fn press(&self, keys: &[u8]) {
        let written = rustix::io::write(self.master.as_fd(), keys).expect("a pty takes keys");
        assert_eq!(written, keys.len());
    }

    /// What the screen has shown, with plain line ends.
    pub fn text(&self) -> String {
        let screen = self.screen.lock().expect("nobody panics with this lock");
        String::from_utf8_lossy(&screen).replace('\r', "")
    }

    /// Waits until the screen has shown `part`.
    #[track_caller]
    pub fn until(&self, part: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.text().contains(part) {
            assert!(
                Instant::now() < end,
                "{part:?} never came; the screen shows\n{}",
                self.text()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// How the terminal is set, in words that compare.
    pub fn settings(&self) -> String {
        let Termios {
            input_modes,
            output_modes,
            control_modes,
            local_modes,
            special_codes,
            ..
        } = rustix::termios::tcgetattr(&self.master).expect("a pty has settings");
        format!(
            "{input_modes:?} {output_modes:?} {control_modes:?} {local_modes:?} {special_codes:?}"
        )
    }
}

/// A call of rkt at the terminal.
#[derive(Debug)]
pub struct Seated<'a> {
    terminal: &'a Terminal,
    shell: Child,
}

impl Seated<'_> {
    /// Waits for rkt's end: its exit code, and the settings it left.
    #[track_caller]
    pub fn end(mut self) -> (i32, String) {
        self.terminal.until(OVER);
        // The number ends with a dot, so that no half of it is read.
        let code = crate::proc::eventually("the whole exit code is on the screen", || {
            let text = self.terminal.text();
            let (_, rest) = text.rsplit_once(OVER)?;
            rest.split_once('.')?.0.parse().ok()
        });
        let settings = self.terminal.settings();
        self.terminal.press(b"\n");
        let _ = self.shell.wait();
        (code, settings)
    }
}

impl Drop for Seated<'_> {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
