//! The check of a file against its detached signatures, while the file streams
//! by.
//!
//! Every digest that a signature needs is fed once. At the end each signature
//! gets a verdict of its own; one good one suffices, and if there is none the
//! fault says of each why.

use super::armor::{self, Kind};
use super::key::{Certificate, Subkey};
use super::{MAX_SIGNATURE, Signer, standing};
use crate::Keys;
use model::fault::{Fault, Result};
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::packet::{Signature, SignatureType, SubpacketData};
use pgp::types::{KeyDetails, PublicParams, Tag, VerifyingKey};
use sha2::digest::DynDigest;

/// Signatures in one file.
const MAX_SIGNATURES: usize = 16;
/// Bits of the shortest RSA key: what gpg makes and takes as well.
const MIN_RSA_BITS: usize = 1024;

type Hasher = Box<dyn DynDigest + Send>;

pub(super) struct Check {
    candidates: Vec<Candidate>,
    hashers: Vec<(HashAlgorithm, Hasher)>,
}

/// One signature of the file.
struct Candidate {
    signature: Signature,
    /// What of the packet is signed along with the data.
    metadata: Vec<u8>,
    /// Why it can never be good.
    refused: Option<String>,
}

/// A primary key, or a subkey of it, that may have made a signature.
#[derive(Clone, Copy)]
struct Maker<'a> {
    key: &'a Certificate,
    subkey: Option<&'a Subkey>,
}

/// Why a signature does not count.
enum Verdict {
    Unknown,
    Bad(String),
}

impl Check {
    pub(super) fn new(file: &[u8]) -> Result<Check> {
        let mut candidates = Vec::new();
        for block in armor::blocks(file, Kind::Signature, MAX_SIGNATURE)? {
            for packet in armor::packets(&block)? {
                match packet.tag() {
                    Tag::Signature => candidates.push(candidate(&packet)?),
                    Tag::Marker | Tag::Padding => {}
                    _ => {
                        return Err(Fault::invalid(
                            "expected a detached OpenPGP signature, found something else",
                        )
                        .hint("sign with `gpg --armor --detach-sign FILE`"));
                    }
                }
                if candidates.len() > MAX_SIGNATURES {
                    return Err(Fault::invalid(format!(
                        "more than {MAX_SIGNATURES} signatures in one file"
                    )));
                }
            }
        }
        if candidates.is_empty() {
            return Err(Fault::invalid(
                "no valid signatures found in signature file",
            ));
        }
        let mut check = Check {
            candidates,
            hashers: Vec::new(),
        };
        for candidate in &check.candidates {
            if let Some(algorithm) = candidate.algorithm()
                && check.hashers.iter().all(|(known, _)| *known != algorithm)
            {
                let hasher = algorithm
                    .new_hasher()
                    .map_err(|e| Fault::unsupported(e.to_string()))?;
                check.hashers.push((algorithm, hasher));
            }
        }
        Ok(check)
    }

    pub(super) fn update(&mut self, data: &[u8]) {
        for (_, hasher) in &mut self.hashers {
            hasher.update(data);
        }
    }

    /// Whether any signature may be by one of these keys; if not, why.
    pub(super) fn expect_signer(&self, keys: &Keys) -> Result<()> {
        let mut verdicts = Vec::new();
        for candidate in &self.candidates {
            match (&candidate.refused, candidate.makers(keys).is_empty()) {
                (None, false) => return Ok(()),
                (Some(why), _) => verdicts.push(Verdict::Bad(why.clone())),
                (None, true) => verdicts.push(Verdict::Unknown),
            }
        }
        Err(self.fault(&verdicts))
    }

    pub(super) fn finish(self, keys: &Keys, now: u64) -> Result<Signer> {
        let mut verdicts = Vec::new();
        for candidate in &self.candidates {
            match self.judge(candidate, keys, now) {
                Ok(key) => {
                    return Ok(Signer {
                        fingerprint: key.fingerprint.clone(),
                        user_ids: key.user_ids(),
                    });
                }
                Err(verdict) => verdicts.push(verdict),
            }
        }
        Err(self.fault(&verdicts))
    }

