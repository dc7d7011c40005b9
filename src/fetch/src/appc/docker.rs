//! What makes an image of a registry trusted: the digest by which it was asked
//! for, or a signature by a cosign key that its repository has in the keystore.
//!
//! Where there is such a key its signature is required, of pinned images too.
//! `--insecure-options=image` asks for neither.

use super::check::keystore;
use super::remote::Remote;
use crate::Fetcher;
use crate::image::about;
use crate::registry::{Options, Pull, Registry, Resolved};
use model::docker::DockerReference;
use model::fault::Result;
use model::oci::Platform;
use model::{Fault, ImageId};
use trust::cosign::{self, Image};

/// `typed` is what the user wrote behind `docker://`, `url` what the store knows
/// the image by.
pub(crate) fn fetch(
    fetcher: &Fetcher<'_>,
    reference: &DockerReference,
    typed: &str,
    url: &str,
) -> Result<ImageId> {
    pull(fetcher, reference, typed, url).map_err(|fault| about(fault, "", url))
}

fn pull(
    fetcher: &Fetcher<'_>,
    reference: &DockerReference,
    typed: &str,
    url: &str,
) -> Result<ImageId> {
    let repository = format!("{}/{}", reference.domain, reference.path);
    let keys = required_keys(fetcher, &repository)?;
    if keys.is_none() && reference.digest.is_none() && !fetcher.insecure.skip_image_check() {
        return Err(unsigned(url));
    }
    super::online::warn(fetcher);
    fetcher
        .notes
        .debug(&format!("remote fetching from URL \"{url}\""));
    let remote = Remote::new(fetcher)?;
    let options = Options {
        allow_http: fetcher.insecure.allow_http(),
        foreign_layers: false,
    };
    let registry = Registry::new(
        reference.registry(),
        &remote.client,
        &remote.logins,
        fetcher.notes,
        options,
    );
    let resolved = registry.resolve(reference, &Platform::host(std::env::consts::ARCH))?;
    if let Some(keys) = keys {
        verify(fetcher, &registry, reference, &repository, &keys, &resolved)?;
    }
    let pull = Pull {
        reference,
        typed,
        url,
    };
    let record = registry.pull(fetcher.store, &pull, &resolved, fetcher.progress)?;
    Ok(record.id)
}

/// `None`: no key was ever given for the repository.
fn required_keys(fetcher: &Fetcher<'_>, repository: &str) -> Result<Option<cosign::Keys>> {
    if fetcher.insecure.skip_image_check() {
        return Ok(None);
    }
    let keys = keystore(fetcher).cosign_keys(repository)?;
    for note in &keys.notes {
        fetcher.notes.note(note);
    }
    Ok(keys.required.then_some(keys))
}

fn unsigned(url: &str) -> Fault {
    Fault::refused(
        "signature verification for docker images is not supported (try --insecure-options=image)",
    )
    .hint(format!(
        "{url} is a tag, which may mean another image tomorrow: name the image by its digest \
         (@sha256:…), or trust the key of who signs it (rkt trust --cosign)"
    ))
}

/// A signature of the index speaks for the image that was chosen from it; one of
/// the image's own manifest does so as well.
fn verify(
    fetcher: &Fetcher<'_>,
    registry: &Registry<'_>,
    reference: &DockerReference,
    repository: &str,
    keys: &cosign::Keys,
    resolved: &Resolved,
) -> Result<()> {
    let mut failed = None;
    let both = [&resolved.digest, &resolved.manifest_digest];
    let tried = match resolved.digest == resolved.manifest_digest {
        true => &both[..1],
        false => &both[..],
    };
    for digest in tried {
        let candidates = registry.signatures(&reference.path, digest)?;
        let served = registry.manifest(&reference.path, digest.as_str())?;
        let image = Image {
            digest,
            manifest: &served.bytes,
            repository,
        };
        match cosign::verify(keys, image, &candidates) {
            Ok(key) => {
                let key = key.fingerprint();
                fetcher
                    .notes
                    .note(&format!("signature verified:\n  cosign key {key}"));
                return Ok(());
            }
            Err(fault) => {
                failed.get_or_insert(fault);
            }
        }
    }
    let fault = failed.expect("a digest was tried");
    Err(fault.message(format!("image \"{repository}\" verification failed")))
}
