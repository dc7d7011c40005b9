//! Signing keys by discovery: where a name's keys are, and whether they come to
//! be trusted when its first image is fetched.
//!
//! A key is trusted when a person, or `--trust-keys-from-https`, says so; nothing
//! is trusted for having been found.

use super::check;
use super::name::walk;
use super::offer::Offer;
use super::remote::Remote;
use super::walk::{Walk, is_interrupt};
use crate::Notes;
use crate::http::{Client, ClientOptions, Request};
use model::fault::Result;
use model::{AcIdentifier, Fault};
use trust::openpgp::{MAX_KEY, PublicKey};
use trust::{Keystore, Scope};

/// Files of keys that one page may name.
const MAX_LOCATIONS: usize = 16;

/// How keys may be looked for outside of a fetch (`rkt trust`).
#[derive(Clone, Copy)]
pub struct KeySearch<'s> {
    pub no_tls_check: bool,
    /// `--insecure-allow-http`
    pub allow_http: bool,
    pub notes: &'s dyn Notes,
}

/// URLs of the keys for a prefix: its `ac-discovery-pubkeys`.
pub fn discover_keys(prefix: &AcIdentifier, search: &KeySearch<'_>) -> Result<Vec<String>> {
    let client = search.client();
    let walk = Walk {
        client: &client,
        notes: search.notes,
        allow_http: search.allow_http,
        port: None,
        login: &|url| Request::get(url),
    };
    walk.keys(prefix)
}

/// The content of a file of keys.
pub fn download_keys(url: &str, search: &KeySearch<'_>) -> Result<Vec<u8>> {
    load(&search.client(), url, search.allow_http)
}

impl<'s> KeySearch<'s> {
    fn client(&self) -> Client<'s> {
        let options = ClientOptions {
            no_tls_check: self.no_tls_check,
            allow_http: self.allow_http,
            ..ClientOptions::default()
        };
        Client::new(options, self.notes)
    }
}

/// Keys are no secret, so no login goes out for them.
fn load(client: &Client<'_>, url: &str, allow_http: bool) -> Result<Vec<u8>> {
    if !url.starts_with("https://") && !allow_http {
        return Err(Fault::refused(format!(
            "--insecure-allow-http required for http URLs: {url:?}"
        )));
    }
    let response = client.send(&Request::get(url))?;
    if response.status != 200 {
        return Err(response.fault());
    }
    response.read(MAX_KEY as u64)
}

/// Before the first image of a name: offers the keys that its publisher names.
/// A failure is told and no more, for without a key the image is refused anyway.
pub(crate) fn offer(remote: &Remote<'_>, name: &AcIdentifier) -> Result<()> {
    let fetcher = &remote.fetcher;
    let notes = fetcher.notes;
    if check::keystore(fetcher).has_prefix_keys(name)? {
        notes.note(&format!(
            "keys already exist for prefix \"{name}\", not fetching again"
        ));
        return Ok(());
    }
    let insecure = fetcher.insecure;
    if insecure.skip_tls_check() && !insecure.skip_pubkey_check() {
        return Ok(());
    }
    let allow_http = insecure.allow_http() && insecure.skip_pubkey_check();
    if allow_http || insecure.skip_tls_check() {
        notes.note("signing keys may be downloaded from an insecure connection");
    }
    let found = walk(remote, &|walk| {
        let walk = Walk {
            allow_http,
            login: &|url| Request::get(url),
            ..*walk
        };
        walk.keys(name)
    });
    let told = |what: &str, fault: Fault| match is_interrupt(&fault) {
        true => Err(fault),
        false => {
            notes.note(&format!("{what}: {fault}"));
            Ok(())
        }
    };
    let locations = match found {
        Ok(locations) => locations,
        Err(fault) => return told("error determining key location", fault),
    };
    for location in locations.iter().take(MAX_LOCATIONS) {
        if let Err(fault) = take(remote, name, location, allow_http) {
            return told("error adding keys", fault);
        }
    }
    Ok(())
}

fn take(
    remote: &Remote<'_>,
    prefix: &AcIdentifier,
    location: &str,
    allow_http: bool,
) -> Result<()> {
    let fetcher = &remote.fetcher;
    let bytes = load(&remote.client, location, allow_http)?;
    let keys = PublicKey::parse(&bytes).map_err(|fault| fault.link(location.to_string()))?;
    let offer = Offer {
        prefix,
        location,
        keys: &keys,
        settled: fetcher.trust_keys_from_https && location.starts_with("https://"),
    };
    if !fetcher.review.trusts(&offer)? {
        return Ok(());
    }
    for key in &keys {
        let scope = Scope::Prefix(prefix.clone());
        let path = Keystore::add(fetcher.local_config, &scope, key)?;
        fetcher.review.added(prefix, &path);
    }
    Ok(())
}
