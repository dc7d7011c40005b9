//! Access tokens: what a token service gives for a login, or for nothing.
//!
//! Tokens are kept by realm, service, scope and login, and replaced before they
//! end; a token never serves for anything else than it was asked for.

use super::Grant;
use super::challenge::Challenge;
use crate::credentials::{Login, basic_header};
use crate::http::{Client, Method, Request};
use crate::image::about;
use model::config::Secret;
use model::fault::{Fault, Result};
use model::json::{self, Cursor};
use model::text::quote;
use std::time::{Duration, Instant};

const MAX_ANSWER: u64 = 1 << 20;
/// Longer than any real one; it goes into a header.
const MAX_TOKEN: usize = 64 << 10;
/// What a service means that does not say how long.
const SHORTEST: Duration = Duration::from_secs(60);
/// Renewed so much before the end: a request takes its time.
const MARGIN: Duration = Duration::from_secs(10);
/// As which we introduce ourselves.
const CLIENT_ID: &str = "rkt";

/// What a token is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TokenFor {
    realm: String,
    service: String,
    scope: String,
    login: Option<Login>,
}

impl TokenFor {
    pub(super) fn new(
        challenge: &Challenge,
        repository: &str,
        login: Option<Login>,
    ) -> Result<TokenFor> {
        let realm = challenge.get("realm").unwrap_or_default();
        if !realm.starts_with("https://") {
            return Err(Fault::refused(format!(
                "the registry's token service {} is not reached over https",
                quote(realm)
            )));
        }
        let scope = challenge.get("scope").unwrap_or_default();
        Ok(TokenFor {
            realm: realm.to_string(),
            service: challenge.get("service").unwrap_or_default().to_string(),
            scope: match scope.is_empty() {
                true => format!("repository:{repository}:pull"),
                false => scope.to_string(),
            },
            login,
        })
    }
}

/// The tokens that are good for a while.
#[derive(Default)]
pub(super) struct Tokens {
    known: Vec<(TokenFor, Secret, Instant)>,
}

impl Tokens {
    pub(super) fn forget(&mut self, wanted: &TokenFor) {
        self.known.retain(|(known, _, _)| known != wanted);
    }

    /// A token as a header, from memory or from the service.
    pub(super) fn grant(&mut self, client: &Client<'_>, wanted: TokenFor) -> Result<Grant> {
        let now = Instant::now();
        self.known.retain(|(_, _, until)| *until > now);
        if let Some((_, header, until)) = self.known.iter().find(|(known, _, _)| *known == wanted) {
            return Ok(Grant {
                header: header.clone(),
                token: Some((*until, wanted)),
            });
        }
        let (token, life) =
            ask(client, &wanted).map_err(|fault| about(fault, "token service ", &wanted.realm))?;
        let header = bearer(&token);
        let until = now + life.max(SHORTEST) - MARGIN;
        self.known.push((wanted.clone(), header.clone(), until));
        Ok(Grant {
            header,
            token: Some((until, wanted)),
        })
    }
}

pub(super) fn bearer(token: &Secret) -> Secret {
    Secret::new(format!("Bearer {}", token.expose()))
}

fn ask(client: &Client<'_>, wanted: &TokenFor) -> Result<(Secret, Duration)> {
    let request = match &wanted.login {
        Some(Login::Identity(identity)) => by_identity(wanted, identity),
        login => by_password(wanted, login.as_ref()),
    };
    let response = client.send(&request)?;
    if response.status != 200 {
        let refused = matches!(response.status, 400 | 401 | 403);
        let fault = response.fault();
        return Err(match refused && wanted.login.is_some() {
            true => Fault {
                hint: Some("the login may be wrong or out of date: log in again".into()),
                ..fault
            },
            false => fault,
        });
    }
    parse(&response.read(MAX_ANSWER)?)
}

/// Anonymous, or with a password.
fn by_password(wanted: &TokenFor, login: Option<&Login>) -> Request {
    let mut query = vec![
        ("service", wanted.service.as_str()),
        ("client_id", CLIENT_ID),
    ];
    // Scopes are separated by blanks in a challenge, by name in a query.
    query.extend(
        wanted
            .scope
            .split_ascii_whitespace()
            .map(|scope| ("scope", scope)),
    );
    let mut request = Request::default();
    if let Some(Login::Basic(basic)) = login {
        query.push(("account", &basic.user));
        let value = basic_header(basic).expose().to_string();
        request.secret_headers.push(("Authorization".into(), value));
    }
    let sign = if wanted.realm.contains('?') { '&' } else { '?' };
    request.url = format!("{}{sign}{}", wanted.realm, form(&query));
    request
}

