//! An app's output on its way from its pipes into its log file.
//!
//! The pipes stay open as long as anybody holds their other end, so output of
//! processes that outlive their app is kept too.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use model::{AcName, Fault};
use pod::log::{Limits, LineSplitter, LogFile, Stream};
use rustix::fs::OFlags;
use rustix::io::Errno;

/// Read at once; a pipe holds 64 KiB.
const CHUNK: usize = 16 << 10;

pub struct Output {
    log: LogFile,
    pipes: Vec<Pipe>,
}

struct Pipe {
    fd: OwnedFd,
    stream: Stream,
    lines: LineSplitter,
}

impl Output {
    pub fn open(logs: &OwnedFd, app: &AcName) -> Result<Output, Fault> {
        let log = LogFile::open(logs, app, Limits::default(), sys::time::now_ns())?;
        Ok(Output {
            log,
            pipes: Vec::new(),
        })
    }

    /// A fresh pipe for a stream; the end that the app writes to.
    pub fn pipe(&mut self, stream: Stream) -> Result<OwnedFd, Fault> {
        let fail = |err| Fault::io("cannot make", "a pipe", err);
        let (reader, writer) =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(fail)?;
        // Of the reading end only: the app's end is its own.
        rustix::fs::fcntl_setfl(&reader, OFlags::NONBLOCK).map_err(fail)?;
        self.pipes.push(Pipe {
            fd: reader,
            stream,
            lines: LineSplitter::new(),
        });
        Ok(writer)
    }

    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.pipes.iter().map(|pipe| pipe.fd.as_fd())
    }

    /// Moves what is there, at most a pipeful per stream, so that one app
    /// cannot keep the others waiting. True when something was.
    pub fn pump(&mut self) -> bool {
        let mut moved = false;
        let Output { log, pipes } = self;
        pipes.retain_mut(|pipe| {
            for _ in 0..4 {
                let mut chunk = [0; CHUNK];
                let length = match rustix::io::read(&pipe.fd, &mut chunk) {
                    Ok(0) => {
                        let now = sys::time::now_ns();
                        pipe.lines.finish(&mut |part| {
                            moved = true;
                            log.append(now, pipe.stream, part);
                        });
                        return false;
                    }
                    Ok(length) => length,
                    Err(Errno::INTR) => continue,
                    Err(_) => break,
                };
                moved = true;
                let now = sys::time::now_ns();
                pipe.lines.feed(&chunk[..length], &mut |part| {
                    log.append(now, pipe.stream, part)
                });
                if length < CHUNK {
                    break;
                }
            }
            true
        });
        if moved {
            log.flush();
        }
        moved
    }

    /// Nothing more will be read.
    pub fn close(&mut self) {
        let Output { log, pipes } = self;
        let now = sys::time::now_ns();
        for pipe in pipes.iter_mut() {
            pipe.lines
                .finish(&mut |part| log.append(now, pipe.stream, part));
        }
        pipes.clear();
        log.flush();
    }
}
