//! What came from which URL, and whether the server has to be asked again:
//! `urls/<digits>`, one line of JSON. Who may not write there notes it in
//! `packed/urls`; of two notes the one of the newer import counts. Root is not
//! led by notes of others.

use crate::digest;
use crate::files;
use crate::inbox::Inbox;
use crate::put::Origin;
use crate::record::ImageRecord;
use crate::staging::Staging;
use crate::store::{Store, URLS};
use model::{ImageId, fault::Result};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};

/// What is known of the last fetch from a URL.
#[derive(Clone, Debug)]
pub struct Fetched {
    pub record: ImageRecord,
    pub etag: Option<String>,
    /// Unix seconds.
    pub fresh_until: Option<i64>,
    pub digest: Option<String>,
}

/// The content of a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UrlEntry {
    pub url: String,
    pub id: ImageId,
    pub etag: Option<String>,
    pub fresh_until: Option<i64>,
    pub digest: Option<String>,
}

/// Name of the note on a URL.
pub(crate) fn entry_name(url: &str) -> String {
    digest::hex(url, 64)
}

impl UrlEntry {
    /// `None` if the image did not come from a URL.
    pub(crate) fn of(origin: &Origin, id: &ImageId) -> Option<UrlEntry> {
        Some(UrlEntry {
            url: origin.url.clone()?,
            id: id.clone(),
            etag: origin.etag.clone(),
            fresh_until: origin.fresh_until,
            digest: origin.digest.clone(),
        })
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut json = model::Value::default();
        json["id"] = self.id.as_str().into();
        json["url"] = self.url.as_str().into();
        if let Some(etag) = &self.etag {
            json["etag"] = etag.as_str().into();
        }
        if let Some(until) = self.fresh_until {
            json["freshUntil"] = until.into();
        }
        if let Some(digest) = &self.digest {
            json["digest"] = digest.as_str().into();
        }
        format!("{}\n", model::json::to_compact(&json)).into_bytes()
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<UrlEntry> {
        let json = model::json::parse(bytes).ok()?;
        let text = |key: &str| json[key].as_str().map(str::to_string);
        Some(UrlEntry {
            url: text("url")?,
            id: ImageId::new(json["id"].as_str()?).ok()?,
            etag: text("etag"),
            fresh_until: json["freshUntil"].as_i64(),
            digest: text("digest"),
        })
    }

    /// The note in a directory of them; `None` also if it is damaged.
    fn read(dir: BorrowedFd<'_>, url: &str) -> io::Result<Option<UrlEntry>> {
        match files::read_small(dir, entry_name(url)) {
            Ok(bytes) => Ok(UrlEntry::parse(&bytes).filter(|entry| entry.url == url)),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(err) => Err(err),
        }
    }

    /// Replaces the note, by way of a file in a directory of our own. After a power
    /// cut there is the old note, the new one or none, not an empty file: that would
    /// make us ask the server for what we have.
    pub(crate) fn put(&self, staging: BorrowedFd<'_>, dir: BorrowedFd<'_>) -> io::Result<()> {
        let note = files::create(staging, "url", 0o640)?;
        (&note).write_all(&self.to_bytes())?;
        files::share(staging, "url", dir)?;
        rustix::fs::fdatasync(&note)?;
        let name = entry_name(&self.url);
        Ok(rustix::fs::renameat(staging, "url", dir, name)?)
    }
}

impl Store {
    /// The image that was last imported from exactly this URL.
    pub fn by_url(&self, url: &str) -> Result<Option<ImageRecord>> {
        Ok(self.fetched(url)?.map(|fetched| fetched.record))
    }

    /// What came from exactly this URL the last time, if it is still stored. For
    /// root notes of others do not count: they may say of any image that it is
    /// what a digest or a signature stands for.
    pub fn fetched(&self, url: &str) -> Result<Option<Fetched>> {
        self.fetched_among(url, !self.unpacks)
    }

    /// The same, and everybody's notes count.
    pub fn fetched_by_any(&self, url: &str) -> Result<Option<Fetched>> {
        self.fetched_among(url, true)
    }

