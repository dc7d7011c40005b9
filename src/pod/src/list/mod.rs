//! Listing pods, fast: each state directory is read once; a pod costs one
//! open, one lock test, its summary, its networks and one stat.
//!
//! Directories that hold thousands of pods are common where nobody collects
//! garbage, and `rkt list` is what scripts poll.

use model::{AcName, Fault, PodUuid, fault::Result};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{self, AtFlags, FileType, RawDir};
use rustix::io::Errno;
use std::mem::MaybeUninit;
use std::path::Path;

use crate::state::{Place, State};
use crate::summary::{AppSummary, Summary};
use crate::{NetInfo, Pod, files, layout, lock, manifest, netinfo, times};

/// A pod as listings show it.
#[derive(Clone, Debug)]
pub struct Entry {
    pub uuid: PodUuid,
    pub state: State,
    pub created_ns: Option<i64>,
    pub started_ns: Option<i64>,
    /// When gc or rm marked it.
    pub marked_ns: Option<i64>,
    pub mutable: bool,
    pub apps: Vec<AppSummary>,
    pub networks: Vec<NetInfo>,
    /// What could not be read; the rest is still right.
    pub faults: Vec<Fault>,
}

#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Sorted by UUID.
    pub pods: Vec<Entry>,
    /// One line, without newline, for each thing that is no pod or vanished.
    pub skipped: Vec<String>,
}

impl Entry {
    /// Opens the pod for what a listing does not hold: manifest, pid.
    pub fn open(&self, data_dir: &Path) -> Result<Pod> {
        Pod::open(data_dir, &self.uuid)
    }

    /// An app's exit status, read now.
    pub fn exit_status(&self, data_dir: &Path, app: &AcName) -> Result<Option<i32>> {
        self.open(data_dir)?.exit_status(app)
    }
}

/// Reads the pods of some places. A missing data directory holds no pods.
pub fn list(data_dir: &Path, places: &[Place]) -> Result<Listing> {
    let mut listing = Listing::default();
    let opened = Places::open(data_dir, places)?;
    let found = opened.read(&mut listing.skipped)?;
    listing.pods.reserve(found.len());
    for (uuid, place) in found {
        match opened.entry(&uuid, place) {
            Ok(Some(entry)) => listing.pods.push(entry),
            Ok(None) => {}
            Err(err) => listing.skipped.push(skipping(uuid.as_str(), err)),
        }
    }
    Ok(listing)
}

/// The UUIDs of the pods in some places, sorted.
pub fn names(data_dir: &Path, places: &[Place]) -> Result<Vec<PodUuid>> {
    let opened = Places::open(data_dir, places)?;
    let found = opened.read(&mut Vec::new())?;
    Ok(found.into_iter().map(|(uuid, _)| uuid).collect())
}

fn skipping(name: &str, cause: impl std::fmt::Display) -> String {
    format!("skipping {name:?}: {cause}")
}

/// The state directories, each open once. All are opened, also those not asked
/// for: a pod may move while we look.
struct Places {
    dirs: [Option<OwnedFd>; Place::ALL.len()],
    wanted: Vec<Place>,
    data_dir: std::path::PathBuf,
}

impl Places {
    fn open(data_dir: &Path, wanted: &[Place]) -> Result<Places> {
        let mut dirs = [const { None }; Place::ALL.len()];
        for place in Place::ALL {
            let path = layout::place(data_dir, place);
            match files::open_dir_path(&path) {
                Ok(dir) => dirs[place as usize] = Some(dir),
                Err(Errno::NOENT) => {}
                Err(err) => return Err(Fault::io("open", path.display(), err)),
            }
        }
        Ok(Places {
            dirs,
            wanted: wanted.to_vec(),
            data_dir: data_dir.to_path_buf(),
        })
    }

    /// Names in the wanted places, sorted, each once.
    fn read(&self, skipped: &mut Vec<String>) -> Result<Vec<(PodUuid, Place)>> {
        let mut found = Vec::new();
        let mut buf = vec![MaybeUninit::uninit(); 32 << 10];
        for place in &self.wanted {
            let Some(dir) = &self.dirs[*place as usize] else {
                continue;
            };
            self.read_place(*place, dir, &mut buf, &mut found, skipped)?;
        }
        found.sort();
        found.dedup_by(|a, b| a.0 == b.0);
        Ok(found)
    }

