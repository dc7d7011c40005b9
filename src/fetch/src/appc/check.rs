//! The check of an ACI on its way into the store: its bytes feed the check of the
//! signature as they pass, and the verdict falls when the last one went by and
//! the manifest is known, for its name decides whose signature counts.
//!
//! Nothing is published before the verdict: the store asks for it.

use crate::Fetcher;
use crate::interrupt::{self, Watch};
use model::fault::Result;
use model::{AcIdentifier, Fault, ImageId, Labels};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use store::{ImageRecord, Origin};
use trust::Keystore;
use trust::openpgp::{Check, MAX_SIGNATURE};

/// What an image has to be.
pub(crate) struct Demand<'d> {
    /// Its signature; `None` with `--insecure-options=image`, and then nothing
    /// else is demanded either.
    pub check: Option<Check>,
    /// What was asked for by name.
    pub named: Option<(&'d AcIdentifier, &'d Labels)>,
}

impl Demand<'_> {
    pub(crate) const NOTHING: Demand<'static> = Demand {
        check: None,
        named: None,
    };
}

/// Reads an ACI to its end and takes it in if it is what is demanded.
pub(crate) fn take_in(
    fetcher: &Fetcher<'_>,
    source: &mut (dyn Read + Send),
    origin: &Origin,
    demand: Demand<'_>,
) -> Result<ImageId> {
    let Some(check) = demand.check else {
        return Ok(fetcher.store.put_aci(source, origin)?.id);
    };
    let check = Mutex::new(Some(check));
    let mut watched = Watched {
        source,
        check: &check,
    };
    let mut verdict = |record: &ImageRecord| {
        if let Some((name, labels)) = demand.named {
            check_named(record, name, labels)?;
        }
        let check = check.lock().unwrap_or_else(PoisonError::into_inner).take();
        let check = check.expect("one verdict per image");
        verify(fetcher, check, &record.name)
    };
    let record = fetcher
        .store
        .put_aci_if(&mut watched, origin, &mut verdict)?;
    Ok(record.id)
}

/// From now on ^C is an error of the read that it comes to, so that what is half
/// done is removed.
pub(crate) fn watch() -> Result<Watch> {
    interrupt::watch().map_err(|e| Fault::io("catch", "signals", e))
}

/// A local source, which ends when the user does not want to go on.
pub(crate) struct Stoppable<R>(pub R);

impl<R: Read> Read for Stoppable<R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        interrupt::check()?;
        self.0.read(buf)
    }
}

struct Watched<'w> {
    source: &'w mut (dyn Read + Send),
    check: &'w Mutex<Option<Check>>,
}

impl Read for Watched<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let count = self.source.read(buf)?;
        let mut check = self.check.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(check) = check.as_mut() {
            check.update(&buf[..count]);
        }
        Ok(count)
    }
}

pub(crate) fn check_named(
    record: &ImageRecord,
    name: &AcIdentifier,
    labels: &Labels,
) -> Result<()> {
    if record.name != *name {
        return Err(Fault::refused(format!(
            "error when reading the app name: \"{name}\" expected but \"{}\" found",
            record.name
        )));
    }
    for label in labels {
        let wanted = &label.value;
        match record.labels.get(label.name.as_str()) {
            Some(value) if value == wanted => {}
            Some(value) => {
                return Err(Fault::refused(format!(
                    "requested value for label \"{}\": {wanted:?} differs from fetched aci label \
                     value: {value:?}",
                    label.name
                )));
            }
            None => {
                return Err(Fault::refused(format!(
                    "requested label \"{}\" not provided by the image manifest",
                    label.name
                )));
            }
        }
    }
    Ok(())
}

fn verify(fetcher: &Fetcher<'_>, check: Check, name: &AcIdentifier) -> Result<()> {
    let failed = |fault: Fault| {
        advise(fetcher, name);
        fault.message(format!("image \"{name}\" verification failed"))
    };
    let keys = keys(fetcher, name)?;
    let signer = check.finish(&keys, now()).map_err(failed)?;
    let mut text = String::from("signature verified:");
    for id in &signer.user_ids {
        text.push_str("\n  ");
        text.push_str(id);
    }
    fetcher.notes.note(&text);
    Ok(())
}

/// Before the download: whether anybody who may sign the name has signed.
#[cfg(feature = "http")]
pub(crate) fn expect_signer(
    fetcher: &Fetcher<'_>,
    check: &Check,
    name: &AcIdentifier,
) -> Result<()> {
    let keys = keys(fetcher, name)?;
    check.expect_signer(&keys).map_err(|fault| {
        advise(fetcher, name);
        fault.message(format!("image \"{name}\" verification failed"))
    })
}

fn advise(fetcher: &Fetcher<'_>, name: &AcIdentifier) {
    fetcher
        .notes
        .note("if you expected the signing key to change, try running:");
    fetcher
        .notes
        .note(&format!("    rkt trust --prefix \"{name}\""));
}

fn keys(fetcher: &Fetcher<'_>, name: &AcIdentifier) -> Result<trust::Keys> {
    let keys = keystore(fetcher).keys(name)?;
    for note in &keys.notes {
        fetcher.notes.note(note);
    }
    Ok(keys)
}

pub(crate) fn keystore(fetcher: &Fetcher<'_>) -> Keystore {
    let roots = [fetcher.system_config, fetcher.local_config]
        .into_iter()
        .chain(fetcher.user_config);
    Keystore::new(&roots.map(Path::to_path_buf).collect::<Vec<_>>())
}

/// The check by a signature in a file.
pub(crate) fn signature_file(path: &Path) -> Result<Check> {
    let failed = |e| {
        Fault::io("open", path.display(), e)
            .link("error opening signature file")
            .hint(UNVERIFIED)
    };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_SIGNATURE as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    signature(&bytes, &path.display())
}

/// The check by a signature that came from `origin`.
pub(crate) fn signature(bytes: &[u8], origin: &dyn std::fmt::Display) -> Result<Check> {
    if bytes.len() > MAX_SIGNATURE {
        return Err(Fault::invalid(format!(
            "{origin} is larger than {MAX_SIGNATURE} bytes: no signature"
        )));
    }
    Check::new(bytes).map_err(|fault| {
        fault
            .message(format!("signature {origin}"))
            .hint(UNVERIFIED)
    })
}

pub(crate) const UNVERIFIED: &str = "--insecure-options=image takes the image without verifying it";

fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |age| age.as_secs())
}
