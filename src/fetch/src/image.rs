//! The layers of one image into the store, from wherever their blobs come.
//!
//! Blobs in, one `Assembly` and the diff IDs out. What the store has is not
//! opened; the rest streams through a few threads, the largest first, each blob
//! from its source through the inflater into the layer's directory. One layer
//! that stands twice in an image is taken once. The first error ends the others
//! at their next read.

use crate::{Notes, Progress};
use model::Digest;
use model::digest::Algorithm;
use model::fault::{Fault, Result};
use model::oci::{self, ImageConfig, Platform};
use sha2::Digest as _;
use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use store::{Assembly, MOST_LAYERS, Store};

/// What servers are known to bear, and what two cores can unpack.
const THREADS: usize = 3;

/// One layer of an image that is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Of the uncompressed tar; not known with schema 1.
    pub(crate) diff_id: Option<Digest>,
    /// Of the blob as it is stored.
    pub(crate) blob: Digest,
    /// Bytes of the blob, where known.
    pub(crate) size: Option<u64>,
}

/// Where blobs come from.
pub(crate) trait Blobs: Sync {
    /// Opens the blob of the layer with this number. The last read fails if it
    /// is not what its digest says.
    fn open(&self, layer: usize) -> Result<Box<dyn Read + Send + '_>>;

    /// Where the blob lies in a stream that can only be read forward, so that
    /// blobs are opened in this order and one after the other.
    fn order(&self, _layer: usize) -> Option<u64> {
        None
    }
}

/// Brings all layers into the store; their diff IDs, lowest first.
pub(crate) fn assemble<'s>(
    store: &'s Store,
    wanted: &[Wanted],
    blobs: &dyn Blobs,
    progress: &dyn Progress,
) -> Result<(Assembly<'s>, Vec<Digest>)> {
    // Before anything is fetched, and before so many files are open.
    if wanted.len() > MOST_LAYERS {
        return Err(Fault::refused(format!(
            "the image has {} layers, more than {MOST_LAYERS}",
            wanted.len()
        )));
    }
    let assembly = store.assemble()?;
    let mut found: Vec<Option<Digest>> = vec![None; wanted.len()];
    let mut jobs: Vec<usize> = Vec::new();
    for (layer, one) in wanted.iter().enumerate() {
        if let Some(first) = wanted[..layer].iter().position(|other| same(other, one)) {
            // Its result is copied at the end.
            found[layer] = found[first].clone();
            continue;
        }
        if let Some(diff_id) = &one.diff_id
            && assembly.claim(diff_id)?
        {
            found[layer] = Some(diff_id.clone());
            continue;
        }
        jobs.push(layer);
    }
    let forward = jobs.iter().any(|&layer| blobs.order(layer).is_some());
    match forward {
        true => jobs.sort_by_key(|&layer| blobs.order(layer)),
        // The longest job must not be the last to start.
        false => jobs.sort_by_key(|&layer| std::cmp::Reverse(wanted[layer].size)),
    }
    let crew = Crew {
        assembly: &assembly,
        wanted,
        blobs,
        progress,
        threads: if forward { 1 } else { THREADS.min(jobs.len()) },
        jobs: Mutex::new(jobs.into()),
        found: Mutex::new(found),
        failed: Mutex::new(None),
        stop: AtomicBool::new(false),
    };
    crew.work()?;
    let found = crew
        .found
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let diff_ids: Option<Vec<Digest>> = wanted
        .iter()
        .map(|one| {
            let first = wanted.iter().position(|other| same(other, one))?;
            found[first].clone()
        })
        .collect();
    let diff_ids = diff_ids.ok_or_else(|| Fault::invalid("a layer was not unpacked"))?;
    Ok((assembly, diff_ids))
}

fn same(a: &Wanted, b: &Wanted) -> bool {
    match (&a.diff_id, &b.diff_id) {
        (Some(a), Some(b)) => a == b,
        _ => a.blob == b.blob,
    }
}

struct Crew<'c> {
    assembly: &'c Assembly<'c>,
    wanted: &'c [Wanted],
    blobs: &'c dyn Blobs,
    progress: &'c dyn Progress,
    threads: usize,
    jobs: Mutex<VecDeque<usize>>,
    found: Mutex<Vec<Option<Digest>>>,
    failed: Mutex<Option<Fault>>,
    stop: AtomicBool,
}