    fn read_place(
        &self,
        place: Place,
        dir: &OwnedFd,
        buf: &mut [MaybeUninit<u8>],
        found: &mut Vec<(PodUuid, Place)>,
        skipped: &mut Vec<String>,
    ) -> Result<()> {
        let mut entries = RawDir::new(dir, buf);
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(|err| {
                Fault::io("read", layout::place(&self.data_dir, place).display(), err)
            })?;
            let name = entry.file_name().to_string_lossy();
            if name == "." || name == ".." {
                continue;
            }
            let kind = match entry.file_type() {
                // Some file systems do not say.
                FileType::Unknown => match files::stat(dir, &name) {
                    Ok(Some(stat)) => FileType::from_raw_mode(stat.st_mode),
                    _ => FileType::Unknown,
                },
                kind => kind,
            };
            if kind != FileType::Directory {
                skipped.push(format!("unrecognized entry: {name:?}, ignoring"));
                continue;
            }
            match PodUuid::new(&name) {
                Ok(uuid) if uuid.as_str() == name => found.push((uuid, place)),
                Ok(_) => skipped.push(skipping(&name, "not in lower case")),
                Err(fault) => skipped.push(skipping(&name, fault)),
            }
        }
        Ok(())
    }

    /// Reads one pod. `None`: it moved to a place that was not asked for.
    fn entry(&self, uuid: &PodUuid, place: Place) -> Result<Option<Entry>> {
        let vanished = |err| Fault::io("open", uuid.as_str(), err);
        let mut at = place;
        for _ in 0..Place::ALL.len() {
            let dir = match self.open_pod(uuid, at) {
                Err(Errno::NOENT) => match self.locate(uuid) {
                    Some(now) if self.wanted.contains(&now) => {
                        at = now;
                        continue;
                    }
                    Some(_) => return Ok(None),
                    None => return Err(vanished(Errno::NOENT)),
                },
                other => other.map_err(vanished)?,
            };
            let held = at.lock_tells() && lock::is_held_briefly(&dir).map_err(vanished)?;
            let state = State::derive(at, held);
            // Free because prepare died, or because it ended just now?
            if state == State::AbortedPrepare && self.locate(uuid) != Some(at) {
                continue;
            }
            return Ok(Some(read_entry(uuid, state, &dir)));
        }
        Err(Fault::conflict("it keeps moving"))
    }

    fn open_pod(&self, uuid: &PodUuid, at: Place) -> rustix::io::Result<OwnedFd> {
        let dir = self.dirs[at as usize].as_ref().ok_or(Errno::NOENT)?;
        files::open_dir(dir, uuid.as_str())
    }

    fn locate(&self, uuid: &PodUuid) -> Option<Place> {
        Place::ALL.into_iter().find(|place| {
            self.dirs[*place as usize].as_ref().is_some_and(|dir| {
                fs::statat(dir, uuid.as_str(), AtFlags::SYMLINK_NOFOLLOW).is_ok()
            })
        })
    }
}

fn read_entry(uuid: &PodUuid, state: State, dir: &OwnedFd) -> Entry {
    let mut entry = Entry {
        uuid: uuid.clone(),
        state,
        created_ns: None,
        started_ns: None,
        marked_ns: None,
        mutable: false,
        apps: Vec::new(),
        networks: Vec::new(),
        faults: Vec::new(),
    };
    if state.is_created() {
        match summary(uuid, state, dir) {
            Ok(Some(summary)) => {
                entry.created_ns = Some(summary.created_ns);
                entry.mutable = summary.mutable;
                entry.apps = summary.apps;
            }
            Ok(None) => {}
            Err(fault) => entry.faults.push(fault),
        }
        if entry.created_ns.is_none() {
            entry.created_ns = times::created(dir).ok().flatten();
        }
    }
    let times = times::started(dir, state).and_then(|started| {
        entry.started_ns = started;
        if state.is_marked() {
            entry.marked_ns = Some(times::changed(dir)?);
        }
        Ok(())
    });
    if let Err(err) = times {
        entry
            .faults
            .push(Fault::io("stat", format!("pod {:?}", uuid.as_str()), err));
    }
    if state.has_networks() {
        match netinfo::read(dir) {
            Ok(networks) => entry.networks = networks,
            Err(fault) => entry.faults.push(fault),
        }
    }
    entry
}

/// The written summary, or one made from the manifests.
fn summary(uuid: &PodUuid, state: State, dir: &OwnedFd) -> Result<Option<Summary>> {
    let mut buf = [0; 2048];
    let written = match files::read_into(dir, layout::SUMMARY, &mut buf) {
        Ok(bytes) if bytes.len() < 2048 => Summary::parse(bytes),
        Ok(_) => files::read(dir, layout::SUMMARY, 1 << 20)
            .ok()
            .and_then(|bytes| Summary::parse(&bytes)),
        Err(_) => None,
    };
    if written.is_some() {
        return Ok(written);
    }
    let created = times::created(dir.as_fd()).ok().flatten().unwrap_or(0);
    match manifest::summarize(dir, created) {
        Ok(summary) => Ok(Some(summary)),
        // Half gone is what a pod being deleted looks like.
        Err(_) if !state.has_manifest() => Ok(None),
        Err(mut fault) => {
            fault.cause = format!(
                "Unable to read pod {} manifest:\n  {}",
                uuid.as_str(),
                fault.cause
            );
            Err(fault)
        }
    }
}

#[cfg(test)]
mod tests;
