//! `rkt logs`: what the apps of a pod wrote, in the order of time, and what
//! they go on to write.
//!
//! Each app has its own log; they are merged by the time of their lines. While
//! following, lines are handed on as they come.

use crate::env::Env;
use crate::pods::{PodName, open};
use model::fault::Result;
use model::{AcName, Fault};
use pod::log::{Event, Query, Reader, Stream, Watch};
use pod::{Pod, State};
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct LogsRequest {
    pub pod: PodName,
    /// Only this app.
    pub app: Option<String>,
    /// Goes on until the pod has ended.
    pub follow: bool,
    /// Only the last so many lines of each app.
    pub tail: Option<u64>,
    /// Only lines of this moment (nanoseconds since 1970) and later.
    pub since_ns: Option<i64>,
}

/// What happened to one app's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    Line {
        app: AcName,
        time_ns: i64,
        stream: Stream,
        /// The line goes on in the next entry of this stream.
        partial: bool,
        text: Vec<u8>,
    },
    /// So many lines are not to be had any more.
    Missed { app: AcName, lines: u64 },
}

/// Hands every entry to `each`, which ends it by saying `false`.
pub fn logs(
    env: &Env,
    request: &LogsRequest,
    each: &mut dyn FnMut(Entry) -> Result<bool>,
) -> Result<()> {
    let mut pod = open(env, &request.pod, "problem retrieving pod")?;
    let apps = choose_apps(&pod, request.app.as_deref())?;
    let Some(dir) = pod.log_dir()? else {
        return Err(Fault::not_found(format!(
            "pod {:?} has no log",
            pod.uuid().as_str()
        )));
    };
    let watch = if request.follow {
        Watch::open(&dir)
    } else {
        None
    };
    let mut sources = Vec::new();
    for app in apps {
        let query = Query {
            since_ns: request.since_ns,
            tail: request.tail,
            whole: request.tail.is_none(),
        };
        let reader = Reader::open(&dir, &app, query)?;
        sources.push(Source {
            app,
            reader,
            pending: Vec::new(),
            at: 0,
            dry: false,
        });
    }
    loop {
        // Looked at before reading: what the pod wrote until its end is read.
        let over = !request.follow || !matches!(pod.refresh()?, Some(State::Running));
        if !drain(&mut sources, each)? || over {
            return Ok(());
        }
        pause(watch.as_ref())?;
    }
}

fn choose_apps(pod: &Pod, wanted: Option<&str>) -> Result<Vec<AcName>> {
    let apps = pod.summary()?.apps.into_iter().map(|app| app.name);
    let Some(wanted) = wanted else {
        return Ok(apps.collect());
    };
    let found: Vec<AcName> = apps.filter(|app| app.as_str() == wanted).collect();
    if found.is_empty() {
        return Err(Fault::not_found(format!(
            "app {wanted:?} is not present in pod"
        )));
    }
    Ok(found)
}

/// One app's log, and the entries that were read but not handed on.
struct Source {
    app: AcName,
    reader: Reader,
    pending: Vec<Entry>,
    at: usize,
    /// Nothing was left at the last look.
    dry: bool,
}

impl Source {
    /// The time of the next entry, reading on where none is left.
    fn peek(&mut self) -> Result<Option<i64>> {
        while self.at == self.pending.len() && !self.dry {
            self.pending.clear();
            self.at = 0;
            let (app, pending) = (&self.app, &mut self.pending);
            let more = self.reader.read(&mut |event| {
                pending.push(match event {
                    Event::Line(line) => Entry::Line {
                        app: app.clone(),
                        time_ns: line.time_ns,
                        stream: line.stream,
                        partial: line.partial,
                        text: line.text.to_vec(),
                    },
                    Event::Missed(lines) => Entry::Missed {
                        app: app.clone(),
                        lines,
                    },
                });
            })?;
            self.dry = !more;
        }
        Ok(self.pending.get(self.at).map(|entry| match entry {
            Entry::Line { time_ns, .. } => *time_ns,
            // Belongs before whatever comes next.
            Entry::Missed { .. } => i64::MIN,
        }))
    }
}

/// Hands on all that can be read now, the earliest first.
fn drain(sources: &mut [Source], each: &mut dyn FnMut(Entry) -> Result<bool>) -> Result<bool> {
    for source in &mut *sources {
        source.dry = false;
    }
    loop {
        let mut first: Option<(i64, usize)> = None;
        for (index, source) in sources.iter_mut().enumerate() {
            if let Some(time) = source.peek()?
                && first.is_none_or(|(earliest, _)| time < earliest)
            {
                first = Some((time, index));
            }
        }
        let Some((_, index)) = first else {
            return Ok(true);
        };
        let source = &mut sources[index];
        let empty = Entry::Missed {
            app: source.app.clone(),
            lines: 0,
        };
        let entry = std::mem::replace(&mut source.pending[source.at], empty);
        source.at += 1;
        if !each(entry)? {
            return Ok(false);
        }
    }
}

/// Until something was written; the pod's end is looked for in between.
fn pause(watch: Option<&Watch>) -> Result<()> {
    let Some(watch) = watch else {
        std::thread::sleep(Duration::from_millis(100));
        return Ok(());
    };
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(watch, PollFlags::IN)];
    let time = Timespec {
        tv_sec: 0,
        tv_nsec: 500_000_000,
    };
    match poll(&mut fds, Some(&time)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {
            watch.clear();
            Ok(())
        }
        Err(e) => Err(Fault::io("poll", "the log directory", e)),
    }
}