    fn fetched_among(&self, url: &str, packed: bool) -> Result<Option<Fetched>> {
        let Some(root) = self.root()? else {
            return Ok(None);
        };
        let mut best: Option<Fetched> = None;
        for entry in self.url_entries(root, url, packed)? {
            let Some(record) = self.any_record(root, &entry.id)? else {
                continue;
            };
            let newer = |best: &Fetched| record.import_time_ns > best.record.import_time_ns;
            if best.as_ref().is_none_or(newer) {
                best = Some(Fetched {
                    record,
                    etag: entry.etag,
                    fresh_until: entry.fresh_until,
                    digest: entry.digest,
                });
            }
        }
        Ok(best)
    }

    /// The server says that what came from the URL is still what it has. That
    /// this cannot be noted costs another question and is no failure.
    pub fn refresh(&self, url: &str, etag: Option<&str>, fresh_until: Option<i64>) -> Result<()> {
        let Some(root) = self.root()? else {
            return Ok(());
        };
        let Some(fetched) = self.fetched(url)? else {
            return Ok(());
        };
        let entry = UrlEntry {
            url: url.to_string(),
            id: fetched.record.id,
            etag: etag.map(str::to_string).or(fetched.etag),
            fresh_until,
            digest: fetched.digest,
        };
        let _unnoted = self.note_url(root, &entry);
        Ok(())
    }

    /// Writes a note where this user's notes go.
    pub(crate) fn note_url(&self, root: BorrowedFd<'_>, entry: &UrlEntry) -> io::Result<()> {
        if self.unpacks {
            let staging = Staging::new(root)?;
            return entry.put(staging.dir(), files::open_dir(root, URLS)?.as_fd());
        }
        let Some(inbox) = Inbox::open(root)? else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let staging = Staging::inside(inbox.tmp()?)?;
        entry.put(staging.dir(), inbox.urls()?.as_fd())
    }

    fn url_entries(&self, root: BorrowedFd<'_>, url: &str, packed: bool) -> Result<Vec<UrlEntry>> {
        let mut entries = Vec::new();
        let mut look = |dir: io::Result<_>| -> io::Result<()> {
            match dir {
                Ok(dir) => entries.extend(UrlEntry::read(AsFd::as_fd(&dir), url)?),
                Err(err) if err.kind() == io::ErrorKind::NotFound => {}
                Err(err) => return Err(err),
            }
            Ok(())
        };
        let ours = look(files::open_dir(root, URLS));
        ours.map_err(|err| self.fault("open", URLS, err))?;
        // What strangers have made of theirs is not to keep us from ours.
        if packed && let Ok(Some(inbox)) = Inbox::open(root) {
            let _ = look(inbox.urls());
        }
        Ok(entries)
    }

    /// Drops the notes that name one of the given images, or that cannot be read.
    pub(crate) fn forget_urls(
        &self,
        root: BorrowedFd<'_>,
        forget: &dyn Fn(&ImageId) -> bool,
    ) -> io::Result<()> {
        match files::open_dir(root, URLS) {
            Ok(dir) => forget_in(dir.as_fd(), forget)?,
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            Err(err) => return Err(err),
        }
        match Inbox::open(root)? {
            Some(inbox) => forget_in(inbox.urls()?.as_fd(), forget),
            None => Ok(()),
        }
    }
}

fn forget_in(dir: BorrowedFd<'_>, forget: &dyn Fn(&ImageId) -> bool) -> io::Result<()> {
    for entry in files::entries(dir)? {
        let gone = match files::read_small(dir, entry.name.as_os_str()) {
            Ok(bytes) => UrlEntry::parse(&bytes).is_none_or(|entry| forget(&entry.id)),
            Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
            Err(_) => true,
        };
        if gone {
            files::remove_tree(dir, &entry.name)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_the_first_form_is_read() {
        let id = ImageId::from_digest(&[7; 64]);
        let old = format!("{{\"id\":\"{}\",\"url\":\"http://x\"}}\n", id.as_str());
        let entry = UrlEntry::parse(old.as_bytes()).expect("an entry");
        assert_eq!((&entry.id, entry.fresh_until), (&id, None));
        assert_eq!(entry.to_bytes(), old.as_bytes());
        let full = UrlEntry {
            etag: Some("\"a\\\"\u{1}".into()),
            fresh_until: Some(-5),
            digest: Some("sha256:0".into()),
            ..entry
        };
        assert_eq!(UrlEntry::parse(&full.to_bytes()), Some(full));
        assert_eq!(UrlEntry::parse(b"{\"url\":\"http://x\"}"), None);
    }
}
