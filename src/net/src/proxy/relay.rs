//! One direction of a connection: bytes go from one socket through a pipe to
//! the other, by splice(2), without a copy in this process: that takes two
//! thirds of the processor's time of reading and writing.
//!
//! The pipe is the only buffer, and is emptied before more is read: a slow
//! receiver thus slows the sender down, by its window.

use rustix::io::Errno;
use rustix::net::Shutdown;
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};
use std::os::fd::{BorrowedFd, OwnedFd};

/// Asked for at once: as much as a pipe holds.
const CHUNK: usize = 64 << 10;
/// Fillings of the pipe before it is another connection's turn.
const ROUNDS: usize = 16;

#[derive(Debug)]
pub(super) struct Relay {
    reader: OwnedFd,
    writer: OwnedFd,
    /// Bytes in the pipe.
    held: usize,
    /// The sender has finished.
    ended: bool,
    /// The receiver knows.
    told: bool,
}

impl Relay {
    pub(super) fn new() -> Result<Relay, Errno> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Relay {
            reader,
            writer,
            held: 0,
            ended: false,
            told: false,
        })
    }

    pub(super) fn wants_input(&self) -> bool {
        self.held == 0 && !self.ended
    }

    pub(super) fn wants_output(&self) -> bool {
        self.held > 0
    }

    /// Everything was passed on, the end too.
    pub(super) fn finished(&self) -> bool {
        self.told
    }

    /// Moves what can be moved now.
    pub(super) fn pump(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        for _ in 0..ROUNDS {
            if self.held == 0 {
                if self.ended {
                    return self.tell(to);
                }
                match splice(from, None, &self.writer, None, CHUNK, flags) {
                    Ok(0) => {
                        self.ended = true;
                        return self.tell(to);
                    }
                    Ok(moved) => self.held = moved,
                    Err(Errno::AGAIN) => return Ok(()),
                    Err(Errno::INTR) => continue,
                    Err(err) => return Err(err),
                }
            }
            match splice(&self.reader, None, to, None, self.held, flags) {
                Ok(moved) => self.held -= moved.min(self.held),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(err) => return Err(err),
            }
        }
        Ok(())
    }

    fn tell(&mut self, to: BorrowedFd<'_>) -> Result<(), Errno> {
        if !self.told {
            rustix::net::shutdown(to, Shutdown::Write)?;
            self.told = true;
        }
        Ok(())
    }
}
