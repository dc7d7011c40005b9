//! One request and its answer: agents, headers, redirects by hand, retries.

use super::retry::{self, TRIES};
use super::url::{Url, shown};
use super::{ClientOptions, Environment, Method, Request, Response, find, proxy, roots, wire};
use crate::{Notes, interrupt};
use model::fault::{Fault, Result};
use model::text::quote;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use ureq::tls::{TlsConfig, TlsProvider};

const HOPS: usize = 10;

/// What all threads of a client share.
pub(super) struct Wire {
    pub options: ClientOptions,
    environment: Environment,
    /// By scheme and proxy; each keeps its idle connections.
    agents: Mutex<HashMap<(bool, Option<String>), ureq::Agent>>,
}

/// A failure, and whether another try may help.
pub(super) type Attempt<T> = std::result::Result<T, (Fault, bool)>;

impl Wire {
    pub(super) fn new(options: ClientOptions, environment: Environment) -> Wire {
        Wire {
            options,
            environment,
            agents: Mutex::new(HashMap::new()),
        }
    }

    pub(super) fn send(&self, request: &Request, notes: &dyn Notes) -> Result<Response> {
        let mut next = 1;
        loop {
            next += 1;
            let outcome = self.once(request, notes);
            let last = next > TRIES;
            let (why, after) = match outcome {
                Ok(response) if !last && retry::status(response.status, request.method) => {
                    let after = response.header("retry-after");
                    let after =
                        after.and_then(|value| retry::retry_after(value, SystemTime::now()));
                    (format!("status {}", response.status), after)
                }
                Ok(response) => return Ok(response),
                Err((fault, true)) if !last && !request.once => (fault.to_string(), None),
                Err((fault, true)) if !request.once => {
                    return Err(fault.link(format!("{TRIES} tries")));
                }
                Err((fault, _)) => return Err(fault),
            };
            let pause = retry::pause(next, self.options.retry_base, self.options.retry_cap, after);
            notes.debug(&format!(
                "{} once more in {:.1} s: {why}",
                shown(&request.url),
                pause.as_secs_f64()
            ));
            interrupt::sleep(pause).map_err(|err| wire::read_fault(&request.url, err))?;
        }
    }

    /// One try: from hop to hop to an answer that is no redirect.
    pub(super) fn once(&self, request: &Request, notes: &dyn Notes) -> Attempt<Response> {
        let start = Url::parse(&request.url).map_err(|fault| (fault, false))?;
        let mut url = start.clone();
        let mut method = request.method;
        let mut secrets = true;
        let mut seen = Vec::new();
        loop {
            self.check_scheme(request, &start, &url)
                .map_err(|fault| (fault, false))?;
            let response = self.exchange(request, method, secrets, &url, notes)?;
            let Some(next) = redirect(&url, &response).map_err(|fault| (fault, false))? else {
                return Ok(response);
            };
            notes.debug(&format!("redirect to {}", shown(&next.to_string())));
            if url.https && !next.https {
                let (from, to) = (quoted(&url), quoted(&next));
                let text = format!("{from} redirects from https to plain http ({to})");
                return Err((Fault::refused(text), false));
            }
            if method == Method::Post {
                match response.status {
                    301..=303 => method = Method::Get,
                    // The form may hold a password.
                    _ if !next.same_origin(&start) => {
                        let (from, to) = (quoted(&url), quoted(&next));
                        let text = format!("{from} redirects a form to another host ({to})");
                        return Err((Fault::refused(text), false));
                    }
                    _ => {}
                }
            }
            seen.push(url);
            let text = if method == request.method && seen.contains(&next) {
                "redirects in a circle"
            } else if seen.len() > HOPS {
                "too many redirects"
            } else {
                secrets &= next.same_origin(&start);
                url = next;
                continue;
            };
            return Err((Fault::invalid(format!("{}: {text}", quoted(&start))), false));
        }
    }

