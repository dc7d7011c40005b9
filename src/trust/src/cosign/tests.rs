//! Signatures made here by the rules of cosign, and every way to get them wrong.

use super::*;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

const REPOSITORY: &str = "docker.io/library/redis";
const MANIFEST: &[u8] = br#"{"schemaVersion":2}"#;

/// As `openssl ec -pubout` writes it.
const PEM: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEZklVfCItyGADtsQDAZzyQadbvfwl
Bj1AW3tXd4t14rKO8+YetRwaa9Q30VAUwXQvqfphrpoThmHvVgZCqnlcfQ==
-----END PUBLIC KEY-----
";
const ED25519: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAjw8/qkkcLd39ICZpkVau86/7ia99uyZeF0YGBdBEVA0=
-----END PUBLIC KEY-----
";
const P384: &str = "-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEvzDSSR4NXKYtCmeoxYl31X41QXqc7a7y
k/qZfoArK2iRQZBF9DaaGIVYSKzvzx60jNqCjqm+PAXvxujmgbnD0xYEx4jKkKyh
C+ivirhzqRZIcyTMiBD6Vtzd2zj32wDE
-----END PUBLIC KEY-----
";

struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Signer {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        Signer(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).expect("a key"))
    }

    fn public(&self) -> PublicKey {
        let mut der = key::P256.to_vec();
        der.extend_from_slice(self.0.public_key().as_ref());
        PublicKey::parse_pem(key::to_pem(&der).as_bytes()).expect("a key of P-256")
    }

    fn keys(&self) -> Keys {
        Keys {
            keys: vec![self.public()],
            required: true,
            notes: Vec::new(),
        }
    }

    /// In base64.
    fn sign(&self, message: &[u8]) -> String {
        let signature = self.0.sign(&SystemRandom::new(), message);
        base64::encode(signature.expect("randomness").as_ref())
    }

    fn simple(&self, payload: &str) -> Candidate {
        Candidate::Simple {
            payload: payload.as_bytes().to_vec(),
            signature: self.sign(payload.as_bytes()),
        }
    }

    /// A DSSE envelope around a statement.
    fn envelope(&self, kind: &str, statement: &str) -> String {
        let length = statement.len();
        let message = format!("DSSEv1 {} {kind} {length} {statement}", kind.len());
        format!(
            r#"{{"payload":"{}","payloadType":"{kind}","signatures":[{{"sig":"{}"}}]}}"#,
            base64::encode(statement.as_bytes()),
            self.sign(message.as_bytes())
        )
    }
}

fn manifest_digest() -> Digest {
    Digest::from_bytes(Algorithm::Sha256, digest(&SHA256, MANIFEST).as_ref()).expect("a digest")
}

use model::digest::Algorithm;

fn check(keys: &Keys, candidates: &[Candidate]) -> Result<(), String> {
    let digest = manifest_digest();
    let image = Image {
        digest: &digest,
        manifest: MANIFEST,
        repository: REPOSITORY,
    };
    let verdict = verify(keys, image, candidates);
    verdict.map(drop).map_err(|fault| fault.to_string())
}

fn payload(reference: &str, digest: &str) -> String {
    format!(
        r#"{{"critical":{{"identity":{{"docker-reference":"{reference}"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"cosign container image signature"}},"optional":null}}"#
    )
}

fn statement(digest: &str) -> String {
    format!(
        r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"name":"","digest":{{"sha256":"{digest}"}}}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{{}}}}"#
    )
}

