//! One pod: an open directory, where it lies, and its lock.
//!
//! `Pod::create` makes an embryo, the `to_*` verbs move it on, each checked
//! against [`State::after`]. A move is one `rename(2)` of the whole directory;
//! the open fd, and with it the lock, goes along. Whoever loses a race for a
//! move gets the kernel's "no such file" for the old name, never a second pod.

use model::{Fault, PodUuid, fault::Result};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use rustix::fs::{self, CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::time::Duration;

mod facts;

use crate::state::{Move, Place, State};
use crate::{files, layout, list, lock};

/// An open pod. Dropping it closes the directory; a lock that it took is then
/// gone, unless a child inherited the fd.
#[derive(Debug)]
pub struct Pod {
    uuid: PodUuid,
    state: State,
    data_dir: PathBuf,
    dir: OwnedFd,
    /// This open file holds the lock exclusively.
    locked: bool,
}

impl Pod {
    /// Makes a new, empty pod, and the directories above it where they lack.
    pub fn create(data_dir: &Path, uuid: &PodUuid) -> Result<Pod> {
        let path = layout::pod(data_dir, Place::Embryo, uuid);
        let make = || fs::mkdirat(CWD, &path, Mode::from_raw_mode(layout::DIR_MODE));
        let made = match make() {
            Err(Errno::NOENT) => {
                make_places(data_dir)?;
                make()
            }
            other => other,
        };
        made.map_err(|err| lock::unwritable(data_dir, "mkdir", &path, err))?;
        let dir = files::open_dir_path(&path);
        let dir = dir.map_err(|err| Fault::io("open", path.display(), err))?;
        let data_dir = data_dir.to_path_buf();
        Ok(Pod {
            uuid: uuid.clone(),
            state: State::Embryo,
            data_dir,
            dir,
            locked: false,
        })
    }

    /// Opens a pod wherever it lies.
    pub fn open(data_dir: &Path, uuid: &PodUuid) -> Result<Pod> {
        Pod::open_any(data_dir, uuid)?.ok_or_else(|| no_match(uuid.as_str()))
    }

    /// Opens the one pod whose UUID starts so, in any case of letters. Embryos
    /// and pods in `garbage` are not looked at.
    pub fn find(data_dir: &Path, prefix: &str) -> Result<Pod> {
        let uuid = Pod::resolve(data_dir, prefix)?;
        Pod::open_any(data_dir, &uuid)?.ok_or_else(|| no_match(uuid.as_str()))
    }

    /// The one UUID that starts so, as [`Pod::find`].
    pub fn resolve(data_dir: &Path, prefix: &str) -> Result<PodUuid> {
        let prefix = prefix.to_lowercase();
        if prefix.is_empty() {
            return Err(Fault::usage("UUID cannot be empty"));
        }
        if let Some(uuid) = PodUuid::new(&prefix)
            .ok()
            .filter(|uuid| uuid.as_str() == prefix)
        {
            // Whole: four look-ups instead of reading four directories.
            return match Place::LISTED
                .iter()
                .any(|place| exists(data_dir, *place, &uuid))
            {
                true => Ok(uuid),
                false => Err(no_match(&prefix)),
            };
        }
        let mut matches: Vec<PodUuid> = list::names(data_dir, &Place::LISTED)?
            .into_iter()
            .filter(|uuid| uuid.as_str().starts_with(&prefix))
            .collect();
        match (matches.pop(), matches.len()) {
            (None, _) => Err(no_match(&prefix)),
            (Some(uuid), 0) => Ok(uuid),
            (Some(_), more) => Err(Fault::conflict(format!(
                "ambiguous uuid, {} matches",
                more + 1
            ))),
        }
    }

    /// Takes over a running pod's directory fd with its lock, as stage1 finds
    /// it after exec (`RKT_LOCK_FD`). The fd gets CLOEXEC again.
    pub fn adopt(lock: OwnedFd, data_dir: &Path, uuid: &PodUuid) -> Result<Pod> {
        let io = |err| Fault::io("adopt", format!("pod {:?}", uuid.as_str()), err);
        lock::set_cloexec(&lock, true).map_err(io)?;
        let ours = fs::fstat(&lock).map_err(io)?;
        let path = layout::pod(data_dir, Place::Run, uuid);
        let named = fs::statat(CWD, &path, fs::AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|err| Fault::io("stat", path.display(), err))?;
        if (ours.st_dev, ours.st_ino) != (named.st_dev, named.st_ino) {
            let text = format!("the lock fd is not the directory {:?}", path.display());
            return Err(Fault::invalid(text));
        }
        // No change if it is held already, which it is.
        if !lock::try_exclusive(&lock).map_err(io)? {
            return Err(Fault::conflict(format!(
                "pod {:?} is already running",
                uuid.as_str()
            )));
        }
        let data_dir = data_dir.to_path_buf();
        Ok(Pod {
            uuid: uuid.clone(),
            state: State::Running,
            data_dir,
            dir: lock,
            locked: true,
        })
    }

    fn open_any(data_dir: &Path, uuid: &PodUuid) -> Result<Option<Pod>> {
        // A second round only after a pod moved under our hands; each move
        // leads forward, so there cannot be many.
        for _ in 0..Place::ALL.len() {
            let mut moved = false;
            for place in Place::ALL {
                let path = layout::pod(data_dir, place, uuid);
                let dir = match fs::openat(
                    CWD,
                    &path,
                    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
                    Mode::empty(),
                ) {
                    Ok(dir) => dir,
                    Err(Errno::NOENT) => continue,
                    Err(err) => return Err(Fault::io("open", path.display(), err)),
                };
                let held = place.lock_tells()
                    && lock::is_held(&dir).map_err(|err| Fault::io("lock", path.display(), err))?;
                let state = State::derive(place, held);
                if state == State::AbortedPrepare && !lies_at(&dir, &path) {
                    // It was prepared between open and the test.
                    moved = true;
                    break;
                }
                let data_dir = data_dir.to_path_buf();
                return Ok(Some(Pod {
                    uuid: uuid.clone(),
                    state,
                    data_dir,
                    dir,
                    locked: false,
                }));
            }
            if !moved {
                return Ok(None);
            }
        }
        Err(Fault::conflict(format!(
            "pod {:?} keeps moving",
            uuid.as_str()
        )))
    }

    pub fn uuid(&self) -> &PodUuid {
        &self.uuid
    }

    /// As of open, the last move or [`Pod::refresh`].
    pub fn state(&self) -> State {
        self.state
    }

    /// The pod's directory; stays right when the pod moves.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Where the directory lies as of [`Pod::state`].
    pub fn path(&self) -> PathBuf {
        layout::pod(&self.data_dir, self.state.place(), &self.uuid)
    }

    /// Finds out the state anew. `None`: the pod was deleted.
    pub fn refresh(&mut self) -> Result<Option<State>> {
        for place in Place::ALL {
            let path = layout::pod(&self.data_dir, place, &self.uuid);
            if !lies_at(&self.dir, &path) {
                continue;
            }
            // Our own lock counts: who holds it is the one preparing, running
            // or deleting the pod.
            let held = self.locked
                || place.lock_tells()
                    && lock::is_held(&self.dir)
                        .map_err(|err| Fault::io("lock", path.display(), err))?;
            self.state = State::derive(place, held);
            return Ok(Some(self.state));
        }
        Ok(None)
    }

    /// Embryo → preparing. The lock is taken before the rename, so nobody ever
    /// sees this pod in `prepare` with its lock free.
    pub fn to_prepare(&mut self) -> Result<()> {
        self.check(Move::Prepare)?;
        self.lock_exclusive()?;
        self.rename(Move::Prepare)
        // No fsync: an embryo or a half-prepared pod is garbage after a crash.
    }

    /// Preparing → prepared. Everything written so far reaches the disk before
    /// the new name does: a prepared pod is a promise that outlives a power
    /// cut. The lock is released.
    pub fn to_prepared(&mut self) -> Result<()> {
        self.check(Move::Prepared)?;
        fs::syncfs(&self.dir).map_err(|err| self.io("syncfs", err))?;
        self.rename(Move::Prepared)?;
        self.settle()?;
        self.unlock()
    }

    /// Preparing or prepared → running; the lock is held afterwards.
    ///
    /// The only move that does not wait for the disk: an fsync costs
    /// milliseconds, the whole start takes less. What a power cut can undo is
    /// harmless for a foreground start: the pod died with the machine, and if
    /// the old name comes back it lies in `prepare` with a free lock, an
    /// aborted prepare for gc. A prepared pod would come back as prepared and
    /// could be run a second time; who minds calls [`Pod::settle`] once the
    /// apps are up.
    pub fn to_run(&mut self) -> Result<()> {
        let uuid = self.uuid.clone();
        let not_prepared = || Fault::conflict(format!("pod {:?} is not prepared", uuid.as_str()));
        if self.state.after(Move::Run).is_none() {
            return Err(not_prepared());
        }
        let from = self.path();
        // Waiting for the lock could take another `run-prepared`'s whole life.
        // Whoever has it for longer than a prepare needs to end starts the pod.
        for _ in 0..200 {
            if self.locked || self.try_lock()? {
                break;
            }
            if !lies_at(&self.dir, &from) {
                return Err(not_prepared());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        if self.locked && !lies_at(&self.dir, &from) {
            // It ran and ended meanwhile; our lock would make it look running.
            self.unlock()?;
        }
        if !self.locked {
            return Err(not_prepared());
        }
        self.rename(Move::Run)
    }

    /// Exited → exited garbage. Needs no lock: an exited pod never runs again.
    pub fn to_exited_garbage(&mut self) -> Result<()> {
        self.check(Move::ExitedGarbage)?;
        self.rename(Move::ExitedGarbage)?;
        self.settle()
    }

    /// Embryo, aborted prepare or prepared → garbage. Against `run-prepared`
    /// the rename decides: one of the two finds the old name gone. An embryo
    /// may be somebody's who is just about to lock it: only an old one may be
    /// moved, which the caller judges by [`crate::Times::changed_ns`].
    pub fn to_garbage(&mut self) -> Result<()> {
        self.check(Move::Garbage)?;
        if self.state == State::Embryo && lock::is_held(&self.dir).unwrap_or(true) {
            let text = format!("pod {:?} is currently being prepared", self.uuid.as_str());
            return Err(Fault::conflict(text));
        }
        self.rename(Move::Garbage)?;
        self.settle()
    }

    /// Makes the last move durable: fsync of the directory that the pod now
    /// lies in.
    pub fn settle(&self) -> Result<()> {
        let parent = fs::openat(
            &self.dir,
            "..",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        );
        parent
            .and_then(fs::fsync)
            .map_err(|err| self.io("fsync", err))
    }

    fn check(&self, step: Move) -> Result<()> {
        match self.state.after(step) {
            Some(_) => Ok(()),
            None => Err(Fault::conflict(format!(
                "pod {:?} is {} and cannot be moved to {:?}",
                self.uuid.as_str(),
                self.state,
                step.target().name()
            ))),
        }
    }

    fn rename(&mut self, step: Move) -> Result<()> {
        let from = self.path();
        let to = layout::pod(&self.data_dir, step.target(), &self.uuid);
        match fs::renameat(CWD, &from, CWD, &to) {
            // The places are made together, but rkt's set-up script or a
            // careful admin may have removed an empty one.
            Err(Errno::NOENT) if lies_at(&self.dir, &from) => {
                make_places(&self.data_dir)?;
                fs::renameat(CWD, &from, CWD, &to)
            }
            other => other,
        }
        .map_err(|err| {
            Fault::io(
                "rename",
                format!("{} {}", from.display(), to.display()),
                err,
            )
        })?;
        // `check` has seen that the step is legal.
        self.state = State::derive(step.target(), self.locked);
        Ok(())
    }

    /// Waits for the lock. Sets the state that follows from holding it.
    pub fn lock_exclusive(&mut self) -> Result<()> {
        lock::exclusive(&self.dir).map_err(|err| self.io("lock", err))?;
        self.take_lock();
        Ok(())
    }

    /// Takes the lock if nobody holds it.
    pub fn try_lock(&mut self) -> Result<bool> {
        let taken = lock::try_exclusive(&self.dir).map_err(|err| self.io("lock", err))?;
        if taken {
            self.take_lock();
        }
        Ok(taken)
    }

    fn take_lock(&mut self) {
        self.locked = true;
        self.state = State::derive(self.state.place(), true);
    }

    /// Drops the lock, for every process that inherited this open file.
    pub fn unlock(&mut self) -> Result<()> {
        fs::flock(&self.dir, FlockOperation::Unlock).map_err(|err| self.io("unlock", err))?;
        self.locked = false;
        self.state = State::derive(self.state.place(), false);
        Ok(())
    }

    /// The fd that carries the lock, if this pod holds it.
    pub fn lock_fd(&self) -> Option<BorrowedFd<'_>> {
        self.locked.then(|| self.dir.as_fd())
    }

    /// Lets the lock survive the next exec; the number is what stage1 gets as
    /// `RKT_LOCK_FD`. Only for a process that execs at once: whatever else it
    /// started from now on would hold the pod open.
    pub fn pass_lock(&self) -> Result<RawFd> {
        if !self.locked {
            return Err(Fault::conflict(format!(
                "pod {:?} is not locked",
                self.uuid.as_str()
            )));
        }
        lock::set_cloexec(&self.dir, false).map_err(|err| self.io("fcntl", err))?;
        Ok(self.dir.as_raw_fd())
    }

    /// Undoes [`Pod::pass_lock`], e.g. when the exec failed.
    pub fn keep_lock(&self) -> Result<()> {
        lock::set_cloexec(&self.dir, true).map_err(|err| self.io("fcntl", err))
    }

    pub(crate) fn io(&self, verb: &str, err: Errno) -> Fault {
        Fault::io(verb, format!("pod {:?}", self.uuid.as_str()), err)
    }
}

impl AsFd for Pod {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

fn no_match(wanted: &str) -> Fault {
    Fault::not_found(format!("no matches found for {wanted:?}"))
}

fn exists(data_dir: &Path, place: Place, uuid: &PodUuid) -> bool {
    let path = layout::pod(data_dir, place, uuid);
    fs::statat(CWD, &path, fs::AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

/// Whether `path` names this very directory.
fn lies_at(dir: &OwnedFd, path: &Path) -> bool {
    let named = fs::statat(CWD, path, fs::AtFlags::SYMLINK_NOFOLLOW);
    match (fs::fstat(dir), named) {
        (Ok(ours), Ok(named)) => (ours.st_dev, ours.st_ino) == (named.st_dev, named.st_ino),
        _ => false,
    }
}

fn make_places(data_dir: &Path) -> Result<()> {
    let make = |dir: &Path| lock::make_dir(data_dir, dir);
    make(data_dir)?;
    make(&layout::pods(data_dir))?;
    Place::ALL
        .iter()
        .try_for_each(|place| make(&layout::place(data_dir, *place)))
}

#[cfg(test)]
mod tests;
