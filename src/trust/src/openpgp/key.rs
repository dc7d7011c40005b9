//! A public key as it stands in a file: the primary key, its user IDs and
//! subkeys, each with the signatures that follow it.
//!
//! Reading judges nothing; `standing` does, since it depends on the time. Version
//! 4 keys only: the keystore names its files after their fingerprints.

use super::armor::{self, Kind, Packet};
use super::{MAX_KEY, standing};
use model::fault::{Fault, Result};
use pgp::packet::{self, Signature, SignatureType, UserId};
use pgp::types::{EcdsaPublicParams, EddsaLegacyPublicParams, KeyDetails, PublicParams, Tag};

/// Keys in one file.
const MAX_KEYS: usize = 64;

#[derive(Clone)]
pub(super) struct Certificate {
    pub(super) primary: packet::PublicKey,
    /// Direct signatures and revocations of the primary key.
    pub(super) signatures: Vec<Signature>,
    pub(super) users: Vec<User>,
    pub(super) subkeys: Vec<Subkey>,
    pub(super) fingerprint: String,
    /// Armored.
    file: Vec<u8>,
}

#[derive(Clone)]
pub(super) struct User {
    pub(super) id: UserId,
    pub(super) signatures: Vec<Signature>,
}

#[derive(Clone)]
pub(super) struct Subkey {
    pub(super) key: packet::PublicSubkey,
    pub(super) signatures: Vec<Signature>,
}

/// What a signature packet speaks of: whatever came before it.
enum Place {
    Primary,
    User,
    Subkey,
    /// Something that we do not use: attributes, unknown kinds of subkeys.
    Nothing,
}

/// All keys of a file.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Certificate>> {
    let mut keys: Vec<(Certificate, Vec<u8>)> = Vec::new();
    for block in armor::blocks(bytes, Kind::PublicKey, MAX_KEY)? {
        let mut place = Place::Nothing;
        for packet in armor::packets(&block)? {
            if packet.tag() == Tag::PublicKey {
                if keys.len() == MAX_KEYS {
                    return Err(Fault::invalid(format!(
                        "more than {MAX_KEYS} keys in one file"
                    )));
                }
                keys.push((begin(&packet)?, packet.raw.to_vec()));
                place = Place::Primary;
                continue;
            }
            let Some((key, raw)) = keys.last_mut() else {
                return Err(misplaced(&packet));
            };
            if packet.tag() == Tag::Trust {
                // Private to gpg's own keyring, never in an exported key.
                continue;
            }
            raw.extend_from_slice(packet.raw);
            place = take(key, &packet, place)?;
        }
    }
    let single = keys.len() == 1 && !armor::is_binary(bytes);
    let finish = |(mut key, raw): (Certificate, Vec<u8>)| {
        key.file = match single {
            true => bytes.to_vec(),
            false => armor::armored_key(&raw),
        };
        key
    };
    Ok(keys.into_iter().map(finish).collect())
}

/// Before any key.
fn misplaced(packet: &Packet<'_>) -> Fault {
    match packet.tag() {
        Tag::SecretKey => Fault::invalid("expected an OpenPGP public key, found a private key")
            .hint("give the public key: `gpg --armor --export KEY`"),
        _ => Fault::invalid("expected an OpenPGP public key, found something else"),
    }
}

fn begin(packet: &Packet<'_>) -> Result<Certificate> {
    // The version first: rpgp reads the bodies of old ones as well.
    match packet.body.first() {
        Some(4) => {}
        Some(version) => {
            return Err(Fault::unsupported(format!(
                "OpenPGP key of version {version} (known: 4)"
            )));
        }
        None => return Err(Fault::invalid("an OpenPGP key packet is empty")),
    }
    let primary = packet::PublicKey::try_from_reader(packet.header, packet.body)
        .map_err(|e| Fault::invalid(format!("malformed OpenPGP key: {e}")))?;
    if !is_known(primary.public_params()) {
        return Err(Fault::unsupported(format!(
            "the algorithm or curve of the OpenPGP key, {:?}, is not supported",
            primary.algorithm()
        )));
    }
    let fingerprint = primary.fingerprint().to_string();
    Ok(Certificate {
        primary,
        signatures: Vec::new(),
        users: Vec::new(),
        subkeys: Vec::new(),
        fingerprint,
        file: Vec::new(),
    })
}