    fn judge<'k>(
        &self,
        candidate: &Candidate,
        keys: &'k Keys,
        now: u64,
    ) -> Result<&'k Certificate, Verdict> {
        if let Some(why) = &candidate.refused {
            return Err(Verdict::Bad(why.clone()));
        }
        let digest = self.digest(candidate);
        let mut verdict = Verdict::Unknown;
        for maker in candidate.makers(keys) {
            match maker.judge(&candidate.signature, &digest, now) {
                Ok(()) => return Ok(maker.key),
                Err(why) => verdict = Verdict::Bad(why.to_string()),
            }
        }
        Err(verdict)
    }

    /// Of the data, the signed part of the packet and the trailer (RFC 9580, 5.2.4).
    fn digest(&self, candidate: &Candidate) -> Box<[u8]> {
        let wanted = candidate.algorithm();
        let (_, hasher) = self
            .hashers
            .iter()
            .find(|(algorithm, _)| Some(*algorithm) == wanted)
            .expect("there is a hasher for every signature that is not refused");
        let mut hasher = hasher.box_clone();
        hasher.update(&candidate.metadata);
        let length =
            u32::try_from(candidate.metadata.len()).expect("a packet is shorter than 4 GB");
        hasher.update(&[4, 0xff]);
        hasher.update(&length.to_be_bytes());
        hasher.finalize()
    }

    fn fault(&self, verdicts: &[Verdict]) -> Fault {
        let line = |(candidate, verdict): (&Candidate, &Verdict)| match verdict {
            Verdict::Unknown => format!(
                "signature made by unknown entity, key {}",
                candidate.issuer()
            ),
            Verdict::Bad(why) => format!("signature of key {}: {why}", candidate.issuer()),
        };
        let lines: Vec<String> = self.candidates.iter().zip(verdicts).map(line).collect();
        let text = lines.join("; ");
        match verdicts
            .iter()
            .all(|verdict| matches!(verdict, Verdict::Unknown))
        {
            true => Fault::not_found(text),
            false => Fault::refused(text),
        }
    }
}

fn candidate(packet: &armor::Packet<'_>) -> Result<Candidate> {
    let version = packet.body.first().copied().unwrap_or(0);
    let signature = Signature::try_from_reader(packet.header, packet.body)
        .map_err(|e| Fault::invalid(format!("malformed OpenPGP signature: {e}")))?;
    let metadata = match (version, packet.body) {
        (4, [_, _, _, _, high, low, ..]) => {
            let hashed = usize::from(u16::from_be_bytes([*high, *low]));
            packet.body[..6 + hashed].to_vec()
        }
        _ => Vec::new(),
    };
    let refused = match version {
        4 => refusal(&signature),
        _ => Some(format!("a signature of version {version} (known: 4)")),
    };
    Ok(Candidate {
        signature,
        metadata,
        refused,
    })
}

/// What rules a signature out before any data was seen.
fn refusal(signature: &Signature) -> Option<String> {
    let config = signature.config()?;
    if config.typ != SignatureType::Binary {
        return Some(format!(
            "its type, 0x{:02x}, is not that of a signature of a binary document",
            u8::from(config.typ)
        ));
    }
    match config.hash_alg {
        HashAlgorithm::Sha224
        | HashAlgorithm::Sha256
        | HashAlgorithm::Sha384
        | HashAlgorithm::Sha512 => {}
        weak @ (HashAlgorithm::Md5 | HashAlgorithm::Sha1 | HashAlgorithm::Ripemd160) => {
            return Some(format!("its digest is {weak}, which is too weak"));
        }
        other => return Some(format!("its digest, {other:?}, is not supported")),
    }
    if config.created().is_none() {
        return Some("it does not say when it was made".into());
    }
    let alien = config.hashed_subpackets().find(|packet| {
        packet.is_critical
            && !matches!(
                packet.data,
                SubpacketData::SignatureCreationTime(_)
                    | SubpacketData::SignatureExpirationTime(_)
                    | SubpacketData::IssuerKeyId(_)
                    | SubpacketData::IssuerFingerprint(_)
                    | SubpacketData::SignersUserID(_)
                    | SubpacketData::PolicyURI(_)
                    | SubpacketData::PreferredKeyServer(_)
                    | SubpacketData::Revocable(_)
            )
    });
    alien.map(|packet| {
        format!(
            "it has a critical subpacket that is not understood, {}",
            packet.typ().as_u8(false)
        )
    })
}