impl Crew<'_> {
    fn work(&self) -> Result<()> {
        std::thread::scope(|scope| {
            // This thread is one of them.
            for _ in 1..self.threads {
                // Without a second thread it only takes longer.
                let _ = std::thread::Builder::new()
                    .name("layer".into())
                    .spawn_scoped(scope, || self.until_done());
            }
            self.until_done();
        });
        match lock(&self.failed).take() {
            Some(fault) => Err(fault),
            None => Ok(()),
        }
    }

    fn until_done(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            let Some(layer) = lock(&self.jobs).pop_front() else {
                return;
            };
            match self.one(layer) {
                Ok(diff_id) => lock(&self.found)[layer] = Some(diff_id),
                Err(fault) => {
                    // The others fail because they are told to stop.
                    if !self.stop.swap(true, Ordering::Relaxed) {
                        *lock(&self.failed) = Some(fault);
                    }
                }
            }
        }
    }

    fn one(&self, layer: usize) -> Result<Digest> {
        let wanted = &self.wanted[layer];
        let name = wanted.blob.as_str();
        let mut bar = self.progress.begin(
            &format!("Downloading {}", &name[..name.len().min(18)]),
            wanted.size,
        );
        let mut source = Watched {
            source: self.blobs.open(layer)?,
            stop: &self.stop,
            bar: bar.as_mut(),
        };
        let diff_id = self
            .assembly
            .unpack(wanted.diff_id.as_ref(), &wanted.blob, &mut source)
            .map_err(|fault| about(fault, "layer ", name))?;
        drop(source);
        bar.finish();
        Ok(diff_id)
    }
}

/// Says which thing a failure is about, unless it does so itself. A failure that
/// the user wanted needs no name.
pub(crate) fn about(fault: Fault, what: &str, name: &str) -> Fault {
    let wanted = fault.errno() == Some(rustix::io::Errno::INTR.raw_os_error());
    match wanted || fault.message.is_some() || fault.cause.contains(name) {
        true => fault,
        false => fault.message(format!("{what}{name}")),
    }
}

/// Counts what goes by, and ends when somebody else has failed.
struct Watched<'w, 'b> {
    source: Box<dyn Read + Send + 'w>,
    stop: &'w AtomicBool,
    bar: &'w mut (dyn crate::Bar + 'b),
}

impl Read for Watched<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other(Fault::refused("another layer failed")));
        }
        let n = self.source.read(buf)?;
        self.bar.advance(n as u64);
        Ok(n)
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A hash of either kind that registries use.
pub(crate) enum Hasher {
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
}

