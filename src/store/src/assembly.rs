//! An image of several layers comes into the store: each layer is unpacked once,
//! by whichever thread has its bytes; the image is published when all are there.

use crate::put::Origin;
use crate::record::ImageRecord;
use crate::store::Store;
use model::digest::Digest;
use model::{Fault, ImageManifest, fault::Result};
use std::io::Read;

/// An image in the making. Layers that are in the store already and that it
/// claimed cannot go while it lives; what it has unpacked goes with it, unless it
/// is published. Threads may share it.
pub struct Assembly<'s> {
    store: &'s Store,
}

impl Store {
    pub fn assemble(&self) -> Result<Assembly<'_>> {
        Ok(Assembly { store: self })
    }
}

impl Assembly<'_> {
    /// Whether the layer is here and need not be fetched.
    pub fn claim(&self, diff_id: &Digest) -> Result<bool> {
        let _ = (self.store, diff_id);
        Err(Fault::unsupported("layers"))
    }

    /// Unpacks a layer from its blob, compressed or not, which is read to its
    /// end; the source itself checks that it is `blob`. Fails if the content is
    /// not `diff_id`. Gives the diff ID.
    pub fn unpack(
        &self,
        diff_id: Option<&Digest>,
        blob: &Digest,
        source: &mut (dyn Read + Send),
    ) -> Result<Digest> {
        let _ = (diff_id, blob, source);
        Err(Fault::unsupported("layers"))
    }

    /// Names the image of these layers, lowest first, all claimed or unpacked.
    /// Its ID is the hash of its canonical archive.
    pub fn publish(
        self,
        manifest: &ImageManifest,
        layers: &[Digest],
        origin: &Origin,
    ) -> Result<ImageRecord> {
        let _ = (manifest, layers, origin);
        Err(Fault::unsupported("layers"))
    }
}

/// What is known of the last fetch from a URL.
#[derive(Clone, Debug)]
pub struct Fetched {
    pub record: ImageRecord,
    pub etag: Option<String>,
    /// Unix seconds.
    pub fresh_until: Option<i64>,
    pub digest: Option<String>,
}

impl Store {
    /// What came from exactly this URL the last time, if it is still stored.
    pub fn fetched(&self, url: &str) -> Result<Option<Fetched>> {
        Ok(self.by_url(url)?.map(|record| Fetched {
            record,
            etag: None,
            fresh_until: None,
            digest: None,
        }))
    }

    /// The server says that what came from the URL is still what it has.
    pub fn refresh(&self, url: &str, etag: Option<&str>, fresh_until: Option<i64>) -> Result<()> {
        let _ = (url, etag, fresh_until);
        Ok(())
    }
}
