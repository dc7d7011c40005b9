//! The id maps of an ordinary user's namespace, and who writes them.
//!
//! A user may map no id but its own. `newuidmap` and `newgidmap`, which are
//! setuid root, map the ranges of `/etc/subuid` and `/etc/subgid` beside it. They
//! have to run outside of the namespace: so a child is forked before, waits, and
//! executes them when its parent is inside. Nothing of it stays.

use super::account::{self, Account};
use super::ranges;
use model::{Fault, fault::Result};
use rustix::fs::{Access, Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use std::ffi::CString;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use sys::clone::{Forked, Namespaces, fork_into};
use sys::process::{self, Ended, Program};
use sys::userns::IdMap;

/// Where the two programs may lie; PATH is the user's own word.
const PLACES: [&str; 6] = [
    "/usr/bin",
    "/bin",
    "/usr/sbin",
    "/sbin",
    "/usr/local/bin",
    "/run/wrappers/bin",
];
/// More than this of what they complain nobody reads.
const MOST_WORDS: u64 = 4096;

/// Whose maps there will be.
#[derive(Debug)]
pub(crate) enum Plan {
    Ranges(Ranges),
    /// Nothing but the user's own id, because of this.
    OneId {
        why: String,
    },
}

#[derive(Debug)]
pub(crate) struct Ranges {
    newuidmap: CString,
    newgidmap: CString,
    pub uids: IdMap,
    pub gids: IdMap,
}

/// What this user can get.
pub(crate) fn plan(uid: u32, gid: u32) -> Plan {
    let name = Account::of(uid)
        .map(|account| account.name)
        // An account that only a name service knows. The programs ask it.
        .or_else(|| std::env::var("USER").ok())
        .filter(|name| !name.is_empty());
    let shown = name.clone().unwrap_or_else(|| uid.to_string());
    let names: Vec<String> = name.into_iter().chain([uid.to_string()]).collect();
    let one = |why: String| Plan::OneId { why };
    let map = |file: &str, own: u32| {
        let map = ranges::map(&account::read(file), &names, own);
        match map.0.len() {
            0 | 1 => Err(format!("{file} has no range for {shown}")),
            _ => Ok(map),
        }
    };
    let uids = match map("/etc/subuid", uid) {
        Ok(uids) => uids,
        Err(why) => return one(why),
    };
    let gids = match map("/etc/subgid", gid) {
        Ok(gids) => gids,
        Err(why) => return one(why),
    };
    match (find("newuidmap"), find("newgidmap")) {
        (Some(newuidmap), Some(newgidmap)) => Plan::Ranges(Ranges {
            newuidmap,
            newgidmap,
            uids,
            gids,
        }),
        _ => one("newuidmap and newgidmap (package uidmap) are not installed".into()),
    }
}

/// Where newuidmap is; without either of the two there is neither.
pub(crate) fn program() -> Option<String> {
    let (found, _) = (find("newuidmap")?, find("newgidmap")?);
    Some(found.to_string_lossy().into_owned())
}

fn find(program: &str) -> Option<CString> {
    let path = PLACES.iter().map(|dir| format!("{dir}/{program}"));
    let mut usable = path.filter(|path| {
        std::fs::metadata(path).is_ok_and(|meta| meta.is_file())
            && rustix::fs::access(path, Access::EXEC_OK).is_ok()
    });
    CString::new(usable.next()?).ok()
}

/// The child that waits outside.
#[derive(Debug)]
pub(super) struct Mapper {
    pid: i32,
    go: OwnedFd,
    words: OwnedFd,
}

impl Mapper {
    pub fn start(ranges: &Ranges) -> Result<Mapper> {
        let failed = |err: std::io::Error| Fault::io("cannot fork", "for newuidmap", err);
        let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(|err| failed(err.into()));
        let target = std::process::id();
        let (wait, go) = pipe()?;
        let (words, say) = pipe()?;
        match fork_into(Namespaces::NONE, None).map_err(failed)? {
            Forked::Child => {
                drop((go, words));
                let mut byte = [0];
                // The end of the pipe instead: the parent will not need us.
                if !matches!(rustix::io::read(&wait, &mut byte), Ok(1)) {
                    process::exit_now(0)
                }
                match ranges.write(target) {
                    Ok(()) => process::exit_now(0),
                    Err(text) => {
                        let _ = std::fs::File::from(say).write_all(text.as_bytes());
                        process::exit_now(1)
                    }
                }
            }
            Forked::Parent(pid) => Ok(Mapper { pid, go, words }),
        }
    }

    /// Lets it write the maps of the namespace that this process is in now.
    pub fn finish(self) -> Result<()> {
        let Mapper { pid, go, words } = self;
        let failed = |err: std::io::Error| Fault::io("cannot write", "the id maps", err);
        let went = rustix::io::write(&go, b"g");
        drop(go);
        let text = said(words);
        let ended = process::wait(pid).map_err(failed)?;
        match ended {
            Ended::Exited(0) => went.map(drop).map_err(|err| failed(err.into())),
            _ if text.is_empty() => Err(Fault::refused("the id maps could not be written")),
            _ => Err(Fault::refused(text).hint(hint())),
        }
    }

    /// There is no namespace to map.
    pub fn dismiss(self) {
        drop(self.go);
        let _ = process::wait(self.pid);
    }
}

impl Ranges {
    /// In the child. Kernels before 4.15 take few lines only; a map that was
    /// refused can be written again.
    fn write(&self, target: u32) -> std::result::Result<(), String> {
        map_with(&self.newuidmap, target, &self.uids)?;
        map_with(&self.newgidmap, target, &self.gids)
    }
}

fn map_with(program: &CString, target: u32, map: &IdMap) -> std::result::Result<(), String> {
    let done = run(program, target, map);
    if done.is_err() && map.0.len() > ranges::FEW_LINES {
        let few = IdMap(map.0[..ranges::FEW_LINES].to_vec());
        return run(program, target, &few);
    }
    done
}

fn run(program: &CString, target: u32, map: &IdMap) -> std::result::Result<(), String> {
    let shown = program.to_string_lossy().into_owned();
    let failed = |err: std::io::Error| {
        let text = model::fault::errno_text(&err);
        format!("cannot execute \"{shown}\": {text}")
    };
    let mut argv = vec![program.clone()];
    let numbers = map
        .0
        .iter()
        .flat_map(|range| [range.inside, range.outside, range.count]);
    for number in [target].into_iter().chain(numbers) {
        argv.push(CString::new(number.to_string()).expect("digits hold no NUL"));
    }
    let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|err| failed(err.into()))?;
    let (words, say) = pipe_with(PipeFlags::CLOEXEC).map_err(|err| failed(err.into()))?;
    let pid = process::spawn(&Program {
        path: program,
        argv: &argv,
        env: &[],
        streams: [null.as_fd(), say.as_fd(), say.as_fd()],
    })
    .map_err(failed)?;
    drop(say);
    let text = said(words);
    match process::wait(pid).map_err(failed)? {
        Ended::Exited(0) => Ok(()),
        ended => Err(match text.is_empty() {
            true => format!("\"{shown}\" failed: {ended:?}"),
            false => format!("\"{shown}\" failed: {text}"),
        }),
    }
}

/// What comes out of a pipe, as one line that a terminal can be shown.
fn said(words: OwnedFd) -> String {
    let mut file = std::fs::File::from(words);
    let mut bytes = Vec::new();
    let _ = (&mut file).take(MOST_WORDS).read_to_end(&mut bytes);
    // Whoever says more is not left hanging on a full pipe.
    let _ = std::io::copy(&mut file, &mut std::io::sink());
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines.join("; ").replace(char::is_control, " ")
}

fn hint() -> &'static str {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bound = status
        .lines()
        .any(|line| line.strip_prefix("NoNewPrivs:").map(str::trim) == Some("1"));
    match bound {
        true => "no_new_privs is set on this process, so that setuid programs have no privileges",
        false => "rkt doctor shows which ranges of /etc/subuid and /etc/subgid were asked for",
    }
}
