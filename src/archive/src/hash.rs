//! Hashing of what streams by: an image ID is the SHA-512 of the uncompressed
//! tar bytes, a layer's diff ID its SHA-256 (or whatever the image names).

use std::io::{self, Read};

use model::digest::Algorithm;
use sha2::{Digest, Sha256, Sha512};

/// Passes bytes through, hashes and counts them.
pub struct HashingReader<R> {
    inner: R,
    sha: Sha,
    count: u64,
}

enum Sha {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl<R: Read> HashingReader<R> {
    pub fn new(inner: R, algorithm: Algorithm) -> HashingReader<R> {
        HashingReader {
            inner,
            sha: match algorithm {
                Algorithm::Sha256 => Sha::Sha256(Sha256::new()),
                Algorithm::Sha512 => Sha::Sha512(Sha512::new()),
            },
            count: 0,
        }
    }

    pub fn get_ref(&self) -> &R {
        &self.inner
    }

    /// Bytes read so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The digest of what was read, as long as its algorithm has it, and how
    /// much that was.
    pub fn finish(self) -> (Vec<u8>, u64) {
        let digest = match self.sha {
            Sha::Sha256(sha) => sha.finalize().to_vec(),
            Sha::Sha512(sha) => sha.finalize().to_vec(),
        };
        (digest, self.count)
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        match &mut self.sha {
            Sha::Sha256(sha) => sha.update(&buf[..n]),
            Sha::Sha512(sha) => sha.update(&buf[..n]),
        }
        self.count += n as u64;
        Ok(n)
    }
}
