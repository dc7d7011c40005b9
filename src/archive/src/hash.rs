//! Hashing of what streams by: the image ID is the SHA-512 of the uncompressed
//! tar bytes.

use std::io::{self, Read};

use sha2::{Digest, Sha512};

/// Passes bytes through, hashes and counts them.
pub struct HashingReader<R> {
    inner: R,
    sha: Sha512,
    count: u64,
}

impl<R: Read> HashingReader<R> {
    pub fn new(inner: R) -> HashingReader<R> {
        HashingReader {
            inner,
            sha: Sha512::new(),
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

    /// The digest of what was read, and how much that was.
    pub fn finish(self) -> ([u8; 64], u64) {
        (self.sha.finalize().into(), self.count)
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.sha.update(&buf[..n]);
        self.count += n as u64;
        Ok(n)
    }
}
