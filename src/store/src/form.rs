//! Whose user namespace the files of a store belong to.
//!
//! Layers that root has unpacked and layers that were unpacked in a user
//! namespace are not the same on disk: in one overlay's marks are `trusted.`
//! attributes, in the other `user.` ones; owners are real or those of a range; and
//! with a single id there are none. So a store has one form, which the file
//! `form` says. Without it everything is root's, outside of any user namespace.
//!
//! What needs no files (records, names, removal) does not ask. A store whose last
//! layer has gone takes the form of the next namespace that uses it.

use crate::files;
use crate::staging::Staging;
use crate::store::{LAYERS, Store, TREES};
use archive::{Form, Marks};
use model::{Fault, Value, fault::Result};
use rustix::fs::{FileType, Mode, XattrFlags, makedev, mknodat};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use sys::userns::{IdMap, IdRange, own_gids, own_uids};

const FORM: &str = "form";

/// What stands in the file.
#[derive(Debug, PartialEq, Eq)]
struct Noted {
    marks: Marks,
    uids: IdMap,
    gids: IdMap,
}

impl Noted {
    fn to_bytes(&self) -> Vec<u8> {
        let ranges = |map: &IdMap| -> Value {
            let range = |range: &IdRange| {
                let three = [range.inside, range.outside, range.count];
                three.into_iter().map(Value::from).collect::<Value>()
            };
            map.0.iter().map(range).collect()
        };
        let mut json = Value::default();
        json["format"] = 1.into();
        json["overlay"] = match self.marks {
            Marks::User => "user",
            Marks::Trusted => "trusted",
            Marks::Absent => "none",
        }
        .into();
        json["uids"] = ranges(&self.uids);
        json["gids"] = ranges(&self.gids);
        format!("{}\n", model::json::to_compact(&json)).into_bytes()
    }

    fn parse(bytes: &[u8]) -> Option<Noted> {
        let json = model::json::parse(bytes).ok()?;
        let ranges = |json: &Value| -> Option<IdMap> {
            let number = |json: &Value| json.as_u64()?.try_into().ok();
            let range = |json: &Value| match json.as_array()?.as_slice() {
                [inside, outside, count] => Some(IdRange {
                    inside: number(inside)?,
                    outside: number(outside)?,
                    count: number(count)?,
                }),
                _ => None,
            };
            Some(IdMap(
                json.as_array()?.iter().map(range).collect::<Option<_>>()?,
            ))
        };
        if json["format"].as_u64() != Some(1) {
            return None;
        }
        Some(Noted {
            marks: match json["overlay"].as_str()? {
                "user" => Marks::User,
                "trusted" => Marks::Trusted,
                "none" => Marks::Absent,
                _ => return None,
            },
            uids: ranges(&json["uids"])?,
            gids: ranges(&json["gids"])?,
        })
    }

    /// Why files of this form are of no use to a process with these ids, and what
    /// helps. A map that has grown still shows them as they were.
    fn mismatch(&self, uids: &IdMap, gids: &IdMap) -> Option<(&'static str, &'static str)> {
        let single = |uids: &IdMap, gids: &IdMap| uids.len() <= 1 || gids.len() <= 1;
        let was_single = single(&self.uids, &self.gids);
        let same = covers(uids, &self.uids) && covers(gids, &self.gids);
        match (was_single, single(uids, gids)) {
            (true, false) => Some((
                "were unpacked where there was a single user ID, so their owners are lost",
                REMOVE,
            )),
            (false, true) => Some((
                "belong to ranges of user IDs that are not here now",
                "bring back newuidmap and newgidmap, and the ranges in /etc/subuid and /etc/subgid",
            )),
            _ if !same => Some((
                "belong to other ranges of user IDs than there are now",
                "put the old ranges in /etc/subuid and /etc/subgid back, or remove the directory \
                 as root",
            )),
            _ => None,
        }
    }
}

const REMOVE: &str = "remove the images (rkt image rm, rkt image gc), and fetch them again";

/// Whether every id of `old` is what it was.
fn covers(map: &IdMap, old: &IdMap) -> bool {
    old.0.iter().all(|range| {
        map.0.iter().any(|now| {
            let skipped = range.inside.checked_sub(now.inside);
            skipped.is_some_and(|skipped| {
                now.outside.checked_add(skipped) == Some(range.outside)
                    && u64::from(skipped) + u64::from(range.count) <= u64::from(now.count)
            })
        })
    })
}

impl Store {
    /// The form of the files that are here. Fails where it is not what this
    /// process can make and use.
    pub(crate) fn form(&self) -> Result<Form> {
        match self.form.get() {
            Some(form) => Ok(*form),
            None => self.read_form(false),
        }
    }

    /// The same before something is unpacked: an empty store takes our form.
    pub(crate) fn settle_form(&self) -> Result<Form> {
        match self.form.get() {
            Some(form) => Ok(*form),
            None => self.read_form(true),
        }
    }

    fn read_form(&self, settle: bool) -> Result<Form> {
        let own = Form::own();
        let Some(root) = self.root()?.filter(|_| own.root) else {
            return Ok(own);
        };
        let noted = self.noted_form(root)?;
        let form = match (noted, own.confined) {
            (None, false) => own,
            (Some(_), false) => {
                return Err(self.unusable(
                    "belong to a user namespace",
                    "run rkt as the user whose they are, or with another --dir",
                ));
            }
            (noted, true) => self.confined_form(root, noted, own, settle)?,
        };
        Ok(*self.form.get_or_init(|| form))
    }

