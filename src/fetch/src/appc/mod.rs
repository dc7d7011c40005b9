//! Where an image that is not in the store comes from: a file, a URL, discovery
//! by its name, a registry.
//!
//! A build without the feature `http` has the files alone, and says so.

#[cfg(feature = "http")]
mod aci;
pub(crate) mod archive;
mod check;
#[cfg(feature = "http")]
mod docker;
pub(crate) mod file;
#[cfg(feature = "http")]
mod keys;
#[cfg(feature = "http")]
mod name;
mod offer;
#[cfg(feature = "http")]
mod remote;
#[cfg(all(test, feature = "http", feature = "trust"))]
mod tests;
#[cfg(feature = "http")]
mod walk;

#[cfg(feature = "http")]
pub(crate) use docker::fetch as docker;
#[cfg(feature = "http")]
pub use keys::{KeySearch, discover_keys, download_keys};
pub use offer::{Offer, Review};
#[cfg(feature = "http")]
pub(crate) use online::{by_name, by_url};

#[cfg(not(feature = "http"))]
pub(crate) use offline::{by_name, by_url, docker};

#[cfg(feature = "http")]
mod online {
    use super::aci::{self, Failure, Wanted};
    use super::name;
    use super::remote::Remote;
    use crate::Fetcher;
    use model::fault::Result;
    use model::{AcIdentifier, ImageId, Labels};

    pub(crate) fn by_url(
        fetcher: &Fetcher<'_>,
        url: &str,
        signature_file: Option<&str>,
    ) -> Result<ImageId> {
        warn(fetcher);
        fetcher
            .notes
            .debug(&format!("remote fetching from URL \"{url}\""));
        let wanted = Wanted {
            image: url,
            signature: &signature_url(url),
            signature_file,
            named: None,
            latest: false,
        };
        aci::fetch(&Remote::hasty(fetcher)?, &wanted).map_err(Failure::fault)
    }

    /// `…/x.aci?token=1` is signed by `…/x.aci.asc?token=1`.
    pub(super) fn signature_url(url: &str) -> String {
        let end = url.find(['?', '#']).unwrap_or(url.len());
        let (path, rest) = url.split_at(end);
        format!("{path}.asc{rest}")
    }

    pub(crate) fn by_name(
        fetcher: &Fetcher<'_>,
        _: &str,
        name: &AcIdentifier,
        labels: &Labels,
        signature_file: Option<&str>,
    ) -> Result<ImageId> {
        warn(fetcher);
        name::fetch(&Remote::hasty(fetcher)?, name, labels, signature_file)
    }

    /// A signature makes up for an unsafe way, but somebody should know.
    pub(super) fn warn(fetcher: &Fetcher<'_>) {
        let insecure = fetcher.insecure;
        if insecure.skip_tls_check() && !insecure.skip_image_check() {
            fetcher
                .notes
                .note("warning: TLS verification has been disabled");
        }
    }
}

#[cfg(not(feature = "http"))]
mod offline {
    use crate::Fetcher;
    use model::docker::DockerReference;
    use model::fault::Result;
    use model::{AcIdentifier, Fault, ImageId, Labels};

    pub(crate) fn by_url(_: &Fetcher<'_>, url: &str, _: Option<&str>) -> Result<ImageId> {
        Err(absent(url))
    }

    pub(crate) fn docker(
        _: &Fetcher<'_>,
        _: &DockerReference,
        _: &str,
        url: &str,
    ) -> Result<ImageId> {
        Err(absent(url))
    }

    pub(crate) fn by_name(
        _: &Fetcher<'_>,
        word: &str,
        _: &AcIdentifier,
        _: &Labels,
        _: Option<&str>,
    ) -> Result<ImageId> {
        Err(absent(word))
    }

    fn absent(what: &str) -> Fault {
        Fault::unsupported(format!(
            "cannot fetch \"{what}\": this build of rkt has no network fetching"
        ))
        .hint(
            "fetch a local file (rkt fetch ./image.aci); \"rkt image list\" shows what is in the \
             store",
        )
    }
}
