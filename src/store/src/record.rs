//! The record of one image: what `image list` and the look-up by name need
//! without opening a manifest.
//!
//! On disk it is one line of JSON, `images/<id>/record`; the image exists as
//! long as this file does. The time of last use is the file's mtime, so noting a
//! use is one system call and no write.
//!
//! Images of several layers, and packed ones, have records of format 2, so that
//! an older rkt leaves them alone.

use crate::files;
use crate::key;
use crate::store::{Store, record_path};
use model::digest::Digest;
use model::{AcIdentifier, Fault, ImageId, Label, Labels, Value, fault::Result};
use rustix::fs::{AtFlags, Timespec, Timestamps, UTIME_NOW};
use std::io;
use std::os::fd::BorrowedFd;

/// The versions of the form; a higher one is not ours to touch.
const ALONE: u64 = 1;
const FORMAT: u64 = 2;

/// What is known of a stored image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRecord {
    pub id: ImageId,
    pub name: AcIdentifier,
    pub labels: Labels,
    /// Unix nanoseconds.
    pub import_time_ns: i64,
    /// Unix nanoseconds.
    pub last_used_ns: i64,
    /// Bytes of the uncompressed ACI.
    pub size: u64,
    /// Bytes of the files of the rendered tree; 0 if it is not rendered. rkt's
    /// `image list` shows the sum of both.
    pub tree_size: u64,
    /// Fetched without an explicit version.
    pub latest: bool,
    /// What unpacking has left out or found odd (whiteouts, devices that only
    /// root may make), for the user to know.
    pub notes: Vec<String>,
    /// Its tree is its layer: no dependencies and no path whitelist.
    pub(crate) plain: bool,
    /// The diff IDs of an image of several layers, lowest first; else empty.
    pub(crate) layers: Vec<Digest>,
    pub(crate) top: Top,
    /// It waits in `packed/` for root to unpack it.
    pub(crate) packed: bool,
}

/// What an overlay of an image's layers needs beside them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Top {
    #[default]
    Nothing,
    /// One more layer on top.
    Fixups,
    /// Overlay does not do: a tree of hard links takes the place of the layers.
    Flat,
}

impl Top {
    fn word(self) -> &'static str {
        match self {
            Top::Nothing => "nothing",
            Top::Fixups => "fixups",
            Top::Flat => "flat",
        }
    }

    fn parse(word: &str) -> Option<Top> {
        let all = [Top::Nothing, Top::Fixups, Top::Flat];
        all.into_iter().find(|top| top.word() == word)
    }
}

impl ImageRecord {
    fn to_json(&self) -> Value {
        let labels = self
            .labels
            .iter()
            .map(|label| Value::from(vec![label.name.as_str(), label.value.as_str()]))
            .collect::<Vec<_>>();
        let mut json = Value::default();
        let alone = self.layers.is_empty() && !self.packed;
        json["format"] = (if alone { ALONE } else { FORMAT }).into();
        json["id"] = self.id.as_str().into();
        json["name"] = self.name.as_str().into();
        json["labels"] = labels.into();
        json["importTime"] = self.import_time_ns.into();
        json["latest"] = self.latest.into();
        json["size"] = self.size.into();
        json["treeSize"] = self.tree_size.into();
        json["plain"] = self.plain.into();
        if !self.layers.is_empty() {
            json["layers"] = key::digests_json(&self.layers);
            json["top"] = self.top.word().into();
        }
        if self.packed {
            json["packed"] = true.into();
        }
        if !self.notes.is_empty() {
            json["notes"] = self.notes.clone().into();
        }
        json
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        format!("{}\n", model::json::to_compact(&self.to_json())).into_bytes()
    }

