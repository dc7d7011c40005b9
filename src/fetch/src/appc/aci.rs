//! One ACI from one URL: asked for only if it may be new, its signature first,
//! and both checked while the image streams into the store.
//!
//! A server that cannot sign yet answers 202 for the signature: then the image is
//! taken down first, aside, and the signature asked for once more.

use super::check::{self, Demand, Stoppable, UNVERIFIED};
use super::remote::{Metered, Remote, fresh_until, now};
use crate::http::{Download, Expected, Request, Response};
use crate::image::about;
use model::fault::Result;
use model::{AcIdentifier, Fault, ImageId, Labels};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use store::{Fetched, Origin};
use trust::openpgp::{Check, MAX_SIGNATURE};

/// Bytes of a compressed image; larger than any disk that would hold it unpacked.
const MAX_ACI: u64 = 256 << 30;

/// What is to be fetched from where.
pub(crate) struct Wanted<'w> {
    pub image: &'w str,
    pub signature: &'w str,
    /// `--signature`.
    pub signature_file: Option<&'w str>,
    pub named: Option<(&'w AcIdentifier, &'w Labels)>,
    pub latest: bool,
}

/// An image that did not come.
pub(crate) enum Failure {
    /// It is not to be had there; it may be elsewhere.
    Absent(Fault),
    /// What is there is wrong.
    Bad(Fault),
}

impl Failure {
    pub(crate) fn fault(self) -> Fault {
        match self {
            Failure::Absent(fault) | Failure::Bad(fault) => fault,
        }
    }
}

/// A signature as far as it can be had before the image.
enum Signature {
    NotWanted,
    Here(Check),
    Deferred,
}

pub(crate) fn fetch(remote: &Remote<'_>, wanted: &Wanted<'_>) -> Result<ImageId, Failure> {
    let fetcher = &remote.fetcher;
    let known = fetcher.store.fetched(wanted.image).map_err(Failure::Bad)?;
    // What came from the URL under another name, or as a URL, is not this image.
    let is_named = |known: &Fetched| match wanted.named {
        Some((name, labels)) if !fetcher.insecure.skip_image_check() => {
            check::check_named(&known.record, name, labels).is_ok()
        }
        _ => true,
    };
    let known = known.filter(is_named);
    if let Some(known) = &known
        && known.fresh_until.is_some_and(|until| until > now())
    {
        fetcher.notes.debug(&format!(
            "image for {} isn't expired, not fetching.",
            wanted.image
        ));
        return Ok(known.record.id.clone());
    }
    fetcher
        .notes
        .debug(&format!("fetching image from {}", wanted.image));
    let request = plain(remote.request(wanted.image).map_err(Failure::Bad)?);
    let mut opened = None;
    if let Some(known) = &known
        && let Some(etag) = &known.etag
    {
        let asked = request.clone().header("If-None-Match", etag);
        let response = remote.client.send(&asked).map_err(Failure::Absent)?;
        if response.status == 304 {
            let etag = response.header("ETag").unwrap_or(etag);
            let until = fresh_until(&response, now());
            fetcher
                .store
                .refresh(wanted.image, Some(etag), until)
                .map_err(Failure::Bad)?;
            return Ok(known.record.id.clone());
        }
        opened = Some(response);
    }
    let signature = first_signature(remote, wanted)?;
    let response = match opened {
        Some(response) => response,
        None => remote.client.send(&request).map_err(Failure::Absent)?,
    };
    if response.status != 200 {
        return Err(Failure::Absent(response.fault()));
    }
    import(remote, wanted, &request, response, signature)
}

/// Http will do: what comes is checked by its signature, or whoever asked does
/// not want a check.
fn plain(request: Request) -> Request {
    Request {
        plain_http_ok: true,
        ..request
    }
}

fn first_signature(remote: &Remote<'_>, wanted: &Wanted<'_>) -> Result<Signature, Failure> {
    let fetcher = &remote.fetcher;
    if fetcher.insecure.skip_image_check() {
        return Ok(Signature::NotWanted);
    }
    let check = match wanted.signature_file {
        Some(path) => check::signature_file(Path::new(path)).map_err(Failure::Bad)?,
        None => match download_signature(remote, wanted.signature)? {
            Some(check) => check,
            None => {
                fetcher
                    .notes
                    .debug("server requested deferring the signature download");
                return Ok(Signature::Deferred);
            }
        },
    };
    if let Some((name, _)) = wanted.named {
        check::expect_signer(fetcher, &check, name).map_err(Failure::Bad)?;
    }
    Ok(Signature::Here(check))
}

