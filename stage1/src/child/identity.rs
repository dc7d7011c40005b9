//! As whom an app runs: its user and group texts resolved in its own root.
//!
//! Runs inside the app's root, where `/etc/passwd` is hostile text: only a
//! regular file is read, at most a megabyte of it, and only plain decimal
//! numbers count (CVE-2016-3697, CVE-2024-40635, CVE-2026-30892).

use model::Fault;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use sys::fs::InRoot;

use crate::plan::AppPlan;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

const LIMIT: usize = 1 << 20;

impl Identity {
    /// In a user namespace: are there these ids at all?
    pub fn exists(&self) -> Result<(), Fault> {
        let lacks = |what: &str, id: u32| {
            Fault::refused(format!("{what} {id} does not exist in the pod's user namespace"))
                .hint("an ordinary user's pod has the ids that /etc/subuid and /etc/subgid give that user, by way of newuidmap (package uidmap); or run the app with --user=0 --group=0")
        };
        if !sys::userns::own_uids().holds(self.uid) {
            return Err(lacks("user", self.uid));
        }
        let gids = sys::userns::own_gids();
        let mut all = std::iter::once(&self.gid).chain(&self.groups);
        match all.find(|gid| !gids.holds(**gid)) {
            Some(gid) => Err(lacks("group", *gid)),
            None => Ok(()),
        }
    }
}

/// Resolves the app's user and group. Messages are rkt's.
pub fn resolve(app: &AppPlan) -> Result<Identity, Fault> {
    let not_found = |what: &str, name: &str| {
        Fault::not_found(format!("\"{name}\" {what} not found"))
            .message("cannot initialize immutable environment")
    };
    let uid = match simple(&app.user, |stat| stat.st_uid)? {
        Some(uid) => uid,
        None => look_up("/etc/passwd", &app.user)?.ok_or_else(|| not_found("user", &app.user))?,
    };
    let gid = match simple(&app.group, |stat| stat.st_gid)? {
        Some(gid) => gid,
        None => match look_up("/etc/group", &app.group)? {
            Some(gid) => gid,
            None if app.group_may_equal_user => uid,
            None => return Err(not_found("group", &app.group)),
        },
    };
    Ok(Identity {
        uid,
        gid,
        groups: app.supplementary_gids.clone(),
    })
}

/// `root`, a number, or the owner of a path; `None` for a name.
fn simple(text: &str, owner: fn(&rustix::fs::Stat) -> u32) -> Result<Option<u32>, Fault> {
    if text == "root" {
        return Ok(Some(0));
    }
    if text.starts_with('/') {
        // Past no link of procfs: this process can still open what the app
        // never will.
        let file = InRoot::at("/").and_then(|root| root.open(text, OFlags::PATH, Mode::empty()));
        let stat = file
            .and_then(|file| Ok(rustix::fs::fstat(file)?))
            .map_err(|err| Fault::io("stat", text, err))?;
        return Ok(Some(owner(&stat)));
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        // All digits is a number and never a name, however large.
        return number(text).map(Some).ok_or_else(|| {
            Fault::invalid(format!(
                "\"{text}\": user and group numbers go from 0 to {}",
                u32::MAX - 1
            ))
        });
    }
    // As useradd has them; `-1` and the like are somebody's mistake.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-$".contains(&byte);
    if !text.bytes().all(plain) || text.starts_with('-') {
        return Err(Fault::invalid(format!(
            "{text:?} is no name of a user or group"
        )));
    }
    Ok(None)
}

fn number(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // The highest one means "unchanged" to the kernel.
    plain
        .then(|| text.parse().ok())
        .flatten()
        .filter(|number| *number != u32::MAX)
}

/// The number in the third field of the line that begins with `name`.
fn look_up(path: &str, name: &str) -> Result<Option<u32>, Fault> {
    match read(path) {
        Ok(text) => Ok(parse(&text, name)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(err) => Err(Fault::io("read", path, err)),
    }
}

fn parse(text: &[u8], name: &str) -> Option<u32> {
    text.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        (fields.next()? == name.as_bytes()).then_some(())?;
        number(std::str::from_utf8(fields.nth(1)?).ok()?)
    })
}

fn read(path: &str) -> Result<Vec<u8>, Errno> {
    // Never hang on a fifo that the image put there (CVE-2024-9676).
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let file = InRoot::at("/")
        .and_then(|root| root.open(path, flags, Mode::empty()))
        .map_err(|err| Errno::from_io_error(&err).unwrap_or(Errno::INVAL))?;
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Errno::INVAL);
    }
    let mut text = vec![0; (stat.st_size.max(0) as usize).min(LIMIT)];
    let mut filled = 0;
    while filled < text.len() {
        match rustix::io::read(&file, &mut text[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(Errno::INTR) => {}
            Err(err) => return Err(err),
        }
    }
    text.truncate(filled);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::{number, parse};

    #[test]
    fn numbers_are_plain_decimals_in_range() {
        for (text, expected) in [
            ("0", Some(0)),
            ("01", Some(1)),
            ("4294967294", Some(4_294_967_294)),
            ("4294967295", None),
            ("4294967296", None),
            ("-1", None),
            ("+1", None),
            (" 1", None),
            ("1e3", None),
            ("", None),
        ] {
            assert_eq!(number(text), expected, "{text:?}");
        }
    }

    #[test]
    fn passwd_lines_are_matched_whole() {
        let text = b"root:x:0:0::/:/bin/sh\nredis:x:101:102::/:\nbad:x:-1:0\nlong:x:4294967296:0\nlast:x:7";
        assert_eq!(parse(text, "redis"), Some(101));
        assert_eq!(parse(text, "last"), Some(7));
        for name in ["redi", "bad", "long", "nosuch", ""] {
            assert_eq!(parse(text, name), None, "{name}");
        }
    }
}
