//! `rkt trust`: keys into the keystore, after somebody has looked at their
//! fingerprints.
//!
//! Keys come from files, from URLs, or from wherever the prefix's own site says
//! they are. They are written below the local configuration directory, one file
//! each.

use crate::env::{Env, Line, Sink};
use crate::review::describe;
use model::fault::{Fault, Result};
use model::text::quote;
use model::{AcIdentifier, Context};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use trust::openpgp::{self, PublicKey};
use trust::{Keystore, Scope, cosign};

/// What the command line asks for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Files and URLs; none: discovery.
    pub keys: Vec<String>,
    /// Empty for none.
    pub prefix: String,
    pub root: bool,
    pub skip_fingerprint_review: bool,
    pub insecure_allow_http: bool,
}

/// Trusts OpenPGP keys for a prefix, or for all images.
pub fn trust(env: &Env, request: &Request, sink: Sink<'_>) -> Result<()> {
    if request.root && !request.prefix.is_empty() {
        return Err(Fault::usage("--root and --prefix usage mutually exclusive"));
    }
    need_keystore(env)?;
    let scope = scope(request)?;
    let found;
    let locations = match request.keys.as_slice() {
        [] => {
            found = discover(env, request, &scope)
                .message(|| "error determining key location".into())?;
            &found
        }
        given => given,
    };
    for location in locations {
        add(env, request, &scope, location, sink).message(|| "error adding keys".into())?;
    }
    Ok(())
}

/// Trusts a key of cosign for a registry, or repositories of one.
pub fn trust_cosign(env: &Env, file: &Path, prefix: &str, sink: Sink<'_>) -> Result<()> {
    need_keystore(env)?;
    if let Some((scheme, _)) = prefix.split_once("://") {
        return Err(no_scheme(scheme));
    }
    let prefix = cosign::prefix(prefix)?;
    let key = read(file, cosign::MAX_KEY)
        .and_then(|bytes| cosign::PublicKey::parse_pem(&bytes))
        .message(|| "error adding keys".into())?;
    let location = file.display();
    env.note(
        "pubkey",
        &format!("prefix: \"{prefix}\"\nkey: \"{location}\""),
    );
    sink(Line::Out(format!(
        "cosign key fingerprint is: SHA256 {}",
        key.fingerprint()
    )));
    let path = Keystore::add_cosign(&env.local_config, &prefix, &key)
        .map_err(advise)
        .message(|| "error adding keys".into())?;
    sink(Line::Out(format!(
        "Added cosign key for prefix \"{prefix}\" at \"{}\"",
        path.display()
    )));
    Ok(())
}

fn need_keystore(env: &Env) -> Result<()> {
    match env.insecure.skip_image_check() {
        true => Err(Fault::refused("could not get the keystore")),
        false => Ok(()),
    }
}

fn scope(request: &Request) -> Result<Scope> {
    if request.root {
        return Ok(Scope::Root);
    }
    if let Some((scheme, _)) = request.prefix.split_once("://") {
        return Err(no_scheme(scheme));
    }
    // 1.30 finds a bad prefix only when it stores the key.
    let prefix = AcIdentifier::new(&request.prefix).message(|| "error adding keys".into())?;
    Ok(Scope::Prefix(prefix))
}

fn no_scheme(scheme: &str) -> Fault {
    Fault::usage(format!(
        "--prefix must not contain a URL scheme, omit {scheme}://"
    ))
}

fn add(env: &Env, request: &Request, scope: &Scope, location: &str, sink: Sink<'_>) -> Result<()> {
    let accessing = || format!("error accessing the key {location}");
    let bytes = load(env, request, location).link(accessing)?;
    let keys = PublicKey::parse(&bytes)
        .map_err(|fault| fault.link(format!("error displaying the key {location}")))?;
    let prefix = &request.prefix;
    env.note(
        "pubkey",
        &format!("prefix: \"{prefix}\"\nkey: \"{location}\""),
    );
    for key in &keys {
        sink(Line::Out(describe(key)));
        if let Some(why) = key.refusal(now()) {
            let text = format!("{why}: its signatures will be refused");
            env.note("pubkey", &text);
        }
    }
    let how = match settled(env, request, location) {
        true => "without",
        false if confirmed(env, prefix)? => "after",
        false => {
            env.note("pubkey", &format!("not trusting \"{location}\""));
            return Ok(());
        }
    };
    sink(Line::Out(format!(
        "Trusting \"{location}\" for prefix \"{prefix}\" {how} fingerprint review."
    )));
    for key in &keys {
        let path = Keystore::add(&env.local_config, scope, key).map_err(advise)?;
        sink(Line::Out(added(scope, &path)));
    }
    Ok(())
}

