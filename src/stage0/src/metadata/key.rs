//! Signatures in the name of a pod: HMAC-SHA512 over its UUID and the content.
//!
//! The key is made at start and never leaves this process, so that a signature
//! is good for as long as the service runs.

use hmac::{Hmac, Mac};
use model::PodUuid;
use model::fault::Result;
use sha2::Sha512;

pub(super) struct Key([u8; 64]);

impl Key {
    pub fn random() -> Result<Key> {
        let mut bytes = [0; 64];
        crate::random::fill(&mut bytes)?;
        Ok(Key(bytes))
    }

    pub fn sign(&self, uuid: &PodUuid, content: &[u8]) -> Vec<u8> {
        self.mac(uuid, content).finalize().into_bytes().to_vec()
    }

    /// Takes the same time whatever is wrong with the signature.
    pub fn verify(&self, uuid: &PodUuid, content: &[u8], signature: &[u8]) -> bool {
        self.mac(uuid, content).verify_slice(signature).is_ok()
    }

    fn mac(&self, uuid: &PodUuid, content: &[u8]) -> Hmac<Sha512> {
        let mut mac = Hmac::<Sha512>::new_from_slice(&self.0).expect("HMAC takes keys of any size");
        mac.update(&bytes(uuid));
        mac.update(content);
        mac
    }
}

/// The sixteen bytes that a UUID spells.
fn bytes(uuid: &PodUuid) -> Vec<u8> {
    let digits = uuid
        .as_str()
        .bytes()
        .filter_map(|b| char::from(b).to_digit(16));
    let digits: Vec<u8> = digits.map(|digit| digit as u8).collect();
    digits.chunks(2).map(|two| two[0] << 4 | two[1]).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_pod_and_the_content_are_signed_with_one_key() {
        let one = PodUuid::new("00112233-4455-6677-8899-aabbccddeeff").unwrap();
        let two = PodUuid::new("00112233-4455-6677-8899-aabbccddeefe").unwrap();
        let key = Key([7; 64]);
        assert_eq!(
            bytes(&one),
            [
                0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd,
                0xee, 0xff
            ]
        );
        let signature = key.sign(&one, b"content");
        let mut whole = Hmac::<Sha512>::new_from_slice(&[7; 64]).unwrap();
        whole.update(b"\0\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xffcontent");
        assert_eq!(signature, whole.finalize().into_bytes().to_vec());
        assert!(key.verify(&one, b"content", &signature));
        assert!(!key.verify(&two, b"content", &signature));
        assert!(!key.verify(&one, b"contenT", &signature));
        assert!(!key.verify(&one, b"content", &signature[..63]));
        assert!(!key.verify(&one, b"content", b""));
        assert!(!Key([8; 64]).verify(&one, b"content", &signature));
    }
}
