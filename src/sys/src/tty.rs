//! Terminals: raw mode and back, window sizes, controlling terminals, ptys.

use crate::check;
use rustix::termios::{OptionalActions, Termios, Winsize};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

pub fn is_terminal(fd: BorrowedFd<'_>) -> bool {
    rustix::termios::isatty(fd)
}

/// Raw mode on a terminal until it is dropped.
#[derive(Debug)]
pub struct Raw {
    terminal: OwnedFd,
    before: Termios,
}

impl Raw {
    pub fn enter(terminal: BorrowedFd<'_>) -> io::Result<Raw> {
        let terminal = terminal.try_clone_to_owned()?;
        let before = rustix::termios::tcgetattr(&terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(&terminal, OptionalActions::Drain, &raw)?;
        Ok(Raw { terminal, before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Nothing to do about a failure: the terminal is gone then.
        let _ = rustix::termios::tcsetattr(&self.terminal, OptionalActions::Drain, &self.before);
    }
}

/// Gives `to` the window size of `from`.
pub fn copy_size(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let size: Winsize = rustix::termios::tcgetwinsize(from)?;
    rustix::termios::tcsetwinsize(to, size)?;
    Ok(())
}

/// The width of `terminal`, where it knows one.
pub fn columns(terminal: BorrowedFd<'_>) -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(terminal).ok()?;
    Some(size.ws_col).filter(|columns| *columns > 0)
}

/// Makes `terminal` the controlling terminal of this session leader.
pub fn control(terminal: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: TIOCSCTTY takes a plain number: 0, never steal.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY as _, 0) }).map(drop)
}

/// A pty of the devpts instance whose root is `pts`: the master, the slave opened
/// through it (TIOCGPTPEER, Linux 4.13) or by its number, and that number. No name
/// is looked up outside of `pts`, and no link is followed.
pub fn open_pair(pts: BorrowedFd<'_>) -> io::Result<(OwnedFd, OwnedFd, u32)> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let master = rustix::fs::openat(pts, "ptmx", flags, Mode::empty())?;
    rustix::pty::unlockpt(&master)?;
    let mut number: libc::c_uint = 0;
    // SAFETY: TIOCGPTN writes one unsigned int.
    check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN as _, &raw mut number) })?;
    let slave = match rustix::pty::ioctl_tiocgptpeer(
        &master,
        rustix::pty::OpenptFlags::RDWR
            | rustix::pty::OpenptFlags::NOCTTY
            | rustix::pty::OpenptFlags::CLOEXEC,
    ) {
        Ok(slave) => slave,
        Err(_) => rustix::fs::openat(pts, number.to_string(), flags, Mode::empty())?,
    };
    Ok((master.as_fd().try_clone_to_owned()?, slave, number))
}