impl Candidate {
    /// The digest it is made over, if it is ever to be looked at.
    fn algorithm(&self) -> Option<HashAlgorithm> {
        match self.refused {
            Some(_) => None,
            None => self.signature.hash_alg(),
        }
    }

    /// The keys that it names as its maker. A hint only: the key material decides.
    fn makers<'k>(&self, keys: &'k Keys) -> Vec<Maker<'k>> {
        let ids = self.signature.issuer_key_id();
        let fingerprints = self.signature.issuer_fingerprint();
        let names = |key: &dyn KeyDetails| {
            ids.contains(&&key.legacy_key_id()) || fingerprints.contains(&&key.fingerprint())
        };
        let mut makers = Vec::new();
        for key in keys.keys.iter().map(|key| &key.0) {
            if names(&key.primary) {
                makers.push(Maker { key, subkey: None });
            }
            for subkey in key.subkeys.iter().filter(|subkey| names(&subkey.key)) {
                makers.push(Maker {
                    key,
                    subkey: Some(subkey),
                });
            }
        }
        makers
    }

    /// As the signature itself has it.
    fn issuer(&self) -> String {
        let fingerprint = self
            .signature
            .issuer_fingerprint()
            .first()
            .map(|f| f.to_string());
        let id = || {
            self.signature
                .issuer_key_id()
                .first()
                .map(|id| id.to_string())
        };
        fingerprint.or_else(id).unwrap_or_else(|| "unknown".into())
    }
}

impl Maker<'_> {
    fn judge(self, signature: &Signature, digest: &[u8], now: u64) -> Result<(), &'static str> {
        match self.subkey {
            None => self.verify(&self.key.primary, signature, digest)?,
            Some(subkey) => self.verify(&subkey.key, signature, digest)?,
        }
        standing::signing(self.key, self.subkey, now)?;
        match standing::signature_expired(signature, now) {
            true => Err("the signature has expired"),
            false => Ok(()),
        }
    }

    /// The mathematics, by one key.
    fn verify(
        self,
        key: &impl VerifyingKey,
        signature: &Signature,
        digest: &[u8],
    ) -> Result<(), &'static str> {
        const WRONG: &str = "it is not the signature of this file";
        let config = signature.config().ok_or(WRONG)?;
        let value = signature.signature().ok_or(WRONG)?;
        if standing::made(signature) < standing::seconds(key) {
            return Err("it is older than its key");
        }
        if !same_algorithm(config.pub_alg, key.algorithm()) {
            return Err("its algorithm is not that of its key");
        }
        if rsa_bits(key.public_params()).is_some_and(|bits| bits < MIN_RSA_BITS) {
            return Err("its RSA key is too short");
        }
        if signature.signed_hash_value().map(Vec::from).as_deref() != digest.get(..2) {
            return Err(WRONG);
        }
        key.verify(config.hash_alg, digest, value)
            .map_err(|e| match e {
                pgp::errors::Error::Unsupported { .. } => {
                    "the algorithm of its key is not supported"
                }
                _ => WRONG,
            })
    }
}

/// RSA keys may be marked as being for signatures only.
fn same_algorithm(a: PublicKeyAlgorithm, b: PublicKeyAlgorithm) -> bool {
    let rsa = |algorithm| {
        matches!(
            algorithm,
            PublicKeyAlgorithm::RSA | PublicKeyAlgorithm::RSASign
        )
    };
    a == b || rsa(a) && rsa(b)
}

fn rsa_bits(params: &PublicParams) -> Option<usize> {
    use pgp::ser::Serialize;
    let PublicParams::RSA(params) = params else {
        return None;
    };
    let mut bytes = Vec::new();
    params.to_writer(&mut bytes).ok()?;
    // The modulus comes first, after its length in bits.
    Some(usize::from(u16::from_be_bytes([
        *bytes.first()?,
        *bytes.get(1)?,
    ])))
}
