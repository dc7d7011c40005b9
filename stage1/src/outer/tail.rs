//! The apps' logs on stdout as they grow, in rkt's form.
//!
//! Never more than a little at a time, and never a write that could block: the
//! outer process has signals to serve, however fast an app writes and however
//! slowly its reader reads.

use std::os::fd::OwnedFd;

use super::sink::Sink;
use crate::plan::Plan;
use model::{AcName, fault::Result};
use pod::log::{Event, Foreground, Query, Reader};

pub struct Tail {
    apps: Vec<(Reader, Foreground)>,
    out: Sink,
    /// A log had more than was read.
    more: bool,
}

impl Tail {
    pub fn new(logs: &OwnedFd, plan: &Plan) -> Result<Tail> {
        let offset_ns = sys::time::now_ns() - sys::time::monotonic_ns();
        let apps = plan
            .apps
            .iter()
            .map(|app| {
                let name = AcName::new(&app.name)?;
                let query = Query {
                    whole: true,
                    ..Query::default()
                };
                Ok((
                    Reader::open(logs, &name, query)?,
                    Foreground {
                        offset_ns,
                        app: name,
                        pid: 0,
                    },
                ))
            })
            .collect::<Result<_>>()?;
        Ok(Tail {
            apps,
            out: Sink::new(rustix::stdio::stdout())?,
            more: false,
        })
    }

    /// The pid that stands beside an app's lines, as the pod counts.
    pub fn started(&mut self, app: usize, pid: i32) {
        if let Some((_, foreground)) = self.apps.get_mut(app) {
            foreground.pid = pid;
        }
    }

    /// Reads what is new, as far as there is room.
    pub fn read(&mut self) {
        let Tail {
            apps, out, more, ..
        } = self;
        *more = false;
        for (reader, foreground) in apps {
            if !out.has_room() {
                *more = true;
                return;
            }
            let read = reader.read(&mut |event| match event {
                Event::Line(line) => foreground.render(&line, out.buffer()),
                Event::Missed(lines) => {
                    foreground.render_missed(sys::time::now_ns(), lines, out.buffer());
                }
            });
            *more |= matches!(read, Ok(true));
        }
    }

    /// Something waits to be written, or to be read.
    pub fn is_behind(&self) -> bool {
        self.more || self.out.is_waiting()
    }

    /// Where to wait until more can be written, if something is to be.
    pub fn waits_for(&self) -> Option<&Sink> {
        self.out.is_waiting().then_some(&self.out)
    }

    /// Writes what stdout takes at once.
    pub fn write(&mut self) {
        self.out.write();
    }
}