/// Whether signatures by such a key can be checked. Of those on secp256k1 rpgp
/// takes every other one only.
fn is_known(params: &PublicParams) -> bool {
    !matches!(
        params,
        PublicParams::Unknown { .. }
            | PublicParams::ECDSA(
                EcdsaPublicParams::Secp256k1 { .. } | EcdsaPublicParams::Unsupported { .. }
            )
            | PublicParams::EdDSALegacy(EddsaLegacyPublicParams::Unsupported { .. })
    )
}

/// Files one more packet of a key; returns what the next signature speaks of.
fn take(key: &mut Certificate, packet: &Packet<'_>, place: Place) -> Result<Place> {
    match packet.tag() {
        Tag::UserId => {
            let id = UserId::try_from_reader(packet.header, packet.body)
                .map_err(|e| Fault::invalid(format!("malformed user ID: {e}")))?;
            key.users.push(User {
                id,
                signatures: Vec::new(),
            });
            Ok(Place::User)
        }
        Tag::PublicSubkey => match subkey(packet) {
            Some(subkey) => {
                key.subkeys.push(subkey);
                Ok(Place::Subkey)
            }
            None => Ok(Place::Nothing),
        },
        Tag::Signature => {
            // One that cannot be read binds nothing, as if it were not there.
            if let Ok(signature) = Signature::try_from_reader(packet.header, packet.body) {
                file_signature(key, signature, &place);
            }
            Ok(place)
        }
        Tag::SecretKey | Tag::SecretSubkey => Err(Fault::invalid(
            "expected an OpenPGP public key, found a private key",
        )
        .hint("give the public key: `gpg --armor --export KEY`")),
        Tag::UserAttribute => Ok(Place::Nothing),
        _ => Ok(place),
    }
}

fn file_signature(key: &mut Certificate, signature: Signature, place: &Place) {
    // A revocation of the whole key counts wherever it stands.
    if signature.typ() == Some(SignatureType::KeyRevocation) {
        key.signatures.push(signature);
        return;
    }
    match place {
        Place::Primary => key.signatures.push(signature),
        Place::User => {
            if let Some(user) = key.users.last_mut() {
                user.signatures.push(signature);
            }
        }
        Place::Subkey => {
            if let Some(subkey) = key.subkeys.last_mut() {
                subkey.signatures.push(signature);
            }
        }
        Place::Nothing => {}
    }
}

fn subkey(packet: &Packet<'_>) -> Option<Subkey> {
    if packet.body.first() != Some(&4) {
        return None;
    }
    let key = packet::PublicSubkey::try_from_reader(packet.header, packet.body).ok()?;
    is_known(key.public_params()).then(|| Subkey {
        key,
        signatures: Vec::new(),
    })
}

impl Certificate {
    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub(super) fn armored(&self) -> &[u8] {
        &self.file
    }

    pub(super) fn subkeys(&self) -> Vec<String> {
        let subkeys = self.subkeys.iter();
        subkeys
            .map(|subkey| subkey.key.fingerprint().to_string())
            .collect()
    }

    pub(super) fn refusal(&self, now: u64) -> Option<&'static str> {
        standing::primary_refusal(self, now)
    }

    /// User IDs that the key itself vouches for.
    pub(super) fn user_ids(&self) -> Vec<String> {
        self.users
            .iter()
            .filter(|user| standing::is_own_user(&self.primary, user))
            .map(|user| tame(&String::from_utf8_lossy(user.id.id())))
            .collect()
    }
}

/// Fit for a line on a terminal: what would move the cursor, end the line or
/// turn the direction of writing becomes `?`.
fn tame(text: &str) -> String {
    let turns = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars()
        .map(|c| if c.is_control() || turns(c) { '?' } else { c })
        .collect()
}
