//! What a key is worth at a given time: its self-signatures are verified, the
//! newest one counts, and revocations win.
//!
//! The rules are gpg's. A revocation counts whatever its reason and age. A
//! self-signature that has itself expired does not count. The direct signature
//! comes before those of user IDs. A subkey needs its binding by the primary key
//! and, to sign, one in return: else anybody could pass off another's signing key
//! as his own subkey.

use super::key::{Certificate, Subkey, User};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{PublicKey, Signature, SignatureType, SubpacketData};
use pgp::types::{KeyDetails, Tag};

/// Why the key, or with `subkey` that subkey of it, must not sign data at `now`.
pub(super) fn signing(
    key: &Certificate,
    subkey: Option<&Subkey>,
    now: u64,
) -> Result<(), &'static str> {
    let usage = primary(key, now)?;
    match subkey {
        None if !may_sign(usage) => Err("the key is not for signing data"),
        None => Ok(()),
        Some(subkey) => signing_subkey(key, subkey, now),
    }
}

/// Why the key as a whole is worth nothing at `now`.
pub(super) fn primary_refusal(key: &Certificate, now: u64) -> Option<&'static str> {
    primary(key, now).err()
}

/// The self-signature that says what a key, if it stands, is for.
fn primary(key: &Certificate, now: u64) -> Result<&Signature, &'static str> {
    let created = seconds(&key.primary);
    if created > now {
        return Err("the key is from the future: look at the clock");
    }
    let own = |signature: &&Signature| signature.verify_key(&key.primary).is_ok();
    let of = |wanted| {
        let all = key.signatures.iter();
        all.filter(move |signature| signature.typ() == Some(wanted))
            .filter(own)
    };
    if of(SignatureType::KeyRevocation).next().is_some() {
        return Err("the key is revoked");
    }
    let direct = newest(of(SignatureType::Key), created, now);
    let users = key.users.iter().filter_map(|user| own_user(key, user, now));
    let user = users.max_by_key(|signature| made(signature));
    // Use and expiry each from the direct signature, if it speaks of them.
    let from = |speaks: fn(&Signature) -> bool| match (direct, user) {
        (Some(direct), Some(user)) if !speaks(direct) => Some(user),
        (direct, user) => direct.or(user),
    };
    let usage = from(has_key_flags).ok_or("the key has no user ID that it vouches for")?;
    let expiry = from(|signature| signature.key_expiration_time().is_some());
    match expiry.is_some_and(|expiry| expired(created, expiry, now)) {
        true => Err("the key has expired"),
        false => Ok(usage),
    }
}

fn signing_subkey(key: &Certificate, subkey: &Subkey, now: u64) -> Result<(), &'static str> {
    let created = seconds(&subkey.key);
    if created > now {
        return Err("the subkey is from the future: look at the clock");
    }
    let of = |wanted| {
        let sound = move |signature: &&Signature| {
            signature.typ() == Some(wanted)
                && signature
                    .verify_subkey_binding(&key.primary, &subkey.key)
                    .is_ok()
        };
        subkey.signatures.iter().filter(sound)
    };
    if of(SignatureType::SubkeyRevocation).next().is_some() {
        return Err("the subkey is revoked");
    }
    let since = seconds(&key.primary);
    let binding = newest(of(SignatureType::SubkeyBinding), since, now)
        .ok_or("the subkey is not bound to its key")?;
    if expired(created, binding, now) {
        return Err("the subkey has expired");
    }
    if !may_sign(binding) {
        return Err("the subkey is not for signing data");
    }
    let agreed = binding.embedded_signature().is_some_and(|back| {
        !is_broken(back)
            && back
                .verify_primary_key_binding(&subkey.key, &key.primary)
                .is_ok()
    });
    match agreed {
        true => Ok(()),
        false => Err("the subkey does not vouch for its key: the signature in return is missing"),
    }
}

/// The certification of a user ID by the key itself that counts.
fn own_user<'a>(key: &'a Certificate, user: &'a User, now: u64) -> Option<&'a Signature> {
    let certifications = certifications(&key.primary, user);
    let newest = newest(certifications.into_iter(), seconds(&key.primary), now)?;
    match revoked_at(&key.primary, user) {
        Some(revoked) if revoked >= made(newest) => None,
        _ => Some(newest),
    }
}

/// Whether the key vouches for a user ID and has not taken it back.
pub(super) fn is_own_user(primary: &PublicKey, user: &User) -> bool {
    let newest = certifications(primary, user).into_iter().map(made).max();
    newest.is_some() && newest > revoked_at(primary, user)
}

fn certifications<'a>(primary: &PublicKey, user: &'a User) -> Vec<&'a Signature> {
    let is_certification = |signature: &&Signature| {
        signature.is_certification() && signature.typ() != Some(SignatureType::CertRevocation)
    };
    let sound = |signature: &&Signature| {
        !is_broken(signature)
            && signature
                .verify_certification(primary, Tag::UserId, &user.id)
                .is_ok()
    };
    let signatures = user.signatures.iter();
    signatures.filter(is_certification).filter(sound).collect()
}

fn revoked_at(primary: &PublicKey, user: &User) -> Option<u64> {
    let revocations = user.signatures.iter().filter(|signature| {
        signature.typ() == Some(SignatureType::CertRevocation)
            && signature
                .verify_certification(primary, Tag::UserId, &user.id)
                .is_ok()
    });
    revocations.map(made).max()
}

/// The newest of sound self-signatures that is none before its key and has not
/// expired.
fn newest<'a>(
    signatures: impl Iterator<Item = &'a Signature>,
    since: u64,
    now: u64,
) -> Option<&'a Signature> {
    signatures
        .filter(|signature| !is_broken(signature) && made(signature) >= since)
        .filter(|signature| !signature_expired(signature, now))
        .max_by_key(|signature| made(signature))
}

/// Made over a digest that anybody can collide at will. SHA-1 still counts here,
/// as in gpg: what a key signs of itself, nobody else chose.
fn is_broken(signature: &Signature) -> bool {
    matches!(
        signature.hash_alg(),
        None | Some(HashAlgorithm::None | HashAlgorithm::Md5)
    )
}

pub(super) fn seconds(key: &impl KeyDetails) -> u64 {
    u64::from(key.created_at().as_secs())
}

/// When the signature was made; the epoch if it does not say.
pub(super) fn made(signature: &Signature) -> u64 {
    signature.created().map_or(0, |at| u64::from(at.as_secs()))
}

pub(super) fn signature_expired(signature: &Signature, now: u64) -> bool {
    let after = signature.signature_expiration_time();
    ends(made(signature), after.map(|after| after.as_secs()), now)
}

fn expired(created: u64, newest: &Signature, now: u64) -> bool {
    let after = newest.key_expiration_time();
    ends(created, after.map(|after| after.as_secs()), now)
}

/// Zero seconds mean forever.
fn ends(from: u64, after: Option<u32>, now: u64) -> bool {
    after.is_some_and(|after| after != 0 && from + u64::from(after) <= now)
}

fn has_key_flags(signature: &Signature) -> bool {
    signature.config().is_some_and(|config| {
        config
            .hashed_subpackets()
            .any(|packet| matches!(packet.data, SubpacketData::KeyFlags(_)))
    })
}

/// A key of the time before key flags may do what its algorithm can.
fn may_sign(newest: &Signature) -> bool {
    !has_key_flags(newest) || newest.key_flags().sign()
}