    fn confined_form(
        &self,
        root: BorrowedFd<'_>,
        noted: Option<Noted>,
        own: Form,
        settle: bool,
    ) -> Result<Form> {
        let (uids, gids) = (own_uids(), own_gids());
        let wrong = match &noted {
            None => Some(("were unpacked outside of this user namespace", ELSEWHERE)),
            Some(noted) => noted.mismatch(&uids, &gids),
        };
        let marks = match (wrong, noted) {
            (None, Some(noted)) => noted.marks,
            (Some((what, hint)), _) if !self.is_bare(root)? => {
                return Err(self.unusable(what, hint));
            }
            _ if settle => self.note_form(root, uids, gids)?,
            _ => own.marks,
        };
        Ok(Form { marks, ..own })
    }

    fn noted_form(&self, root: BorrowedFd<'_>) -> Result<Option<Noted>> {
        let bytes = match files::read_small(root, FORM) {
            Ok(bytes) => bytes,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(err) => return Err(self.fault("read", FORM, err)),
        };
        let damaged = || {
            let path = self.path().join(FORM);
            Fault::corrupt(format!(
                "\"{}\" is damaged, or of a newer rkt",
                path.display()
            ))
        };
        Noted::parse(&bytes).ok_or_else(damaged).map(Some)
    }

    /// Whether no file of an image is here.
    fn is_bare(&self, root: BorrowedFd<'_>) -> Result<bool> {
        for area in [LAYERS, TREES] {
            let names = files::names(root, area).map_err(|err| self.fault("read", area, err))?;
            if !names.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Finds out what this file system can hold of overlay's marks, and writes
    /// the form down.
    fn note_form(&self, root: BorrowedFd<'_>, uids: IdMap, gids: IdMap) -> Result<Marks> {
        let _alone = self.lock_images(root)?;
        // Somebody else may have been faster.
        if let Some(noted) = self.noted_form(root)?
            && noted.mismatch(&uids, &gids).is_none()
        {
            return Ok(noted.marks);
        }
        let written = || -> io::Result<Marks> {
            let staging = Staging::new(root)?;
            let marks = match takes_marks(staging.dir())? {
                true => Marks::User,
                false => Marks::Absent,
            };
            let noted = Noted { marks, uids, gids };
            files::write_new(staging.dir(), FORM, 0o640, &noted.to_bytes())?;
            rustix::fs::fsync(files::open_file(staging.dir(), FORM)?)?;
            rustix::fs::renameat(staging.dir(), FORM, root, FORM)?;
            Ok(marks)
        };
        written().map_err(|err| self.fault("write", FORM, err))
    }

    fn unusable(&self, what: &str, hint: &str) -> Fault {
        let path = self.path().display();
        Fault::unsupported(format!("the images in \"{path}\" {what}")).hint(hint)
    }
}

const ELSEWHERE: &str = "use another --dir, or run rkt where they were unpacked";

/// Before Linux 5.8 no user namespace can make a whiteout, and a file system may
/// have no `user.` attributes (tmpfs before 6.6).
fn takes_marks(dir: BorrowedFd<'_>) -> io::Result<bool> {
    let whiteout = mknodat(
        dir,
        "whiteout",
        FileType::CharacterDevice,
        Mode::empty(),
        makedev(0, 0),
    );
    if whiteout.is_err() {
        return Ok(false);
    }
    rustix::fs::mkdirat(dir, "opaque", Mode::RWXU)?;
    let opaque = files::open_dir(dir, "opaque")?;
    let name = Marks::User.opaque().unwrap_or_default();
    Ok(rustix::fs::fsetxattr(opaque.as_fd(), name, b"y", XattrFlags::empty()).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(ranges: &[(u32, u32, u32)]) -> IdMap {
        let range = |&(inside, outside, count): &(u32, u32, u32)| IdRange {
            inside,
            outside,
            count,
        };
        IdMap(ranges.iter().map(range).collect())
    }

    #[test]
    fn a_form_is_read_as_it_is_written() {
        let noted = Noted {
            marks: Marks::User,
            uids: map(&[(0, 1000, 1), (1, 100_000, 65536)]),
            gids: map(&[(0, 100, 1)]),
        };
        let bytes = noted.to_bytes();
        assert_eq!(Noted::parse(&bytes), Some(noted));
        for odd in [&b"{}"[..], b"x", b"{\"format\":2}"] {
            assert_eq!(Noted::parse(odd), None);
        }
    }

    #[test]
    fn a_map_may_grow_and_nothing_else() {
        let full = map(&[(0, 1000, 1), (1, 100_000, 65536)]);
        let noted = |map: &IdMap| Noted {
            marks: Marks::User,
            uids: map.clone(),
            gids: map.clone(),
        };
        let fits = |old: &IdMap, now: &IdMap| noted(old).mismatch(now, now).is_none();
        assert!(fits(&full, &full));
        assert!(fits(&full, &map(&[(0, 1000, 1), (1, 100_000, 131_072)])));
        assert!(!fits(&full, &map(&[(0, 1000, 1), (1, 200_000, 65536)])));
        assert!(!fits(&full, &map(&[(0, 1000, 1), (1, 100_000, 1000)])));
        assert!(!fits(&full, &map(&[(0, 1000, 1)])));
        assert!(!fits(&map(&[(0, 1000, 1)]), &full));
        assert!(fits(&map(&[(5, 105, 10)]), &map(&[(0, 100, 20)])));
        assert!(!fits(&map(&[(5, 105, 10)]), &map(&[(0, 100, 14)])));
    }
}
