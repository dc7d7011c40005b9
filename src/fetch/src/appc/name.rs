//! An image by its name: discovery says where it may be, and the places are tried
//! in order until one has it.

use super::aci::{self, Failure, Wanted};
use super::keys;
use super::remote::Remote;
use super::walk::{Walk, is_interrupt};
use crate::http::Request;
use model::discovery::Endpoint;
use model::fault::Result;
use model::{AcIdentifier, Fault, ImageId, Labels};

pub(crate) fn fetch(
    remote: &Remote<'_>,
    name: &AcIdentifier,
    labels: &Labels,
    signature_file: Option<&str>,
) -> Result<ImageId> {
    let fetcher = &remote.fetcher;
    fetcher
        .notes
        .debug(&format!("searching for app image {name}"));
    if !fetcher.insecure.skip_image_check() {
        keys::offer(remote, name)?;
    }
    let places = walk(remote, &|walk| walk.places(name, labels))?;
    // Of pages' words the first is the one that the publisher prefers.
    let mut why = places.otherwise;
    for Endpoint { image, signature } in &places.endpoints {
        fetcher
            .notes
            .debug(&format!("remote fetching from URL \"{image}\""));
        let wanted = Wanted {
            image,
            signature,
            signature_file,
            named: Some((name, labels)),
            latest: labels.get("version").is_none(),
        };
        match aci::fetch(remote, &wanted) {
            Err(Failure::Absent(fault)) if !is_interrupt(&fault) => {
                fetcher
                    .notes
                    .debug(&format!("not found at {image}: {fault}"));
                why.get_or_insert(fault);
            }
            other => return other.map_err(Failure::fault),
        }
    }
    Err(why.unwrap_or_else(|| Fault::not_found("discovery failed")))
}

/// Walks with the logins and rights of this fetch.
pub(crate) fn walk<T>(remote: &Remote<'_>, work: &dyn Fn(&Walk<'_>) -> T) -> T {
    work(&Walk {
        client: &remote.client,
        notes: remote.fetcher.notes,
        allow_http: remote.fetcher.insecure.allow_http(),
        port: remote.port,
        // Pages go without a login that signs each request: nobody expects it there.
        login: &|url| remote.request(url).unwrap_or_else(|_| Request::get(url)),
    })
}
