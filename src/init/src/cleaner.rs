//! A pod whose `rkt run` was killed → what has to be done before it may start again.
//!
//! Killed from outside, for want of memory or by somebody's kill -9, rkt stops nothing:
//! the pod notices and stops by itself, which takes as long as its apps take, and has
//! its volumes, ports and addresses meanwhile. So each start saves the pod's UUID, and
//! after such an end `rkt stop --force` and `rkt rm` come before the next start.
//!
//! Invariants: what is stopped is a pod of this very file, named by its whole UUID,
//! since rkt takes the beginning of one as well; where that is not known nothing is
//! stopped, and the pod gets the time that it takes to stop by itself.

use crate::mounts::directory;
use model::{Fault, PodUuid};
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::time::Duration;

/// On a tmpfs: no file of an earlier life of the machine is taken for one of this.
const DIRECTORY: &str = "/run/rkt-init";
/// More than any UUID has.
const MAX_TEXT: u64 = 64;

/// After so long a pod has stopped by itself: its apps have 90 s, their handlers as long. `rkt stop` waits 190 s.
pub(crate) const BY_ITSELF: Duration = Duration::from_secs(200);

/// What a cleaner does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Stop,
    /// Whether it was stopped before.
    Remove {
        stopped: bool,
    },
}

/// What comes after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Step(Step),
    /// The pod may start again.
    Over,
    /// Nobody knows whether it runs.
    Unknown,
}

impl Step {
    /// The verb.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Step::Stop => "stop",
            Step::Remove { .. } => "rm",
        }
    }

    pub(crate) fn words(self, uuid: &PodUuid) -> Vec<String> {
        let force = (self == Step::Stop).then_some("--force");
        let words = [Some(self.name()), force, Some(uuid.as_str())];
        words.into_iter().flatten().map(str::to_string).collect()
    }

    /// `removed`: the pod does not outlive its end. One that cannot be stopped may never have run, and then `rkt rm`
    /// takes it away; it refuses one that runs.
    pub(crate) fn next(self, done: bool, removed: bool) -> Next {
        match self {
            Step::Stop if done && !removed => Next::Over,
            Step::Stop => Next::Step(Step::Remove { stopped: done }),
            Step::Remove { stopped } if stopped || done => Next::Over,
            Step::Remove { .. } => Next::Unknown,
        }
    }
}

/// What a killed rkt has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// It had not come so far as to make a pod.
    Nothing,
    Pod(PodUuid),
    Unknown,
}

/// Where the UUID of this pod is saved if its own words name no file.
pub(crate) fn file_of(name: &str) -> String {
    format!("{DIRECTORY}/{name}.uuid")
}

/// Removes what an earlier start has saved: a file that is there after this is of this start.
pub(crate) fn forget(file: &str) -> Result<(), Fault> {
    if let Some((above, _)) = file.rsplit_once('/') {
        directory(above)?;
    }
    match std::fs::remove_file(file) {
        Err(err) if err.kind() != ErrorKind::NotFound => Err(Fault::io("remove", file, err)),
        _ => Ok(()),
    }
}

/// Reads what was saved.
pub(crate) fn left(file: &str) -> Left {
    // It may be a pipe or a terminal, whose words this process would wait for.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = match rustix::fs::open(file, flags, Mode::empty()) {
        Ok(opened) => File::from(opened),
        Err(rustix::io::Errno::NOENT) => return Left::Nothing,
        Err(_) => return Left::Unknown,
    };
    let mut text = String::new();
    if !opened.metadata().is_ok_and(|found| found.is_file())
        || opened.take(MAX_TEXT).read_to_string(&mut text).is_err()
    {
        return Left::Unknown;
    }
    match text.trim() {
        // The file comes before the words in it, and both before anything runs.
        "" => Left::Nothing,
        text => PodUuid::new(text).map_or(Left::Unknown, Left::Pod),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::path::PathBuf;

    const UUID: &str = "7ea0ae2c-7a83-4a2e-8bd6-3f1a1f6c5a10";

    /// A directory of one test.
    struct Place(PathBuf);

    impl Place {
        fn new(test: &str) -> Place {
            let path = format!("rkt-test-cleaner-{test}-{}", std::process::id());
            Place(std::env::temp_dir().join(path))
        }
        fn file(&self) -> String {
            format!("{}/web.uuid", self.0.display())
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn a_pod_is_stopped_and_removed_before_it_starts_again() {
        let (stopped, not) = (
            Step::Remove { stopped: true },
            Step::Remove { stopped: false },
        );
        assert_eq!(Step::Stop.next(true, true), Next::Step(stopped));
        for removed in [false, true] {
            assert_eq!(stopped.next(true, removed), Next::Over);
            // What it leaves costs memory, and stands in nobody's way.
            assert_eq!(stopped.next(false, removed), Next::Over);
            // A pod that never ran cannot be stopped.
            assert_eq!(Step::Stop.next(false, removed), Next::Step(not));
            assert_eq!(not.next(true, removed), Next::Over);
            assert_eq!(not.next(false, removed), Next::Unknown);
        }
    }

    #[test]
    fn a_pod_that_outlives_its_end_is_only_stopped() {
        assert_eq!(Step::Stop.next(true, false), Next::Over);
    }

    #[test]
    fn what_is_stopped_has_its_whole_name() {
        let uuid = PodUuid::new(UUID).unwrap();
        assert_eq!(Step::Stop.words(&uuid), ["stop", "--force", UUID]);
        assert_eq!(Step::Remove { stopped: true }.words(&uuid), ["rm", UUID]);
    }

    #[test]
    fn a_start_takes_nothing_from_the_one_before() {
        let place = Place::new("start");
        let file = place.file();
        forget(&file).unwrap();
        std::fs::write(&file, UUID).unwrap();
        assert_eq!(left(&file), Left::Pod(PodUuid::new(UUID).unwrap()));
        forget(&file).unwrap();
        assert_eq!(left(&file), Left::Nothing);
        std::fs::write(&file, "").unwrap();
        assert_eq!(left(&file), Left::Nothing, "rkt was killed as it wrote");
    }

    #[test]
    fn what_is_no_whole_uuid_stops_nobody() {
        let place = Place::new("text");
        let file = place.file();
        forget(&file).unwrap();
        for text in [
            "7",
            &UUID[..35],
            "-all",
            "\u{fffd}",
            &format!("{UUID}\n{UUID}"),
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(left(&file), Left::Unknown, "{text}");
        }
        assert_eq!(left("/dev/zero"), Left::Unknown);
        assert_eq!(left(&place.0.to_string_lossy()), Left::Unknown);
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let place = Place::new("pipe");
        let file = place.file();
        forget(&file).unwrap();
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert_eq!(left(&file), Left::Unknown);
    }
}
