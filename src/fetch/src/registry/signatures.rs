//! What cosign attached to an image: collected here, judged by `trust::cosign`.
//!
//! Three forms are looked for: the tag `sha256-….sig`, referrers of the manifest
//! that hold the same layers, and referrers that hold a sigstore bundle. What is
//! broken or too large is passed over: one good signature is what matters, and
//! none is what a broken one amounts to.

use super::Registry;
use super::manifest::Served;
use model::Digest;
use model::fault::{Fault, Kind, Result};
use model::oci::{Descriptor, Document, Index, MAX_DOCUMENT, Manifest, media};
use trust::cosign::{BUNDLE, Candidate, MAX_CANDIDATES, MAX_PAYLOAD};
use trust::cosign::{SIGNATURE_ANNOTATION, SIMPLE_SIGNING};

/// Pages of the referrers API that are read.
const MAX_PAGES: usize = 8;
/// Referrers that are looked into; attestations and SBOMs are among them.
const MAX_REFERRERS: usize = 64;

impl Registry<'_> {
    /// All that may be a signature of the manifest or index `digest`.
    pub fn signatures(&self, repository: &str, digest: &Digest) -> Result<Vec<Candidate>> {
        let mut found = Vec::new();
        let tag = format!("{}.sig", digest.file_name());
        if let Some(served) = self.if_there(self.manifest(repository, &tag))?
            && let Ok(Document::Manifest(manifest)) = parse(&served)
        {
            self.collect(repository, &manifest, &mut found)?;
        }
        for referrer in self.referrers(repository, digest)? {
            if found.len() >= MAX_CANDIDATES {
                break;
            }
            let Some(served) = self.if_there(self.pointed_at(repository, &referrer))? else {
                continue;
            };
            // What refers to something else was listed by mistake, or by malice.
            if let Ok(Document::Manifest(manifest)) = parse(&served)
                && manifest
                    .subject
                    .as_ref()
                    .is_some_and(|to| to.digest == *digest)
            {
                self.collect(repository, &manifest, &mut found)?;
            }
        }
        Ok(found)
    }

    /// The layers of one manifest that are signatures.
    fn collect(
        &self,
        repository: &str,
        manifest: &Manifest,
        found: &mut Vec<Candidate>,
    ) -> Result<()> {
        for layer in &manifest.layers {
            if found.len() >= MAX_CANDIDATES {
                return Ok(());
            }
            let simple = media::essence(&layer.media_type) == SIMPLE_SIGNING;
            if !simple && !is_bundle(&layer.media_type) {
                continue;
            }
            let blob = self.small_blob(repository, "signature", layer, MAX_PAYLOAD as u64);
            let Some(bytes) = self.if_there(blob)? else {
                continue;
            };
            if !simple {
                found.push(Candidate::Bundle(bytes));
            } else if let Some(signature) = layer.annotation(SIGNATURE_ANNOTATION) {
                found.push(Candidate::Simple {
                    payload: bytes,
                    signature: signature.to_string(),
                });
            }
        }
        Ok(())
    }

    /// What names `digest` as its subject, by the API or by the tag that stands
    /// in for it; only what may be a signature.
    fn referrers(&self, repository: &str, digest: &Digest) -> Result<Vec<Descriptor>> {
        let mut all = Vec::new();
        let mut path = format!("referrers/{digest}");
        for _ in 0..MAX_PAGES {
            let (_, response) = self.get(repository, &path, media::OCI_INDEX)?;
            if response.status != 200 {
                // 404 by the standard; older registries know other ways to say no.
                if matches!(response.status, 400 | 404 | 405) {
                    break;
                }
                return Err(response.fault());
            }
            let next = response.header("Link").and_then(next_page);
            let bytes = response.read(MAX_DOCUMENT as u64)?;
            match Document::parse(Some(media::OCI_INDEX), &bytes) {
                Ok(Document::Index(index)) => signatures_of(index, &mut all),
                // Some old registries answer 200 with a page of their own.
                _ => break,
            }
            match next.and_then(|query| page(digest, &query)) {
                Some(next) if all.len() < MAX_REFERRERS => path = next,
                _ => return Ok(all),
            }
        }
        if all.is_empty()
            && let Some(served) = self.if_there(self.manifest(repository, &digest.file_name()))?
            && let Ok(Document::Index(index)) = parse(&served)
        {
            signatures_of(index, &mut all);
        }
        Ok(all)
    }

    /// `None` for what is missing or malformed; only a failure to reach the
    /// registry counts.
    fn if_there<T>(&self, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(found) => Ok(Some(found)),
            Err(fault) => match fault.kind {
                Kind::NotFound | Kind::Invalid | Kind::Unsupported => {
                    self.notes.debug(&format!("no signature: {fault}"));
                    Ok(None)
                }
                _ => Err(fault),
            },
        }
    }
}

fn parse(served: &Served) -> Result<Document, Fault> {
    Document::parse(served.media_type.as_deref(), &served.bytes)
}

fn signatures_of(index: Index, all: &mut Vec<Descriptor>) {
    let may_be = |entry: &Descriptor| match entry.artifact_type.as_deref() {
        // Without a type only the manifest itself can tell.
        None => true,
        Some(kind) => is_bundle(kind) || kind.starts_with("application/vnd.dev.cosign."),
    };
    let left = MAX_REFERRERS.saturating_sub(all.len());
    all.extend(index.manifests.into_iter().filter(may_be).take(left));
}

/// Of any version: what it holds is checked, not what it is called.
fn is_bundle(media_type: &str) -> bool {
    let bare = media::essence(media_type);
    bare == BUNDLE || bare.starts_with("application/vnd.dev.sigstore.bundle")
}

/// The query of the page that follows, from `<url>; rel="next"`.
fn next_page(link: &str) -> Option<String> {
    let (url, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    let next = rest.split([';', ',']).any(|word| {
        let word = word.trim().to_ascii_lowercase();
        word == "rel=next" || word == "rel=\"next\""
    });
    let (_, query) = url.split_once('?')?;
    next.then(|| query.to_string())
}

/// The path of a page. Only the query is the server's, so that it cannot lead
/// to another place.
fn page(digest: &Digest, query: &str) -> Option<String> {
    let plain = query.len() <= 2048 && query.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    plain.then(|| format!("referrers/{digest}?{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_a_query_and_nothing_else() {
        for (link, want) in [
            (
                "</v2/a/referrers/x?n=2&last=y>; rel=\"next\"",
                Some("n=2&last=y"),
            ),
            ("<https://evil.test/?n=2>; rel=next", Some("n=2")),
            ("<?a=b>; title=x; rel=\"Next\"", Some("a=b")),
            ("</x?n=2>; rel=\"prev\"", None),
            ("</x>; rel=\"next\"", None),
            ("/x?n=2; rel=\"next\"", None),
            ("", None),
        ] {
            assert_eq!(next_page(link).as_deref(), want, "{link}");
        }
        let digest = Digest::parse(&format!("sha256:{}", "0".repeat(64))).expect("a digest");
        assert!(page(&digest, "a b").is_none() && page(&digest, "a#b").is_none());
    }
}
