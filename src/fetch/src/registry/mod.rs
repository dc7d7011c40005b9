//! Registries of the distribution API: manifests, blobs, signatures.
//!
//! A `Registry` is one host. It asks for what is wanted at once, without a ping;
//! what the host then wants to see is remembered, and so is whether it speaks
//! TLS. A reference becomes a `Resolved` image, whose signatures may be looked
//! at before `pull` brings its layers into the store.
//!
//! Invariants: https comes first, and plain http only where that is allowed; no
//! login and no token ever goes over plain http; a login goes to the host that
//! it is for and to the https token service which that host names; a 401 that
//! outlasts one fresh token is final; whatever is parsed was compared with its
//! digest first.

pub mod challenge;
mod foreign;
mod manifest;
mod pull;
mod signatures;
mod token;

pub use manifest::{Resolved, Served};
pub use pull::Pull;

use crate::Notes;
use crate::credentials::{Login, Logins, basic_header};
use crate::http::{Client, Method, Request, Response};
use crate::image::lock;
use challenge::Challenge;
use model::config::Secret;
use model::fault::{Fault, Kind, Result};
use model::text::quote;
use std::sync::Mutex;
use std::time::Instant;
use token::{TokenFor, Tokens};

/// What is allowed beyond the usual.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// `--insecure-options=http`: a registry without TLS will do.
    pub allow_http: bool,
    /// Layers that may not be distributed are fetched from where they say.
    pub foreign_layers: bool,
}

/// One host. Threads may share it.
pub struct Registry<'a> {
    client: &'a Client<'a>,
    logins: &'a Logins,
    notes: &'a dyn Notes,
    host: String,
    options: Options,
    state: Mutex<State>,
}

/// What was learnt of the host.
#[derive(Default)]
struct State {
    scheme: Option<&'static str>,
    grants: Vec<(String, Grant)>,
    tokens: Tokens,
}

/// What is sent for one repository.
#[derive(Clone)]
struct Grant {
    header: Secret,
    /// When a token has to be replaced, and how.
    token: Option<(Instant, TokenFor)>,
}

