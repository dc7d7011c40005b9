//! Random bytes from the kernel, for UUIDs and temporary names.

use model::{Fault, PodUuid, fault::Result};
use rustix::rand::{GetRandomFlags, getrandom};

pub fn fill(bytes: &mut [u8]) -> Result<()> {
    let mut at = 0;
    while at < bytes.len() {
        match getrandom(&mut bytes[at..], GetRandomFlags::empty()) {
            Ok(got) => at += got,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(Fault::io("read", "random bytes", e)),
        }
    }
    Ok(())
}

pub fn uuid() -> Result<PodUuid> {
    let mut bytes = [0; 16];
    fill(&mut bytes)?;
    Ok(PodUuid::random(bytes))
}
