//! An application container image: unpacked below one directory, and made again from what was unpacked, byte for byte.

use std::os::fd::AsFd;

use archive::{Format, rebuild, sniff, unpack_aci};
use model::ImageManifest;

use super::mend;
use super::plant::plant;
use super::room::{Room, options, root};

pub fn aci(data: &[u8]) {
    let bytes = mend(data);
    let room = Room::new();
    let recipe = room.file();
    let copy = recipe.try_clone().expect("a descriptor more is allowed");
    let unpacked = unpack_aci(&bytes[..], room.dir().as_fd(), copy, &options());
    room.check();
    let Ok(unpacked) = unpacked else {
        return;
    };
    let mut again = Vec::new();
    match rebuild(&recipe, room.dir().as_fd(), &mut again) {
        Ok(rebuilt) => {
            assert_eq!(
                rebuilt.digest, unpacked.digest,
                "rebuilt with another digest"
            );
            assert_eq!(
                again.len() as u64,
                unpacked.size,
                "rebuilt with another size"
            );
            if matches!(sniff(&bytes), Ok(Format::Tar)) {
                assert!(again == bytes, "rebuilt with other bytes");
            }
        }
        // Without privilege not every file can be read.
        Err(fault) => assert!(!root(), "what was unpacked cannot be made again: {fault}"),
    }
    room.check();
    let said = |what: &str| unpacked.notes.iter().any(|note| note.contains(what));
    let met =
        said("duplicate") && said("left out") && ImageManifest::parse(&unpacked.manifest).is_ok();
    plant(
        met,
        "an image with a manifest, a name twice and something left out",
    );
}