impl<'a> Registry<'a> {
    /// `host` is `host[:port]`, as `DockerReference::registry` gives it.
    pub fn new(
        host: &str,
        client: &'a Client<'a>,
        logins: &'a Logins,
        notes: &'a dyn Notes,
        options: Options,
    ) -> Registry<'a> {
        Registry {
            client,
            logins,
            notes,
            host: host.to_string(),
            options,
            state: Mutex::default(),
        }
    }

    /// The answer to one request below `/v2/<repository>/`, authorised if need
    /// be, with the request that got it. Any status but 401.
    fn get(&self, repository: &str, path: &str, accept: &str) -> Result<(Request, Response)> {
        let path = format!("/v2/{repository}/{path}");
        let mut header = self.known_grant(repository)?;
        // One fresh token, or one login: who then says 401 still, means it.
        let mut last = false;
        loop {
            let (request, response) = self.send(&path, accept, header.as_ref())?;
            // A host that a redirect led to knows nothing of our logins.
            if response.status != 401 || !same_origin(&request.url, &response.url) {
                return Ok((request, response));
            }
            if last {
                return Err(self.denied(response));
            }
            last = true;
            header = Some(self.answer(repository, response, header)?);
        }
    }

    fn send(
        &self,
        path: &str,
        accept: &str,
        header: Option<&Secret>,
    ) -> Result<(Request, Response)> {
        let known = lock(&self.state).scheme;
        let request = |scheme: &str| {
            let mut request = Request {
                method: Method::Get,
                url: format!("{scheme}://{}{path}", self.host),
                ..Request::default()
            };
            if !accept.is_empty() {
                request = request.header("Accept", accept);
            }
            if let Some(header) = header {
                let value = header.expose().to_string();
                request.secret_headers.push(("Authorization".into(), value));
            }
            request
        };
        if let Some(scheme) = known {
            let request = request(scheme);
            let response = self.client.send(&request)?;
            return Ok((request, response));
        }
        let mut secure = request("https");
        // A server without TLS is not to be asked five times for it.
        secure.once = self.options.allow_http;
        let fault = match self.client.send(&secure) {
            Ok(response) => {
                lock(&self.state).scheme = Some("https");
                return Ok((secure, response));
            }
            Err(fault) => fault,
        };
        if !self.options.allow_http {
            return Err(match is_loopback(&self.host) {
                true => Fault {
                    hint: Some(PLAIN.into()),
                    ..fault
                },
                false => fault.hint(PLAIN),
            });
        }
        // Whoever speaks TLS is never asked again without it.
        if !matches!(fault.kind, Kind::Unsupported | Kind::Os(_)) {
            return Err(fault);
        }
        self.notes.debug(&format!("{fault}; trying plain http"));
        let plain = request("http");
        match self.client.send(&plain) {
            Ok(response) => {
                lock(&self.state).scheme = Some("http");
                Ok((plain, response))
            }
            // Who is not reached by plain http either has the better way to put right.
            Err(plain) if plain.errno().is_some() => Err(fault),
            Err(plain) => Err(plain),
        }
    }

    /// What worked before, its token renewed in time.
    fn known_grant(&self, repository: &str) -> Result<Option<Secret>> {
        let mut state = lock(&self.state);
        let Some(grant) = state.grant(repository) else {
            return Ok(None);
        };
        match grant.token {
            Some((until, wanted)) if until <= Instant::now() => {
                let grant = state.tokens.grant(self.client, wanted)?;
                let header = grant.header.clone();
                state.remember(repository, grant);
                Ok(Some(header))
            }
            _ => Ok(Some(grant.header)),
        }
    }

    /// What to send instead of `sent`, which was not enough.
    fn answer(&self, repository: &str, response: Response, sent: Option<Secret>) -> Result<Secret> {
        if !response.url.starts_with("https://") {
            return Err(self
                .denied(response)
                .hint("logins are not sent over plain http: the registry needs TLS"));
        }
        let challenges = challenge::parse(response.header_values("WWW-Authenticate"));
        let mut state = lock(&self.state);
        // Another thread may have had the same answer a moment ago.
        if let Some(grant) = state.grant(repository)
            && sent.as_ref() != Some(&grant.header)
        {
            return Ok(grant.header);
        }
        let login = self.logins.for_repository(&self.host, repository)?;
        let grant = match self.choose(repository, &challenges, login)? {
            Some(Way::Header(header)) if sent.as_ref() != Some(&header) => Grant {
                header,
                token: None,
            },
            Some(Way::Token(wanted)) => {
                state.tokens.forget(&wanted);
                state.tokens.grant(self.client, wanted)?
            }
            _ => return Err(self.denied(response)),
        };
        let header = grant.header.clone();
        state.remember(repository, grant);
        Ok(header)
    }

    /// The first of the ways that the registry offers, and we have; tokens are
    /// better than passwords.
    fn choose(
        &self,
        repository: &str,
        challenges: &[Challenge],
        login: Option<Login>,
    ) -> Result<Option<Way>> {
        if let Some(Login::Token(token)) = &login {
            return Ok(Some(Way::Header(token::bearer(token))));
        }
        if let Some(bearer) = challenges.iter().find(|one| one.scheme == "bearer") {
            let wanted = TokenFor::new(bearer, repository, login)?;
            return Ok(Some(Way::Token(wanted)));
        }
        let basic = challenges.iter().any(|one| one.scheme == "basic");
        match login {
            Some(Login::Basic(login)) if basic => Ok(Some(Way::Header(basic_header(&login)))),
            _ => Ok(None),
        }
    }

    fn denied(&self, response: Response) -> Fault {
        let fault = response.fault();
        Fault {
            kind: Kind::Refused,
            hint: Some(format!(
                "check the name; if the image is not public, give a login for {} in a file of \
                 kind dockerAuth in auth.d, or by \"docker login\" or \"podman login\"",
                quote(&self.host)
            )),
            ..fault
        }
    }
}

enum Way {
    Header(Secret),
    Token(TokenFor),
}

impl State {
    fn grant(&self, repository: &str) -> Option<Grant> {
        let found = self.grants.iter().find(|(known, _)| known == repository);
        found.map(|(_, grant)| grant.clone())
    }

    fn remember(&mut self, repository: &str, grant: Grant) {
        self.grants.retain(|(known, _)| known != repository);
        self.grants.push((repository.to_string(), grant));
    }
}

const PLAIN: &str = "for a registry without TLS: --insecure-options=http";

/// Whether `host[:port]` can only be this machine.
fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let name = match bare {
        Some((inside, _)) => inside,
        None => host.split(':').next().unwrap_or(host),
    };
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Scheme, host and port are the same.
fn same_origin(a: &str, b: &str) -> bool {
    use crate::http::Url;
    match (Url::parse(a), Url::parse(b)) {
        (Ok(a), Ok(b)) => a.same_origin(&b),
        _ => false,
    }
}
