//! The walk of discovery: pages of the name and of its parents, down to the host,
//! until one says something about the name.
//!
//! https alone; plain http after it where the user allows that. What goes wrong on
//! the way is for `--debug` and for the hint of the last failure.

use crate::Notes;
use crate::http::{Client, Request};
use model::discovery::{Endpoint, Page, page_url, prefixes, simple};
use model::fault::Result;
use model::{AcIdentifier, Fault, Labels};

/// A page is text for browsers; the meta tags stand at its top.
const MAX_PAGE: u64 = 4 << 20;

/// Who asks, and how.
#[derive(Clone, Copy)]
pub(crate) struct Walk<'w> {
    pub client: &'w Client<'w>,
    pub notes: &'w dyn Notes,
    /// Plain http is asked where https fails.
    pub allow_http: bool,
    /// Behind the host, if not the scheme's own.
    pub port: Option<u16>,
    /// Adds a login to the request for a page.
    pub login: &'w dyn Fn(&str) -> Request,
}

/// Where to look.
pub(crate) struct Places {
    pub endpoints: Vec<Endpoint>,
    /// Pages said nothing, so these are guesses; this is what to say if they fail.
    pub otherwise: Option<Fault>,
}

impl Walk<'_> {
    /// Where the image may be, the best first: what the first page with a fitting
    /// tag says, else what follows from the name alone.
    pub(crate) fn places(&self, name: &AcIdentifier, labels: &Labels) -> Result<Places> {
        match self.first(name, "ac-discovery", |page| page.endpoints(name, labels)) {
            Ok(endpoints) => Ok(Places {
                endpoints,
                otherwise: None,
            }),
            Err(fault) if is_interrupt(&fault) => Err(fault),
            Err(fault) => Ok(Places {
                endpoints: self.guessed(name, labels),
                otherwise: Some(fault),
            }),
        }
    }

    /// A name without a path would become the name of a host.
    fn guessed(&self, name: &AcIdentifier, labels: &Labels) -> Vec<Endpoint> {
        if !name.as_str().contains('/') || self.port.is_some() {
            return Vec::new();
        }
        let plain = self.allow_http.then(|| simple("http", name, labels));
        let all = [simple("https", name, labels), plain.flatten()];
        all.into_iter().flatten().collect()
    }

    /// URLs of the keys that sign images of the name.
    pub(crate) fn keys(&self, name: &AcIdentifier) -> Result<Vec<String>> {
        self.first(name, "ac-discovery-pubkeys", |page| {
            page.keys(name).into_iter().map(str::to_string).collect()
        })
    }

    fn first<T>(
        &self,
        name: &AcIdentifier,
        tag: &str,
        read: impl Fn(&Page) -> Vec<T>,
    ) -> Result<Vec<T>> {
        let mut why = Vec::new();
        for prefix in prefixes(name) {
            match self.page(prefix, &read) {
                Ok(found) => return Ok(found),
                Err(fault) if is_interrupt(&fault) => return Err(fault),
                Err(fault) => {
                    self.notes
                        .debug(&format!("meta tag '{tag}' not found on {prefix}: {fault}"));
                    why.push(format!("{prefix}: {fault}"));
                }
            }
        }
        let fault = Fault::not_found("discovery failed");
        // The page of the name itself and that of the host tell most.
        why.dedup();
        if why.len() > 2 {
            why.drain(1..why.len() - 1);
        }
        Err(fault.hint(why.join("; ")))
    }

    /// The first that a page says over https, else over http.
    fn page<T>(&self, prefix: &str, read: &impl Fn(&Page) -> Vec<T>) -> Result<Vec<T>> {
        let secure = self.load(&page_url("https", prefix, self.port));
        let page = match secure {
            Err(fault) if self.allow_http && !is_interrupt(&fault) => {
                self.load(&page_url("http", prefix, self.port))?
            }
            page => page?,
        };
        let found = read(&page);
        match found.is_empty() {
            true => Err(Fault::not_found("the page has no such tag for the name")),
            false => Ok(found),
        }
    }

    fn load(&self, url: &str) -> Result<Page> {
        let response = self.client.send(&(self.login)(url))?;
        if response.status != 200 {
            return Err(response.fault());
        }
        Ok(Page::parse(&response.read(MAX_PAGE)?))
    }
}

/// What the user stopped is not tried elsewhere.
pub(crate) fn is_interrupt(fault: &Fault) -> bool {
    fault.errno() == Some(rustix::io::Errno::INTR.raw_os_error())
}
