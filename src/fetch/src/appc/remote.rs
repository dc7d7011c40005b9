//! The network as appc uses it: one client, the logins of the configuration, and
//! what a cache may keep.

use super::check::watch;
use crate::Fetcher;
use crate::credentials::{Logins, Places};
use crate::http::{Client, ClientOptions, Request, Response};
use crate::interrupt::Watch;
use model::fault::Result;
use std::io::Read;
use std::time::Duration;

/// Made when something has to be fetched; serves all requests of one image.
pub(crate) struct Remote<'f> {
    pub fetcher: Fetcher<'f>,
    pub client: Client<'f>,
    /// Of the pages of discovery, if not the scheme's own.
    pub port: Option<u16>,
    pub logins: Logins,
    _watch: Watch,
}

impl<'f> Remote<'f> {
    /// For a registry.
    pub(crate) fn new(fetcher: &Fetcher<'f>) -> Result<Remote<'f>> {
        Remote::with(fetcher, options(fetcher))
    }

    /// For discovery, which asks many hosts that may not be there: it does not wait
    /// as long for one that says no.
    pub(crate) fn hasty(fetcher: &Fetcher<'f>) -> Result<Remote<'f>> {
        let options = ClientOptions {
            retry_base: Duration::from_millis(200),
            ..options(fetcher)
        };
        Remote::with(fetcher, options)
    }

    fn with(fetcher: &Fetcher<'f>, options: ClientOptions) -> Result<Remote<'f>> {
        let (client, port) = connect(fetcher, options);
        Ok(Remote {
            _watch: watch()?,
            client,
            logins: Logins::new(fetcher.config, Places::from_environment()),
            fetcher: *fetcher,
            port,
        })
    }

    /// A request that bears the login for its host; over https only.
    pub(crate) fn request(&self, url: &str) -> Result<Request> {
        let mut request = Request::get(url);
        if let Some((host, path)) = secure_parts(url)
            && let Some(authorization) = self.logins.authorization_for(host, path)
        {
            let headers = authorization.headers("GET", url, now())?;
            request.secret_headers = headers
                .into_iter()
                .map(|(name, value)| (name, value.expose().to_string()))
                .collect();
        }
        Ok(request)
    }
}

/// The client, and the port of discovery.
#[cfg(not(all(test, feature = "trust")))]
fn connect<'f>(fetcher: &Fetcher<'f>, options: ClientOptions) -> (Client<'f>, Option<u16>) {
    (Client::new(options, fetcher.notes), None)
}

#[cfg(all(test, feature = "trust"))]
fn connect<'f>(fetcher: &Fetcher<'f>, options: ClientOptions) -> (Client<'f>, Option<u16>) {
    super::tests::connect(options, fetcher.notes)
}

fn options(fetcher: &Fetcher<'_>) -> ClientOptions {
    ClientOptions {
        no_tls_check: fetcher.insecure.skip_tls_check(),
        allow_http: fetcher.insecure.allow_http(),
        ..ClientOptions::default()
    }
}

/// Host with port, and path, of an https URL.
fn secure_parts(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("https://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    Some((host, path.trim_start_matches('/')))
}

/// Unix seconds.
pub(crate) fn now() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .ok()
        .and_then(|age| i64::try_from(age.as_secs()).ok())
        .unwrap_or(0)
}

/// Until when nobody has to ask again: `Cache-Control: max-age`.
pub(crate) fn fresh_until(response: &Response, now: i64) -> Option<i64> {
    let values: Vec<&str> = response.header_values("Cache-Control").collect();
    max_age(&values).map(|seconds| now.saturating_add(seconds))
}

fn max_age(values: &[&str]) -> Option<i64> {
    let words = || {
        values
            .iter()
            .flat_map(|value| value.split(','))
            .map(str::trim)
    };
    let forbids = |word: &str| {
        let name = word.split('=').next().unwrap_or(word);
        name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("no-cache")
    };
    if words().any(forbids) {
        return None;
    }
    words()
        .filter_map(|word| word.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("max-age"))
        .and_then(|(_, value)| value.trim().trim_matches('"').parse().ok())
        .filter(|seconds| *seconds > 0)
}

/// A body on its way that shows how far it is.
pub(crate) struct Metered<'b, R> {
    pub source: R,
    pub bar: Box<dyn crate::Bar + 'b>,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let count = self.source.read(buf)?;
        match count {
            0 if !buf.is_empty() => self.bar.finish(),
            _ => self.bar.advance(count as u64),
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_an_answer_is_fresh() {
        for (values, want) in [
            (&["max-age=60"][..], Some(60)),
            (&["public, Max-Age = \"5\""], Some(5)),
            (&["public", "max-age=7"], Some(7)),
            (&["max-age=60, no-cache"], None),
            (&["max-age=60", "no-store"], None),
            (&["no-cache=\"Set-Cookie\", max-age=60"], None),
            (&["s-maxage=60"], None),
            (&["max-age=-1"], None),
            (&["max-age=0"], None),
            (&["max-age=99999999999999999999"], None),
            (&["max-age"], None),
            (&[""], None),
            (&[], None),
        ] {
            assert_eq!(max_age(values), want, "{values:?}");
        }
    }

    #[test]
    fn the_login_is_looked_up_for_host_port_and_path() {
        for (url, want) in [
            ("https://h/a/b.aci", Some(("h", "a/b.aci"))),
            ("https://h:8443/b.aci?x=/y", Some(("h:8443", "b.aci"))),
            ("https://h?ac-discovery=1", Some(("h", ""))),
            ("http://h/a", None),
            ("HTTPS://h/a", None),
        ] {
            assert_eq!(secure_parts(url), want, "{url}");
        }
    }
}
