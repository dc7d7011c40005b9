//! The public keys of cosign: PEM, SubjectPublicKeyInfo, ECDSA on P-256.
//!
//! That is what `cosign generate-key-pair` makes; every other kind is refused by
//! its name.

use model::fault::{Fault, Result};

/// An ECDSA key on the curve P-256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// The whole SubjectPublicKeyInfo.
    der: Vec<u8>,
    fingerprint: String,
    pem: String,
}

/// What comes before the point: id-ecPublicKey on prime256v1, a bit string of an
/// uncompressed point (RFC 5480).
pub(super) const P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// Of an uncompressed point: 4, x, y.
const POINT: usize = 65;

/// Object identifiers with their tag and length, for the sake of the error.
const OTHERS: &[(&[u8], &str)] = &[
    (
        &[
            0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01,
        ],
        "RSA",
    ),
    (&[0x06, 0x03, 0x2b, 0x65, 0x70], "Ed25519"),
    (&[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22], "ECDSA P-384"),
    (&[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23], "ECDSA P-521"),
];

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";

impl PublicKey {
    /// The `cosign.pub` that `cosign generate-key-pair` writes.
    pub fn parse_pem(bytes: &[u8]) -> Result<PublicKey> {
        let der = pem(bytes)?;
        let point = der.strip_prefix(P256).ok_or_else(|| {
            let known = OTHERS.iter().find(|(oid, _)| holds(&der, oid));
            Fault::unsupported(match known {
                Some((_, name)) => format!("a cosign key of the kind {name} (known: ECDSA P-256)"),
                None => "a cosign key of an unknown kind (known: ECDSA P-256)".to_string(),
            })
        })?;
        if point.len() != POINT || point[0] != 4 {
            return Err(Fault::invalid("the cosign key is damaged"));
        }
        PublicKey::new(der)
    }

    /// SHA-256 of the key's SubjectPublicKeyInfo: 64 lower-case hex digits.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// What its file in the keystore holds.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    #[cfg(feature = "trust")]
    fn new(der: Vec<u8>) -> Result<PublicKey> {
        let hash = ring::digest::digest(&ring::digest::SHA256, &der);
        let fingerprint = model::digest::hex(hash.as_ref());
        let pem = to_pem(&der);
        Ok(PublicKey {
            der,
            fingerprint,
            pem,
        })
    }

    #[cfg(not(feature = "trust"))]
    fn new(_: Vec<u8>) -> Result<PublicKey> {
        Err(crate::absent())
    }

    /// Whether `signature`, ASN.1 DER over SHA-256, is by this key.
    #[cfg(feature = "trust")]
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.der[P256.len()..])
            .verify(message, signature)
            .is_ok()
    }

    #[cfg(not(feature = "trust"))]
    pub(super) fn verifies(&self, _: &[u8], _: &[u8]) -> bool {
        false
    }
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// The one block of a PEM file.
fn pem(bytes: &[u8]) -> Result<Vec<u8>> {
    let bad = |what: &str| Fault::invalid(format!("expected a PEM public key, found {what}"));
    let text = std::str::from_utf8(bytes).map_err(|_| bad("something else"))?;
    let mut lines = text.lines().map(str::trim_end);
    let label = lines
        .find_map(|line| line.strip_prefix(BEGIN)?.strip_suffix(DASHES))
        .ok_or_else(|| bad("something else"))?;
    match label {
        "PUBLIC KEY" => {}
        "CERTIFICATE" => return Err(bad("a certificate")),
        _ if label.ends_with("PRIVATE KEY") => {
            return Err(bad("a private key").hint("give the file `cosign.pub`"));
        }
        "PGP PUBLIC KEY BLOCK" => {
            return Err(bad("an OpenPGP key").hint("OpenPGP keys go without --cosign"));
        }
        _ => return Err(bad("another kind of PEM")),
    }
    let mut base64 = String::new();
    let mut ended = false;
    for line in lines.by_ref() {
        if line == "-----END PUBLIC KEY-----" {
            ended = true;
            break;
        }
        base64.push_str(line);
    }
    if !ended {
        return Err(bad("a truncated one"));
    }
    if lines.any(|line| line.starts_with(BEGIN)) {
        return Err(bad("several").hint("give one key per file"));
    }
    model::base64::decode(&base64).map_err(|_| bad("a damaged one"))
}

#[cfg(feature = "trust")]
pub(super) fn to_pem(der: &[u8]) -> String {
    let mut text = String::from("-----BEGIN PUBLIC KEY-----\n");
    let digits = model::base64::encode(der);
    for at in (0..digits.len()).step_by(64) {
        text.push_str(&digits[at..digits.len().min(at + 64)]);
        text.push('\n');
    }
    text.push_str("-----END PUBLIC KEY-----\n");
    text
}
