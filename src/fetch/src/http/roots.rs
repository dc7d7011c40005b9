//! Which certificate authorities are believed, and where they come from.
//!
//! `SSL_CERT_FILE` and `SSL_CERT_DIR` where set, and then nothing else; the first
//! of the files that distributions keep; at last the list of Mozilla that is built
//! in. PEM text, parsed once and only when https is used.

use super::Environment;
use model::fault::{Fault, Result};
use std::path::Path;
use ureq::tls::{Certificate, PemItem, RootCerts, parse_pem};

/// Debian and Alpine, Fedora, SUSE, RHEL, Alpine, OpenBSD's name.
const SYSTEM: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/cacert.pem",
];

/// No bundle comes near it; Mozilla's has 220 KB.
const MAX: u64 = 16 << 20;

/// Where the roots come from, in words for `rkt doctor`; a fault where a
/// variable names what cannot be used.
pub fn roots_source() -> Result<String> {
    load(&Environment::read()).map(|(_, source)| source)
}

pub(super) fn load(environment: &Environment) -> Result<(RootCerts, String)> {
    let mut certs = Vec::new();
    let mut sources = Vec::new();
    if let Some(file) = &environment.cert_file {
        let found =
            read(file).map_err(|err| Fault::io("read SSL_CERT_FILE", file.display(), err))?;
        if found.is_empty() {
            let file = file.display();
            return Err(Fault::invalid(format!("no certificate in {file}"))
                .hint("SSL_CERT_FILE is to name a file of PEM certificates"));
        }
        certs.extend(found);
        sources.push(format!("{} (SSL_CERT_FILE)", file.display()));
    }
    if let Some(dirs) = &environment.cert_dir {
        for dir in std::env::split_paths(dirs) {
            let entries = std::fs::read_dir(&dir)
                .map_err(|err| Fault::io("read SSL_CERT_DIR", dir.display(), err))?;
            let mut names: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
            names.sort();
            // Such a directory also holds what is no certificate.
            certs.extend(names.iter().filter_map(|name| read(name).ok()).flatten());
            sources.push(format!("{} (SSL_CERT_DIR)", dir.display()));
        }
    }
    if sources.is_empty() {
        for file in SYSTEM {
            certs = read(Path::new(file)).unwrap_or_default();
            if !certs.is_empty() {
                sources.push(file.to_string());
                break;
            }
        }
    }
    if sources.is_empty() {
        return Ok((RootCerts::WebPki, "built in (Mozilla's list)".to_string()));
    }
    let source = format!("{}: {} certificates", sources.join(", "), certs.len());
    Ok((RootCerts::new_with_certs(&certs), source))
}

fn read(file: &Path) -> std::io::Result<Vec<Certificate<'static>>> {
    use std::io::Read;
    // Not a pipe: that would wait for a writer.
    if !std::fs::metadata(file)?.is_file() {
        return Err(std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            "not a plain file",
        ));
    }
    let mut text = Vec::new();
    std::fs::File::open(file)?
        .take(MAX)
        .read_to_end(&mut text)?;
    Ok(parse_pem(&text)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(cert)) => Some(cert),
            _ => None,
        })
        .collect())
}
