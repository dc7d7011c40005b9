//! Root over an ordinary user's data directory.
//!
//! What lies there is that user's word: programs of a stage1, pids to signal or to
//! enter, directories of cgroups, configurations of networks, paths. Whoever acts
//! on it with the host's privileges hands them to the user. So root becomes the
//! user, and begins anew: nothing of root's memory, descriptors, environment or
//! keys goes along.

use super::account::Account;
use crate::env::Env;
use model::{Fault, fault::Result};
use rustix::event::{PollFd, PollFlags};
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use sys::clone::{Forked, Namespaces, fork_into};
use sys::process::Ended;
use sys::signal::{self, Signals};
use sys::{creds, process, userns};

/// What the terminal and the language need; the rest is root's.
const KEPT: [&str; 5] = ["TERM", "PATH", "LANG", "LC_ALL", "NO_COLOR"];
const WRITABLE_BY_ALL: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Somebody else can have put something there. A fresh tmpfs is open to all by its
/// mode, but what root makes in it stays root's, and nothing else is there yet.
fn is_open_to_all(dir: &Path, mode: u32) -> bool {
    let foreign = |entry: std::io::Result<std::fs::DirEntry>| {
        entry
            .and_then(|entry| entry.path().symlink_metadata())
            .map_or(true, |meta| meta.uid() != 0)
    };
    mode & WRITABLE_BY_ALL != 0
        && (mode & STICKY == 0
            || std::fs::read_dir(dir).map_or(true, |mut entries| entries.any(foreign)))
}

/// Comes back unless the data directory is an ordinary user's and this is the
/// host's root; then the call is repeated as that user.
pub fn become_owner(env: &Env) -> Result<()> {
    let root = rustix::process::geteuid().is_root() && rustix::process::getuid().is_root();
    if !root || userns::confined() {
        return Ok(());
    }
    // One that is not there yet is made by whoever owns the place.
    let mut found = env.dir.ancestors().filter_map(|dir| {
        let meta = std::fs::symlink_metadata(dir).ok()?;
        Some((dir, meta))
    });
    let Some((place, meta)) = found.next() else {
        return Ok(());
    };
    if meta.uid() == 0 {
        if place == env.dir && meta.is_dir() && is_open_to_all(place, meta.mode()) {
            return Err(Fault::refused(format!(
                "\"{}\" can be written by everybody",
                env.dir.display()
            ))
            .hint("a data directory of root's has to be root's alone"));
        }
        return Ok(());
    }
    let dir = env.dir.display();
    let account = Account::of(meta.uid()).ok_or_else(|| {
        Fault::refused(format!("\"{dir}\" belongs to user {}", meta.uid())).hint(format!(
            "/etc/passwd has no such user; as that one: sudo -u '#{}' rkt …",
            meta.uid()
        ))
    })?;
    let name = &account.name;
    env.debug_note(
        "stage0",
        &format!("\"{dir}\" belongs to {name}: going on as that user"),
    );
    Err(Fault::io(
        "cannot go on",
        format!("as user {name}"),
        restart(meta.uid(), &account),
    ))
}

/// What runs as the user may be traced by the user's other programs, and these must
/// not type into root's terminal (TIOCSTI takes it as the controlling one). So the
/// rest is done in a session of its own, and this process stays to pass signals on.
fn leave_terminal() -> std::io::Result<()> {
    let streams = [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ];
    if !streams.into_iter().any(sys::tty::is_terminal) {
        return Ok(());
    }
    let passed = [signal::INT, signal::TERM, signal::HUP, signal::QUIT];
    let signals = Signals::take(&[passed.as_slice(), &[signal::CHLD]].concat())?;
    match fork_into(Namespaces::NONE, None)? {
        Forked::Child => {
            signal::reset();
            rustix::process::setsid()?;
            Ok(())
        }
        Forked::Parent(pid) => loop {
            let mut fds = [PollFd::new(&signals, PollFlags::IN)];
            // EINTR: go round.
            let _ = rustix::event::poll(&mut fds, None);
            while let Some(received) = signals.next() {
                if received.signal != signal::CHLD {
                    let _ = signal::send(pid, received.signal);
                }
            }
            match process::reap_any() {
                Some((_, Ended::Exited(status))) => process::exit_now(status),
                Some((_, Ended::Signalled(number))) => process::exit_now(128 + number),
                None => {}
            }
        },
    }
}

fn restart(uid: u32, account: &Account) -> std::io::Error {
    let argv: std::result::Result<Vec<_>, _> = std::env::args_os()
        .map(|word| CString::new(word.as_bytes()))
        .collect();
    let kept = KEPT
        .iter()
        .filter_map(|name| Some((*name, std::env::var_os(name)?)));
    let home = ("HOME", account.home.clone().into());
    let runtime = ("XDG_RUNTIME_DIR", format!("/run/user/{uid}").into());
    let variables: std::result::Result<Vec<_>, _> = kept
        .chain([home, runtime])
        .map(|(name, value)| {
            let text = [name.as_bytes(), b"=", OsStr::as_bytes(&value)].concat();
            CString::new(text)
        })
        .collect();
    let (Ok(argv), Ok(variables)) = (argv, variables) else {
        return std::io::ErrorKind::InvalidInput.into();
    };
    process::close_all_except(&[]);
    if let Err(err) = leave_terminal() {
        return err;
    }
    if let Err(err) = creds::set_groups(account.gid, &[]).and_then(|()| creds::set_user(uid)) {
        return err;
    }
    process::fresh_keyring();
    process::exec(&c"/proc/self/exe".to_owned(), &argv, &variables)
}