fn bundle(material: &str, content: &str) -> Candidate {
    Candidate::Bundle(
        format!(r#"{{"mediaType":"{BUNDLE}","verificationMaterial":{material},{content}}}"#)
            .into_bytes(),
    )
}

#[test]
fn simple_signatures() {
    let signer = Signer::new();
    let digest = manifest_digest();
    let sound = payload("index.docker.io/library/redis", digest.as_str());
    let other_digest = payload(REPOSITORY, &format!("sha256:{}", "0".repeat(64)));
    for (payload, why) in [
        (sound.clone(), ""),
        (payload("docker.io/redis:7", digest.as_str()), ""),
        (sound.replace("null", r#"{"a":[1]}"#), ""),
        (sound.replace(r#","optional":null"#, ""), ""),
        (other_digest, "it is for \"sha256:0000"),
        (
            payload("quay.io/library/redis", digest.as_str()),
            "it is for the repository \"quay.io/library/redis\"",
        ),
        (
            payload("", digest.as_str()),
            "it is for the repository \"\"",
        ),
        (
            sound.replace("cosign container", "atomic container"),
            "it is of the type",
        ),
        (
            sound.replace(r#""type""#, r#""more":1,"type""#),
            "unknown field \"more\"",
        ),
        (sound.replace(r#""type""#, r#""Type""#), "type"),
        (sound.replace(r#""optional""#, r#""other""#), "other"),
        (sound.replacen("{", r#"{"critical":{},"#, 1), "critical"),
        ("[]".into(), "expected"),
        ("".into(), "line 1"),
    ] {
        match check(&signer.keys(), &[signer.simple(&payload)]) {
            Ok(()) => assert_eq!(why, "", "{payload}"),
            Err(text) => assert!(!why.is_empty() && text.contains(why), "{payload}: {text}"),
        }
    }
}

#[test]
fn who_signed_and_what() {
    let (signer, stranger) = (Signer::new(), Signer::new());
    let sound = payload(REPOSITORY, manifest_digest().as_str());
    let by_stranger = stranger.simple(&sound);
    let text = check(&signer.keys(), std::slice::from_ref(&by_stranger)).expect_err("a stranger");
    assert!(
        text.contains("signature 1: it is not made by a trusted key"),
        "{text}"
    );
    // One good one among others suffices, whichever key made it.
    let both = [by_stranger, signer.simple(&sound)];
    assert_eq!(check(&signer.keys(), &both), Ok(()));
    let mut keys = stranger.keys();
    keys.keys.push(signer.public());
    assert_eq!(check(&keys, &both[1..]), Ok(()));
    let Candidate::Simple { signature, .. } = &both[1] else {
        panic!("it is simple");
    };
    let forged = |payload: &str, signature: &str| Candidate::Simple {
        payload: payload.as_bytes().to_vec(),
        signature: signature.to_owned(),
    };
    for (candidate, why) in [
        (
            forged(&sound.replace("null", "{}"), signature),
            "trusted key",
        ),
        (forged(&sound, ""), "trusted key"),
        (forged(&sound, &signature[4..]), "trusted key"),
        (forged(&sound, &format!("{signature}\n")), "not base64"),
        (forged(&" ".repeat(MAX_PAYLOAD + 1), signature), "more than"),
    ] {
        let text = check(&signer.keys(), &[candidate]).expect_err("forged");
        assert!(text.contains(why), "{text}");
    }
    assert!(check(&signer.keys(), &[]).is_err_and(|text| text.contains("no cosign signature")));
    assert!(
        check(&Keys::default(), &both).is_err_and(|text| text.contains("no usable cosign key"))
    );
    // A good one that comes too late is not looked at.
    let mut many = vec![both[0].clone(); MAX_CANDIDATES];
    many.push(both[1].clone());
    assert!(check(&signer.keys(), &many).is_err_and(|text| text.contains("more than 32")));
}

#[test]
fn bundles() {
    let signer = Signer::new();
    let hex = manifest_digest().hex().to_owned();
    let material = r#"{"publicKey":{"hint":"x"},"tlogEntries":[]}"#;
    let in_toto = "application/vnd.in-toto+json";
    let dsse = |kind: &str, statement: &str| {
        format!(r#""dsseEnvelope":{}"#, signer.envelope(kind, statement))
    };
    let sound = dsse(in_toto, &statement(&hex));
    let twice = sound.replace(r#""signatures":["#, r#""signatures":[{"sig":""},"#);
    let by_stranger = Signer::new().envelope(in_toto, &statement(&hex));
    let raw_digest = base64::encode(digest(&SHA256, MANIFEST).as_ref());
    let message = |algorithm: &str, digest: &str, signature: &str| {
        format!(
            r#""messageSignature":{{"messageDigest":{{"algorithm":"{algorithm}","digest":"{digest}"}},"signature":"{signature}"}}"#
        )
    };
    let of_manifest = signer.sign(MANIFEST);
    let zeros = base64::encode(&[0; 32]);
    for (candidate, why) in [
        (bundle(material, &sound), ""),
        (
            bundle(r#"{"certificate":{"rawBytes":""}}"#, &sound),
            "certificate",
        ),
        (
            bundle(material, &dsse("text/plain", &statement(&hex))),
            "payload is of the type",
        ),
        (
            bundle(material, &dsse(in_toto, &statement(&"0".repeat(64)))),
            "another image",
        ),
        (
            bundle(
                material,
                &dsse(in_toto, &statement(&hex).replace("cosign/sign", "x")),
            ),
            "it states",
        ),
        (
            bundle(
                material,
                &dsse(in_toto, &statement(&hex).replace("Statement", "x")),
            ),
            "statement of the type",
        ),
        (bundle(material, &twice), "exactly one"),
        (
            bundle(material, &format!(r#""dsseEnvelope":{by_stranger}"#)),
            "trusted key",
        ),
        (
            bundle(material, &message("SHA2_256", &raw_digest, &of_manifest)),
            "",
        ),
        (
            bundle(material, &message("SHA2_512", &raw_digest, &of_manifest)),
            "its digest",
        ),
        (
            bundle(material, &message("SHA2_256", &zeros, &of_manifest)),
            "another image",
        ),
        (
            bundle(
                material,
                &message("SHA2_256", &raw_digest, &signer.sign(b"else")),
            ),
            "trusted key",
        ),
        (
            bundle(material, r#""nothing":1"#),
            "messageSignature: is missing",
        ),
        (Candidate::Bundle(b"{}".to_vec()), "mediaType: is missing"),
        (
            Candidate::Bundle(br#"{"mediaType":"x"}"#.to_vec()),
            "bundle of the type",
        ),
    ] {
        match check(&signer.keys(), std::slice::from_ref(&candidate)) {
            Ok(()) => assert_eq!(why, ""),
            Err(text) => assert!(!why.is_empty() && text.contains(why), "{why}: {text}"),
        }
    }
}

#[test]
fn public_keys() {
    let key = PublicKey::parse_pem(PEM.as_bytes()).expect("openssl made it");
    assert_eq!(key.pem(), PEM);
    assert_eq!(key.fingerprint().len(), 64);
    let dos = PEM.replace('\n', "\r\n");
    assert_eq!(PublicKey::parse_pem(dos.as_bytes()).expect("the same"), key);
    let private = PEM.replace("PUBLIC", "ENCRYPTED SIGSTORE PRIVATE");
    for (bad, why) in [
        (ED25519.to_owned(), "Ed25519"),
        (P384.to_owned(), "ECDSA P-384"),
        (private, "a private key"),
        (PEM.replace("PUBLIC KEY", "CERTIFICATE"), "a certificate"),
        (
            PEM.replace("PUBLIC KEY", "PGP PUBLIC KEY BLOCK"),
            "an OpenPGP key",
        ),
        (PEM.replace("-----END", ""), "truncated"),
        (format!("{PEM}{PEM}"), "several"),
        (PEM.replace("MFkw", "!!!!"), "damaged"),
        (PEM.replace("MFkw", "MFgw"), "unknown kind"),
        (PEM.replace("DQgAE", "DQgAC"), "damaged"),
        (String::new(), "something else"),
    ] {
        let fault = PublicKey::parse_pem(bad.as_bytes()).expect_err(why);
        assert!(fault.cause.contains(why), "{why}: {fault}");
    }
}

#[test]
fn prefixes_begin_with_a_registry() {
    for (text, want) in [
        ("docker.io", "docker.io"),
        ("index.docker.io/library/redis", "docker.io/library/redis"),
        ("docker.io/grafana", "docker.io/grafana"),
        ("localhost:5000", "localhost:5000"),
        ("localhost/a/b", "localhost/a/b"),
        ("quay.io/coreos/etcd", "quay.io/coreos/etcd"),
    ] {
        assert_eq!(prefix(text).expect(text), want);
    }
    for bad in [
        "",
        "redis",
        "library/redis",
        "quay.io/",
        "quay.io/../x",
        "quay.io/a:b",
        "quay.io/a@b",
        "quay.io/A",
        "/quay.io",
    ] {
        assert!(prefix(bad).is_err(), "{bad}");
    }
}
