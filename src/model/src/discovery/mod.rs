//! appc discovery as text: which URLs an image name may stand for, and what a
//! page's meta tags say.
//!
//! Names and untrusted html in, lists of URLs out, the best first. Fetching is
//! done elsewhere.

mod html;
mod template;

pub use html::{MAX_PAGE, Page};
pub use template::{Endpoint, render};

use crate::label::Labels;
use crate::name::AcIdentifier;

/// Most names to ask; each costs two requests.
const MAX_PREFIXES: usize = 32;

/// The names to ask, one after the other: the whole name, then its parents, down
/// to the host. Of a very deep name the parents in the middle are left out.
pub fn prefixes(name: &AcIdentifier) -> Vec<&str> {
    let text = name.as_str();
    let mut list = vec![text];
    let parents = text.rmatch_indices('/').map(|(at, _)| &text[..at]);
    list.extend(parents.filter(|parent| !parent.ends_with('/')));
    let host = list.pop();
    list.truncate(MAX_PREFIXES - 1);
    list.extend(host);
    list
}

/// `https://example.com/app?ac-discovery=1`. `scheme` is `https`, or `http` where
/// the user allows it; `port` stands behind the host.
pub fn page_url(scheme: &str, prefix: &str, port: Option<u16>) -> String {
    let (host, path) = prefix
        .find('/')
        .map_or((prefix, ""), |at| prefix.split_at(at));
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    format!("{scheme}://{host}{port}{path}?ac-discovery=1")
}

/// Simple discovery, which came before meta tags: the URL that follows from the
/// name alone. `None` without the labels `os` and `arch`.
pub fn simple(scheme: &str, name: &AcIdentifier, labels: &Labels) -> Option<Endpoint> {
    let template = format!("{scheme}://{{name}}-{{version}}-{{os}}-{{arch}}.{{ext}}");
    Endpoint::of(&template, name, labels)
}

#[cfg(test)]
mod tests;
