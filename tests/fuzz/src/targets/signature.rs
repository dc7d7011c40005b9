//! Signature files and key files: OpenPGP, armored or not, and cosign's keys, payloads and bundles.
//!
//! No input is ever a good signature over the fixed text, since nobody but the maker of the corpus has the key. For
//! cosign this target has a key: what is behind the check of a signature is reached with the input signed.

use std::sync::LazyLock;

use model::digest::Algorithm;
use model::{Digest, base64};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING as ECDSA, EcdsaKeyPair, KeyPair};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use trust::cosign::{self, Candidate, Image};
use trust::openpgp::{Check, PublicKey};

use super::plant::plant;

/// Of a key that exists for this alone.
const SIGNER: &[u8] = include_bytes!("../../corpus/signature/key");
/// Early in 2026, in seconds.
const NOW: u64 = 1_770_000_000;
const MANIFEST: &[u8] = b"{}";
const REPOSITORY: &str = "example.com/some/image";

pub fn signature(data: &[u8]) {
    openpgp(data);
    cosign(data);
}

fn openpgp(data: &[u8]) {
    if let Ok(keys) = PublicKey::parse(data) {
        for key in &keys {
            assert_eq!(key.fingerprint().len(), 40, "an odd fingerprint");
            let _ = (key.subkeys(), key.refusal(NOW), key.refusal(0));
            for text in key.user_ids() {
                assert!(
                    !text.chars().any(char::is_control),
                    "{text:?} is not fit for a terminal"
                );
            }
            let again =
                PublicKey::parse(key.armored()).expect("what the keystore keeps can be read");
            assert_eq!(again.len(), 1, "one key is kept as several");
            assert_eq!(
                again[0].fingerprint(),
                key.fingerprint(),
                "another key is kept"
            );
            assert_eq!(again[0].subkeys(), key.subkeys(), "other subkeys are kept");
        }
        plant(keys.len() >= 3, "three keys in one file");
    }
    let Ok(mut check) = Check::new(data) else {
        return;
    };
    static KEYS: LazyLock<trust::Keys> = LazyLock::new(|| trust::Keys {
        keys: PublicKey::parse(SIGNER).expect("the corpus holds a key"),
        notes: Vec::new(),
    });
    let _ = check.expect_signer(&KEYS);
    check.update(b"what nobody signed\n");
    let verdict = check.finish(&KEYS, NOW);
    assert!(verdict.is_err(), "a signature that nobody made is good");
}

static PAIR: LazyLock<(EcdsaKeyPair, cosign::Keys)> = LazyLock::new(|| {
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA, &random).expect("keys can be made");
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA, document.as_ref(), &random)
        .expect("the key was made just now");
    // SubjectPublicKeyInfo of P-256 (RFC 5480), up to the point.
    let mut der = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\0".to_vec();
    der.extend_from_slice(pair.public_key().as_ref());
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        base64::encode(&der)
    );
    let key = cosign::PublicKey::parse_pem(pem.as_bytes()).expect("this is a key in PEM");
    let keys = cosign::Keys {
        keys: vec![key],
        required: true,
        notes: Vec::new(),
    };
    (pair, keys)
});

fn sign(message: &[u8]) -> String {
    let signed = PAIR
        .0
        .sign(&SystemRandom::new(), message)
        .expect("a key can sign");
    base64::encode(signed.as_ref())
}

fn cosign(data: &[u8]) {
    if let Ok(key) = cosign::PublicKey::parse_pem(data) {
        let again = cosign::PublicKey::parse_pem(key.pem().as_bytes())
            .expect("what the keystore keeps can be read");
        assert_eq!(
            again.fingerprint(),
            key.fingerprint(),
            "another key is kept"
        );
    }
    if data.first() != Some(&b'{') {
        return;
    }
    let digest = Digest::from_bytes(Algorithm::Sha256, &Sha256::digest(MANIFEST))
        .expect("32 bytes are a digest");
    let image = Image {
        digest: &digest,
        manifest: MANIFEST,
        repository: REPOSITORY,
    };
    let good = |candidate: Candidate| cosign::verify(&PAIR.1, image, &[candidate]).is_ok();
    assert!(
        !good(Candidate::Bundle(data.to_vec())),
        "a bundle that nobody signed is good"
    );
    let simple = Candidate::Simple {
        payload: data.to_vec(),
        signature: sign(data),
    };
    let text = String::from_utf8_lossy(data);
    assert!(
        !good(simple) || text.contains("docker-manifest-digest"),
        "a payload without a digest is good"
    );
    if let Some(bundle) = resigned(data) {
        let _ = good(Candidate::Bundle(bundle));
    }
}

/// A bundle with signatures by the key.
fn resigned(data: &[u8]) -> Option<Vec<u8>> {
    let mut bundle: Value = serde_json::from_slice(data).ok()?;
    if let Some(envelope) = bundle.get_mut("dsseEnvelope") {
        let payload = base64::decode(envelope.get("payload")?.as_str()?).ok()?;
        let kind = envelope.get("payloadType")?.as_str()?;
        let mut message = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
        message.extend_from_slice(&payload);
        *envelope.get_mut("signatures")?.get_mut(0)?.get_mut("sig")? = Value::from(sign(&message));
    }
    if let Some(message) = bundle.get_mut("messageSignature") {
        *message.get_mut("signature")? = Value::from(sign(MANIFEST));
    }
    serde_json::to_vec(&bundle).ok()
}