fn added(scope: &Scope, path: &Path) -> String {
    let path = path.display();
    match scope {
        Scope::Root => format!("Added root key at \"{path}\""),
        Scope::Prefix(prefix) => format!("Added key for prefix \"{prefix}\" at \"{path}\""),
    }
}

/// Whether nobody has to be asked.
fn settled(env: &Env, request: &Request, location: &str) -> bool {
    let from_https = env.trust_keys_from_https && location.starts_with("https://");
    request.skip_fingerprint_review || from_https
}

fn confirmed(env: &Env, prefix: &str) -> Result<bool> {
    crate::review::confirmed(env, prefix).map_err(|fault| {
        fault.hint("compare the fingerprint yourself, then use --skip-fingerprint-review")
    })
}

fn advise(fault: Fault) -> Fault {
    match fault.errno() {
        Some(errno) if errno == rustix::io::Errno::ACCESS.raw_os_error() => {
            fault.hint("run as root, or name a directory of your own by --local-config")
        }
        _ => fault,
    }
}

fn load(env: &Env, request: &Request, location: &str) -> Result<Vec<u8>> {
    match location.split_once("://") {
        None => read(&PathBuf::from(location), openpgp::MAX_KEY),
        Some(("https", _)) => download(env, request, location),
        Some(("http", _)) if request.insecure_allow_http => download(env, request, location),
        Some(("http", _)) => Err(Fault::refused(
            "--insecure-allow-http required for http URLs",
        )),
        Some(_) => Err(Fault::usage(
            "only local files and http or https URLs supported",
        )),
    }
}

fn read(path: &Path, max: usize) -> Result<Vec<u8>> {
    let failed = |e| Fault::io("open", path.display(), e);
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(max as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Fault::io("read", path.display(), e))?;
    if bytes.len() > max {
        return Err(Fault::invalid(format!(
            "{} is larger than {max} bytes: no key",
            quote(&path.to_string_lossy())
        )));
    }
    Ok(bytes)
}

fn discover(env: &Env, request: &Request, scope: &Scope) -> Result<Vec<String>> {
    match scope {
        Scope::Root => Err(Fault::usage("empty prefix")),
        Scope::Prefix(prefix) => discover_at(env, request, prefix),
    }
}

#[cfg(feature = "fetch")]
fn discover_at(env: &Env, request: &Request, prefix: &AcIdentifier) -> Result<Vec<String>> {
    let remarks = crate::fetch::Remarks(env);
    ::fetch::appc::discover_keys(prefix, &search(env, request, &remarks))
}

#[cfg(feature = "fetch")]
fn download(env: &Env, request: &Request, url: &str) -> Result<Vec<u8>> {
    let remarks = crate::fetch::Remarks(env);
    ::fetch::appc::download_keys(url, &search(env, request, &remarks))
}

#[cfg(feature = "fetch")]
fn search<'s>(
    env: &Env,
    request: &Request,
    notes: &'s dyn ::fetch::Notes,
) -> ::fetch::appc::KeySearch<'s> {
    ::fetch::appc::KeySearch {
        no_tls_check: env.insecure.skip_tls_check(),
        allow_http: request.insecure_allow_http,
        notes,
    }
}

#[cfg(not(feature = "fetch"))]
fn discover_at(_: &Env, _: &Request, _: &AcIdentifier) -> Result<Vec<String>> {
    Err(offline())
}

#[cfg(not(feature = "fetch"))]
fn download(_: &Env, _: &Request, _: &str) -> Result<Vec<u8>> {
    Err(offline())
}

#[cfg(not(feature = "fetch"))]
fn offline() -> Fault {
    Fault::unsupported("this build has no network").hint("give the key as a file")
}

fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |age| age.as_secs())
}
