//! Keys that a fetch finds for a new name: shown, and trusted if the user says so.
//!
//! `--trust-keys-from-https` answers beforehand. Without it the face asks, where
//! there is a terminal; else it is told how to answer, and nothing is trusted.

use crate::env::Env;
use crate::fetch::Remarks;
use ::fetch::appc::{Offer, Review};
use model::fault::Result;
use model::{AcIdentifier, Fault};
use std::fmt::Write as _;
use std::path::Path;
use trust::openpgp::PublicKey;

/// Puts a question to the user and gives the line that was typed; `None` if there
/// is nobody to ask.
pub type Ask = dyn Fn(&str) -> Result<Option<String>> + Sync;

impl Review for Remarks<'_> {
    fn trusts(&self, offer: &Offer<'_>) -> Result<bool> {
        let env = self.0;
        let (prefix, location) = (offer.prefix, offer.location);
        env.note(
            "pubkey",
            &format!("prefix: \"{prefix}\"\nkey: \"{location}\""),
        );
        for key in offer.keys {
            env.note("pubkey", &describe(key));
        }
        let trusted = |how| {
            let text = format!("Trusting \"{location}\" for prefix \"{prefix}\" {how}.");
            env.note("pubkey", &text);
            Ok(true)
        };
        if offer.settled {
            return trusted("without fingerprint review");
        }
        if confirmed(env, prefix.as_str())? {
            return trusted("after fingerprint review");
        }
        env.note("pubkey", &format!("not trusting \"{location}\""));
        Ok(false)
    }

    fn added(&self, prefix: &AcIdentifier, path: &Path) {
        let path = path.display();
        self.0.note(
            "pubkey",
            &format!("Added key for prefix \"{prefix}\" at \"{path}\""),
        );
    }
}

pub(crate) fn confirmed(env: &Env, prefix: &str) -> Result<bool> {
    let mut question = "Are you sure you want to trust this key (yes/no)?";
    while let Some(answer) = (env.ask)(question)? {
        match answer.trim() {
            "yes" => return Ok(true),
            "no" => return Ok(false),
            _ => question = "Please enter 'yes' or 'no'",
        }
    }
    env.note(
        "pubkey",
        &format!(
            "To trust the key for \"{prefix}\", do one of the following:\n \
             - call rkt with --trust-keys-from-https\n \
             - run: rkt trust --prefix \"{prefix}\""
        ),
    );
    Err(Fault::refused(
        "unable to ask user to review fingerprint due to lack of tty",
    ))
}

/// Fingerprints and user IDs, as a person compares them.
pub fn describe(key: &PublicKey) -> String {
    let mut text = format!("gpg key fingerprint is: {}", in_groups(key.fingerprint()));
    for subkey in key.subkeys() {
        let _ = write!(text, "\n    Subkey fingerprint: {}", in_groups(&subkey));
    }
    for id in key.user_ids() {
        text.push_str("\n\t");
        text.push_str(&id);
    }
    text
}

/// `AAAA BBBB …` with a double blank in the middle.
fn in_groups(fingerprint: &str) -> String {
    let digits: Vec<char> = fingerprint.to_uppercase().chars().collect();
    let groups: Vec<String> = digits
        .chunks(4)
        .map(|group| group.iter().collect())
        .collect();
    let (left, right) = groups.split_at(groups.len() / 2);
    format!("{}  {}", left.join(" "), right.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_in_groups() {
        assert_eq!(
            in_groups("36b287add1095db1afd9cbf125d5d9fad9dcef41"),
            "36B2 87AD D109 5DB1 AFD9  CBF1 25D5 D9FA D9DC EF41"
        );
    }
}