    pub(crate) fn parse(id: &ImageId, bytes: &[u8], last_used_ns: i64) -> Result<ImageRecord> {
        let json = model::json::parse(bytes)?;
        match json["format"].as_u64() {
            Some(ALONE | FORMAT) => {}
            Some(newer) => {
                return Err(Fault::unsupported(format!(
                    "image record of format {newer}, this rkt knows {FORMAT}"
                )));
            }
            None => return Err(bad("format")),
        }
        if json["id"].as_str() != Some(id.as_str()) {
            return Err(bad("id"));
        }
        let mut labels = Vec::new();
        for pair in json["labels"].as_array().ok_or_else(|| bad("labels"))? {
            match (pair[0].as_str(), pair[1].as_str()) {
                (Some(name), Some(value)) => labels.push(Label {
                    name: AcIdentifier::new(name)?,
                    value: value.to_string(),
                }),
                _ => return Err(bad("labels")),
            }
        }
        let notes = json["notes"].as_array().map_or(&[][..], Vec::as_slice);
        let layers = match &json["layers"] {
            Value::Null => Vec::new(),
            listed => key::parse_digests(listed).ok_or_else(|| bad("layers"))?,
        };
        let top = match &json["top"] {
            Value::Null => Top::default(),
            word => word
                .as_str()
                .and_then(Top::parse)
                .ok_or_else(|| bad("top"))?,
        };
        let number = |key: &str| json[key].as_u64().ok_or_else(|| bad(key));
        let flag = |key: &str| json[key].as_bool().ok_or_else(|| bad(key));
        Ok(ImageRecord {
            id: id.clone(),
            name: AcIdentifier::new(json["name"].as_str().ok_or_else(|| bad("name"))?)?,
            labels: Labels::new(labels)?,
            import_time_ns: json["importTime"]
                .as_i64()
                .ok_or_else(|| bad("importTime"))?,
            last_used_ns,
            size: number("size")?,
            tree_size: number("treeSize")?,
            latest: flag("latest")?,
            notes: notes
                .iter()
                .filter_map(Value::as_str)
                .map(String::from)
                .collect(),
            plain: flag("plain")?,
            layers,
            top,
            packed: json["packed"].as_bool().unwrap_or(false),
        })
    }
}

fn bad(field: &str) -> Fault {
    Fault::corrupt(format!("image record lacks a valid \"{field}\""))
}

impl Store {
    /// The record of an image, `None` if it is not stored.
    pub fn get(&self, id: &ImageId) -> Result<Option<ImageRecord>> {
        match self.root()? {
            Some(root) => self.any_record(root, id),
            None => Ok(None),
        }
    }

    /// Of an unpacked image, or else of a packed one.
    pub(crate) fn any_record(
        &self,
        root: BorrowedFd<'_>,
        id: &ImageId,
    ) -> Result<Option<ImageRecord>> {
        match self.read_record(root, id)? {
            None => self.packed_record(root, id),
            unpacked => Ok(unpacked),
        }
    }

    /// Of an unpacked image.
    pub(crate) fn read_record(
        &self,
        root: BorrowedFd<'_>,
        id: &ImageId,
    ) -> Result<Option<ImageRecord>> {
        let path = record_path(id);
        let read = files::open_file(root, &path).and_then(|file| {
            let stat = rustix::fs::fstat(&file)?;
            Ok((files::read_bounded(&file)?, nanoseconds(&stat)))
        });
        match read {
            Ok((bytes, last_used)) => ImageRecord::parse(id, &bytes, last_used)
                .map(Some)
                .map_err(|fault| fault.link(format!("read {}", self.path().join(path).display()))),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(err) => Err(self.fault("open", &path, err)),
        }
    }

    /// Notes that an image was used just now. On a read-only disk, or for a user
    /// who may only look, nothing is noted.
    pub(crate) fn touch(&self, root: BorrowedFd<'_>, id: &ImageId) {
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        };
        let times = Timestamps {
            last_access: now,
            last_modification: now,
        };
        let _ = rustix::fs::utimensat(root, record_path(id), &times, AtFlags::SYMLINK_NOFOLLOW);
    }

    /// Notes the size of an image's rendered tree without counting as a use. The
    /// size is only shown, so a failure to note it is none of rendering.
    pub(crate) fn note_tree_size(&self, root: BorrowedFd<'_>, id: &ImageId, bytes: u64) {
        let Ok(_guard) = self.lock_images(root) else {
            return;
        };
        let Ok(Some(mut record)) = self.read_record(root, id) else {
            return;
        };
        record.tree_size = bytes;
        let _ = crate::staging::Staging::new(root).and_then(|staging| {
            files::write_new(staging.dir(), "record", 0o640, &record.to_bytes())?;
            files::share(staging.dir(), "record", root)?;
            set_last_used(staging.dir(), "record", record.last_used_ns)?;
            // Or a power cut could leave an empty record, and no image.
            rustix::fs::fsync(files::open_file(staging.dir(), "record")?)?;
            Ok(rustix::fs::renameat(
                staging.dir(),
                "record",
                root,
                record_path(id),
            )?)
        });
    }
}

pub(crate) fn nanoseconds(stat: &rustix::fs::Stat) -> i64 {
    stat.st_mtime
        .saturating_mul(1_000_000_000)
        .saturating_add(stat.st_mtime_nsec as i64)
}

pub(crate) fn set_last_used(at: BorrowedFd<'_>, path: &str, unix_ns: i64) -> io::Result<()> {
    let time = Timespec {
        tv_sec: unix_ns.div_euclid(1_000_000_000),
        tv_nsec: unix_ns.rem_euclid(1_000_000_000),
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    Ok(rustix::fs::utimensat(
        at,
        path,
        &times,
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}