/// The identity token is a refresh token in the words of OAuth 2.
fn by_identity(wanted: &TokenFor, identity: &Secret) -> Request {
    let body = form(&[
        ("grant_type", "refresh_token"),
        ("service", &wanted.service),
        ("client_id", CLIENT_ID),
        ("scope", &wanted.scope),
        ("refresh_token", identity.expose()),
    ]);
    Request {
        method: Method::Post,
        url: wanted.realm.clone(),
        headers: vec![(
            "Content-Type".into(),
            "application/x-www-form-urlencoded".into(),
        )],
        body: Some(body.into_bytes()),
        ..Request::default()
    }
}

/// `a=b&c=d`, without the pairs that are empty.
fn form(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        for byte in value.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    text.push(char::from(byte));
                }
                _ => text.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    text
}

fn parse(bytes: &[u8]) -> Result<(Secret, Duration)> {
    let value = json::parse(bytes)?;
    let mut fields = Cursor::new(&value).fields()?;
    let (token, access) = (fields.text("token")?, fields.text("access_token")?);
    let token = if token.is_empty() { access } else { token };
    if token.is_empty() {
        return Err(Fault::invalid("the token service gave no token"));
    }
    if token.len() > MAX_TOKEN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Fault::invalid("the token service gave a malformed token"));
    }
    // A service may write 300, "300" or nothing.
    let life = value
        .get("expires_in")
        .and_then(|life| match life.as_u64() {
            Some(life) => Some(life),
            None => life.as_str()?.parse().ok(),
        });
    // A clock that jumps must not make a token eternal.
    let life = Duration::from_secs(life.unwrap_or(0).min(24 * 3600));
    Ok((Secret::new(token), life))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::config::BasicCredentials;

    fn challenge(parameters: &[(&str, &str)]) -> Challenge {
        Challenge {
            scheme: "bearer".into(),
            parameters: parameters
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
        }
    }

    #[test]
    fn tokens_in_every_form() {
        for (text, token, seconds) in [
            (r#"{"token":"a"}"#, "a", 0),
            (r#"{"access_token":"b","expires_in":300}"#, "b", 300),
            (
                r#"{"token":"a","access_token":"a","expires_in":"90"}"#,
                "a",
                90,
            ),
            (r#"{"token":"a","expires_in":-1}"#, "a", 0),
            (r#"{"token":"a","expires_in":99999999999}"#, "a", 86400),
        ] {
            let (found, life) = parse(text.as_bytes()).expect(text);
            assert_eq!((found.expose(), life.as_secs()), (token, seconds), "{text}");
        }
        for text in [
            "",
            "[]",
            "{}",
            r#"{"token":""}"#,
            r#"{"token":"a\r\nX: y"}"#,
            r#"{"token":5}"#,
            r#"{"token":"é"}"#,
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn requests_say_what_they_want() {
        let given = challenge(&[
            ("realm", "https://auth.test/token?x=1"),
            ("service", "registry test"),
            ("scope", "repository:a/b:pull repository:c:pull,push"),
        ]);
        let wanted = TokenFor::new(&given, "a/b", None).expect("a realm");
        let request = by_password(&wanted, None);
        assert_eq!(
            request.url,
            "https://auth.test/token?x=1&service=registry%20test&client_id=rkt\
             &scope=repository%3Aa%2Fb%3Apull&scope=repository%3Ac%3Apull%2Cpush"
        );
        assert!(request.secret_headers.is_empty());
        let login = Login::Basic(BasicCredentials {
            user: "me&you".into(),
            password: Secret::new("p"),
        });
        let given = challenge(&[("realm", "https://auth.test/token")]);
        let wanted = TokenFor::new(&given, "a/b", Some(login)).expect("a realm");
        let request = by_password(&wanted, wanted.login.as_ref());
        assert!(
            request
                .url
                .contains("scope=repository%3Aa%2Fb%3Apull&account=me%26you")
        );
        assert!(!request.url.contains("service"));
        assert_eq!(request.secret_headers[0].1, "Basic bWUmeW91OnA=");
        let request = by_identity(&wanted, &Secret::new("id+1"));
        let body = String::from_utf8(request.body.expect("a form")).expect("text");
        assert!(body.ends_with("&refresh_token=id%2B1"), "{body}");
        assert_eq!(request.method, Method::Post);
    }

    #[test]
    fn a_login_goes_to_no_service_without_https() {
        for realm in ["", "http://auth.test/", "auth.test", "ftp://x", "HTTP://x"] {
            assert!(TokenFor::new(&challenge(&[("realm", realm)]), "a", None).is_err());
        }
    }

    #[test]
    fn a_token_serves_for_its_own_scope_and_login_alone() {
        let given = challenge(&[("realm", "https://a.test/t"), ("scope", "s")]);
        let anonymous = TokenFor::new(&given, "r", None).expect("a realm");
        let login = Some(Login::Identity(Secret::new("x")));
        let other = TokenFor::new(&given, "r", login).expect("a realm");
        assert_ne!(anonymous, other);
        assert!(!format!("{other:?}").contains('x') || !format!("{other:?}").contains("\"x\""));
    }
}