/// `None`: the server asks to come back when the image was fetched.
fn download_signature(remote: &Remote<'_>, url: &str) -> Result<Option<Check>, Failure> {
    let notes = remote.fetcher.notes;
    notes.debug(&format!("downloading signature from {url}"));
    let request = plain(remote.request(url).map_err(Failure::Bad)?);
    let response = remote.client.send(&request).map_err(Failure::Absent)?;
    match response.status {
        202 => return Ok(None),
        200 => {}
        _ => {
            let mut fault = response
                .fault()
                .link("error downloading the signature file");
            fault.hint = Some(format!("there is no signature for the image; {UNVERIFIED}"));
            return Err(Failure::Absent(fault));
        }
    }
    let total = length(&response);
    let mut bar = remote
        .fetcher
        .progress
        .begin("Downloading signature", total);
    let bytes = response.read(MAX_SIGNATURE as u64).map_err(Failure::Bad)?;
    bar.advance(bytes.len() as u64);
    bar.finish();
    check::signature(&bytes, &url)
        .map(Some)
        .map_err(Failure::Bad)
}

fn length(response: &Response) -> Option<u64> {
    response.header("Content-Length")?.parse().ok()
}

fn import(
    remote: &Remote<'_>,
    wanted: &Wanted<'_>,
    request: &Request,
    response: Response,
    signature: Signature,
) -> Result<ImageId, Failure> {
    let fetcher = &remote.fetcher;
    let origin = Origin {
        url: Some(wanted.image.to_string()),
        latest: wanted.latest,
        etag: response.header("ETag").map(str::to_string),
        fresh_until: fresh_until(&response, now()),
        ..Origin::default()
    };
    let expected = Expected {
        max: MAX_ACI,
        ..Expected::default()
    };
    let download = remote
        .client
        .stream(request, response, &expected)
        .map_err(Failure::Absent)?;
    let mut body = shown(remote, download);
    let taken = match signature {
        Signature::NotWanted => check::take_in(fetcher, &mut body, &origin, Demand::NOTHING),
        Signature::Here(check) => {
            let demand = Demand {
                check: Some(check),
                named: wanted.named,
            };
            check::take_in(fetcher, &mut body, &origin, demand)
        }
        Signature::Deferred => deferred(remote, wanted, &mut body, &origin),
    };
    taken.map_err(|fault| Failure::Bad(about(fault, "", wanted.image)))
}

fn shown<'r>(remote: &'r Remote<'_>, download: Download) -> Metered<'r, Download> {
    Metered {
        bar: remote
            .fetcher
            .progress
            .begin("Downloading ACI", download.total),
        source: download,
    }
}

fn deferred(
    remote: &Remote<'_>,
    wanted: &Wanted<'_>,
    body: &mut dyn Read,
    origin: &Origin,
) -> Result<ImageId> {
    let fetcher = &remote.fetcher;
    let mut aside = fetcher.store.aside()?;
    let kept = std::io::copy(body, &mut aside).and_then(|_| aside.seek(SeekFrom::Start(0)));
    kept.map_err(|err| fault_within(err, wanted.image))?;
    let check = download_signature(remote, wanted.signature)
        .map_err(Failure::fault)?
        .ok_or_else(|| {
            Fault::refused(format!(
                "error downloading the signature file from {:?}: server asked to defer the \
                 download again",
                wanted.signature
            ))
            .hint(UNVERIFIED)
        })?;
    if let Some((name, _)) = wanted.named {
        check::expect_signer(fetcher, &check, name)?;
    }
    let demand = Demand {
        check: Some(check),
        named: wanted.named,
    };
    check::take_in(fetcher, &mut Stoppable(aside), origin, demand)
}

/// The fault that travelled inside of an `io::Error`, or one made of it.
pub(crate) fn fault_within(err: std::io::Error, what: &str) -> Fault {
    let inner = err
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Fault>())
        .cloned();
    inner.unwrap_or_else(|| Fault::io("download", what, err))
}