    fn check_scheme(&self, request: &Request, start: &Url, url: &Url) -> Result<()> {
        let fine = url.https
            || self.options.allow_http
            || (request.plain_http_ok && url.host == start.host);
        if fine {
            return Ok(());
        }
        Err(Fault::refused(format!(
            "{} is plain http, which protects nothing",
            quoted(url)
        ))
        .hint("--insecure-options=http allows it"))
    }

    fn exchange(
        &self,
        request: &Request,
        method: Method,
        secrets: bool,
        url: &Url,
        notes: &dyn Notes,
    ) -> Attempt<Response> {
        let agent = self.agent(url, notes).map_err(|fault| (fault, false))?;
        let text = url.to_string();
        let verb = match method {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
        };
        let mut builder = ureq::http::Request::builder().method(verb).uri(&text);
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        if secrets && url.https {
            for (name, value) in &request.secret_headers {
                builder = builder.header(name, value);
            }
        }
        if let Some(from) = request.range_from {
            builder = builder.header("Range", format!("bytes={from}-"));
            if let Some(validator) = &request.if_range {
                builder = builder.header("If-Range", validator);
            }
        }
        let form = request.body.as_deref().filter(|_| method == Method::Post);
        let sent = match (method, form) {
            (Method::Post, form) => builder
                .body(form.unwrap_or_default())
                .map_err(ureq::Error::from)
                .and_then(|request| agent.run(request)),
            _ => builder
                .body(())
                .map_err(ureq::Error::from)
                .and_then(|request| agent.run(request)),
        };
        let (parts, body) = sent.map_err(|err| wire::fault(&text, err))?.into_parts();
        let header = |(name, value): (&ureq::http::HeaderName, &ureq::http::HeaderValue)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.to_string(), value)
        };
        notes.debug(&format!(
            "{verb} {}: {}",
            shown(&text),
            parts.status.as_u16()
        ));
        Ok(Response {
            status: parts.status.as_u16(),
            url: text,
            headers: parts.headers.iter().map(header).collect(),
            body: Box::new(body.into_reader()),
        })
    }

    fn agent(&self, url: &Url, notes: &dyn Notes) -> Result<ureq::Agent> {
        let proxy = proxy::choose(&self.environment, url);
        let key = (url.https, proxy.map(str::to_string));
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = agents.get(&key) {
            return Ok(agent.clone());
        }
        let proxy = proxy.map(open_proxy).transpose()?;
        let secure = url.https
            || proxy
                .as_ref()
                .is_some_and(|proxy| proxy.uri().scheme_str() == Some("https"));
        let mut tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .disable_verification(self.options.no_tls_check);
        if self.options.no_tls_check {
            notes.debug("certificates are not checked (--insecure-options=tls)");
        } else if secure {
            let (certs, source) = roots::load(&self.environment)?;
            notes.debug(&format!("certificate authorities: {source}"));
            tls = tls.root_certs(certs);
        }
        let agent = wire::agent(&self.options, tls.build(), proxy);
        agents.insert(key, agent.clone());
        Ok(agent)
    }
}

fn open_proxy(text: &str) -> Result<ureq::Proxy> {
    let bad = |why: &str| {
        Fault::invalid(format!("proxy {}: {why}", quote(&shown(text))))
            .hint("check https_proxy and http_proxy: http://[user:password@]host[:port]")
    };
    if text.to_ascii_lowercase().starts_with("socks") {
        return Err(bad("SOCKS is not spoken"));
    }
    ureq::Proxy::new(text).map_err(|_| bad("not a URL"))
}

fn quoted(url: &Url) -> String {
    quote(&shown(&url.to_string()))
}

/// Where the answer leads, if it is a redirect that says so.
fn redirect(url: &Url, response: &Response) -> Result<Option<Url>> {
    if !matches!(response.status, 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    find(&response.headers, "location")
        .map(|location| url.join(location))
        .transpose()
        .map_err(|fault| fault.message(format!("redirect of {}", quoted(url))))
}