impl Hasher {
    pub(crate) fn new(algorithm: Algorithm) -> Hasher {
        match algorithm {
            Algorithm::Sha256 => Hasher::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => Hasher::Sha512(sha2::Sha512::new()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(sha) => sha.update(bytes),
            Hasher::Sha512(sha) => sha.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Digest {
        let digest = match self {
            Hasher::Sha256(sha) => Digest::from_bytes(Algorithm::Sha256, &sha.finalize()),
            Hasher::Sha512(sha) => Digest::from_bytes(Algorithm::Sha512, &sha.finalize()),
        };
        digest.expect("a hash has the length of its algorithm")
    }

    /// Of bytes in memory.
    pub(crate) fn of(algorithm: Algorithm, bytes: &[u8]) -> Digest {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }
}

/// Checks bytes in memory against what pointed at them.
pub(crate) fn check_bytes(
    what: &str,
    bytes: &[u8],
    digest: &Digest,
    size: Option<u64>,
) -> Result<()> {
    if let Some(size) = size
        && size != bytes.len() as u64
    {
        return Err(Fault::invalid(format!(
            "{what} {digest} has {} bytes, {size} were announced",
            bytes.len()
        )));
    }
    let found = Hasher::of(digest.algorithm(), bytes);
    if found == *digest {
        return Ok(());
    }
    Err(differs(what, &found, digest))
}

pub(crate) fn differs(what: &str, found: &Digest, wanted: &Digest) -> Fault {
    Fault::invalid(format!("{what} has digest {found}, {wanted} was wanted"))
        .hint("it was damaged or tampered with; nothing of it is kept")
}

/// A blob from a disk, checked as it is read: the last read fails if size or
/// digest are wrong.
pub(crate) struct Checked<R> {
    inner: R,
    digest: Digest,
    left: Option<u64>,
    hasher: Option<Hasher>,
    wrong: Option<Fault>,
}

impl<R: Read> Checked<R> {
    pub(crate) fn new(inner: R, digest: &Digest, size: Option<u64>) -> Checked<R> {
        Checked {
            inner,
            digest: digest.clone(),
            left: size,
            hasher: Some(Hasher::new(digest.algorithm())),
            wrong: None,
        }
    }

    fn fault(&self, what: &str) -> io::Error {
        io::Error::other(Fault::invalid(format!("blob {} is {what}", self.digest)))
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        if n > 0 {
            if let Some(left) = self.left {
                let left = left.checked_sub(n as u64);
                self.left = Some(left.ok_or_else(|| self.fault("longer than its size"))?);
            }
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&buf[..n]);
            }
            return Ok(n);
        }
        if buf.is_empty() {
            return Ok(0);
        }
        if self.left.is_some_and(|left| left > 0) {
            return Err(self.fault("shorter than its size"));
        }
        if let Some(hasher) = self.hasher.take() {
            let found = hasher.finish();
            if found != self.digest {
                self.wrong = Some(differs("blob", &found, &self.digest));
            }
        }
        match &self.wrong {
            Some(fault) => Err(io::Error::other(fault.clone())),
            None => Ok(0),
        }
    }
}

/// What the user should know of an image before it runs: what is said of another
/// platform, and, for `--debug`, what an appc manifest cannot say.
pub(crate) fn remarks(config: &ImageConfig, notes: &dyn Notes) {
    let host = Platform::host(std::env::consts::ARCH);
    if let Err(fault) = config.check_platform(&host) {
        notes.note(&format!("warning: {fault}"));
    }
    for loss in oci::losses(config) {
        notes.debug(&loss);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_read_tells_whether_a_blob_is_what_it_should_be() {
        let digest = Hasher::of(Algorithm::Sha256, b"hello");
        let read = |bytes: &[u8], size| {
            let mut out = Vec::new();
            Checked::new(bytes, &digest, size)
                .read_to_end(&mut out)
                .map_err(|err| err.to_string())
        };
        assert_eq!(read(b"hello", Some(5)), Ok(5));
        assert_eq!(read(b"hello", None), Ok(5));
        for (bytes, size, want) in [
            (&b"hellO"[..], Some(5), "has digest"),
            (b"hello!", Some(5), "longer than its size"),
            (b"hello!", None, "has digest"),
            (b"hell", Some(5), "shorter than its size"),
            (b"", None, "has digest"),
        ] {
            let err = read(bytes, size).expect_err("a refusal");
            assert!(err.contains(want), "{err}");
        }
    }

    #[test]
    fn a_refused_blob_stays_refused() {
        let digest = Hasher::of(Algorithm::Sha512, b"x");
        let mut reader = Checked::new(&b"y"[..], &digest, None);
        let mut buf = [0; 8];
        assert_eq!(reader.read(&mut buf).ok(), Some(1));
        assert!(reader.read(&mut buf).is_err());
        assert!(reader.read(&mut buf).is_err());
    }

    struct Unopened;

    impl Blobs for Unopened {
        fn open(&self, _: usize) -> Result<Box<dyn Read + Send + '_>> {
            Err(Fault::invalid("it was fetched"))
        }
    }

    #[test]
    fn nothing_is_fetched_of_an_image_with_too_many_layers() {
        let name = format!("rkt-test-layers-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir(&dir).expect("a directory of our own");
        let store = Store::open(&dir).expect("a store");
        let layer = |number: usize| Wanted {
            diff_id: None,
            blob: Hasher::of(Algorithm::Sha256, &number.to_le_bytes()),
            size: None,
        };
        let fault = |count: usize| {
            let wanted: Vec<Wanted> = (0..count).map(layer).collect();
            let made = assemble(&store, &wanted, &Unopened, &crate::Silent);
            made.err().map(|fault| fault.cause).unwrap_or_default()
        };
        assert_eq!(fault(MOST_LAYERS), "it was fetched");
        assert!(fault(MOST_LAYERS + 1).contains("more than"));
        let _ = std::fs::remove_dir_all(&dir);
    }
}
