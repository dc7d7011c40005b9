//! The headers that authorise one request: Basic, Bearer, or a signature as
//! Amazon's S3 wants it (AWS Signature Version 4).

use super::basic_header;
use crate::http::Url;
use model::config::{Credentials, Secret};
use model::digest::hex;
use model::fault::{Fault, Result};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// How requests to one host are authorised.
#[derive(Clone, Debug)]
pub struct Authorization {
    credentials: Credentials,
}

impl Authorization {
    pub(super) fn new(credentials: Credentials) -> Authorization {
        Authorization { credentials }
    }

    /// The headers for a request without a body. `method` is `GET` or `HEAD`;
    /// the time, Unix seconds, goes into signatures. Never for plain http.
    pub fn headers(&self, method: &str, url: &str, now: i64) -> Result<Vec<(String, Secret)>> {
        let parsed = Url::parse(url)?;
        if !parsed.https {
            return Err(Fault::refused(format!(
                "credentials are not sent over plain http: {parsed}"
            )));
        }
        let value = match &self.credentials {
            Credentials::Basic(basic) => basic_header(basic),
            Credentials::OAuth { token } => Secret::new(format!("Bearer {}", token.expose())),
            Credentials::Aws {
                access_key_id,
                secret_access_key,
                region,
            } => {
                let key = Key {
                    id: access_key_id,
                    secret: secret_access_key,
                    region: match region.as_str() {
                        "" => region_of(&parsed.host),
                        region => region,
                    },
                };
                return Ok(key.sign(method, &parsed, now));
            }
        };
        Ok(vec![("Authorization".to_string(), value)])
    }
}

const SERVICE: &str = "s3";
/// SHA-256 of nothing: a GET has no body.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const DEFAULT_REGION: &str = "us-east-1";

/// What a name like `bucket.s3.eu-west-1.amazonaws.com` tells, or the older
/// `s3-eu-west-1.amazonaws.com`; any other is in the first region.
fn region_of(host: &str) -> &str {
    let Some(name) = host
        .strip_suffix(".amazonaws.com")
        .or_else(|| host.strip_suffix(".amazonaws.com.cn"))
    else {
        return DEFAULT_REGION;
    };
    let last = name.rsplit('.').next().unwrap_or(name);
    match last.strip_prefix("s3-").unwrap_or(last) {
        "s3" | "external-1" => DEFAULT_REGION,
        region => region,
    }
}

struct Key<'k> {
    id: &'k str,
    secret: &'k Secret,
    region: &'k str,
}

impl Key<'_> {
    fn sign(&self, method: &str, url: &Url, now: i64) -> Vec<(String, Secret)> {
        let time = stamp(now);
        let day = &time[..8];
        let (path, query) = url.rest.split_once('?').unwrap_or((&url.rest, ""));
        let origin = url.origin();
        let host = origin.split_once("://").map_or("", |(_, host)| host);
        const SIGNED: &str = "host;x-amz-content-sha256;x-amz-date";
        let canonical = format!(
            "{method}\n{}\n{}\nhost:{host}\nx-amz-content-sha256:{EMPTY}\nx-amz-date:{time}\n\n\
             {SIGNED}\n{EMPTY}",
            encoded(path, true),
            canonical_query(query),
        );
        let scope = format!("{day}/{}/{SERVICE}/aws4_request", self.region);
        let text = format!(
            "AWS4-HMAC-SHA256\n{time}\n{scope}\n{}",
            hex(&Sha256::digest(canonical.as_bytes()))
        );
        let mut key = format!("AWS4{}", self.secret.expose()).into_bytes();
        for step in [day, self.region, SERVICE, "aws4_request"] {
            key = hmac(&key, step.as_bytes()).to_vec();
        }
        let signature = hex(&hmac(&key, text.as_bytes()));
        let value = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope},SignedHeaders={SIGNED},Signature={signature}",
            self.id
        );
        vec![
            ("Authorization".to_string(), Secret::new(value)),
            ("x-amz-content-sha256".to_string(), Secret::new(EMPTY)),
            ("x-amz-date".to_string(), Secret::new(time)),
        ]
    }
}

/// `20130524T000000Z`
fn stamp(now: i64) -> String {
    let text = model::time::rfc3339(now.saturating_mul(1_000_000_000));
    let whole = text.split(['.', 'Z']).next().unwrap_or(&text);
    let digits: String = whole.chars().filter(|c| !matches!(c, '-' | ':')).collect();
    format!("{digits}Z")
}

/// The pairs sorted, each part encoded anew.
fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (encoded(name, false), encoded(value, false))
        })
        .collect();
    pairs.sort();
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

/// What is encoded already stays, whatever else has to be is.
fn encoded(text: &str, slashes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'%' => {
                out.push(char::from(byte));
            }
            b'/' if slashes => out.push('/'),
            _ => write!(out, "%{byte:02X}").expect("writing to a String cannot fail"),
        }
    }
    out
}

/// HMAC-SHA256 (RFC 2104).
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0_u8; 64];
    match key.len() <= block.len() {
        true => block[..key.len()].copy_from_slice(key),
        false => block[..32].copy_from_slice(&Sha256::digest(key)),
    }
    let pad = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::new()
        .chain_update(pad(0x36))
        .chain_update(message)
        .finalize();
    Sha256::new()
        .chain_update(pad(0x5c))
        .chain_update(inner)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the documentation of S3: requests with these three headers alone.
    #[test]
    fn signatures_are_those_of_the_documentation() {
        let aws = Authorization::new(Credentials::Aws {
            access_key_id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            region: String::new(),
        });
        for (rest, signature) in [
            (
                "?lifecycle",
                "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            ),
            (
                "?prefix=J&max-keys=2",
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
        ] {
            let url = format!("https://examplebucket.s3.amazonaws.com/{rest}");
            let headers = aws.headers("GET", &url, 1_369_353_600).expect("headers");
            assert_eq!(headers[2].1.expose(), "20130524T000000Z");
            let value = headers[0].1.expose();
            assert!(
                value.ends_with(&format!("Signature={signature}")),
                "{value}"
            );
            assert!(value.contains("AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"));
        }
        assert!(aws.headers("GET", "http://b.s3.amazonaws.com/", 0).is_err());
    }

    #[test]
    fn codes_of_rfc_4231() {
        for (key, message, want) in [
            (
                vec![0x0b; 20],
                &b"Hi There"[..],
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                vec![0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            assert_eq!(hex(&hmac(&key, message)), want);
        }
    }

    #[test]
    fn a_region_is_in_the_name() {
        for (host, want) in [
            ("b.s3.eu-west-1.amazonaws.com", "eu-west-1"),
            ("s3-eu-west-1.amazonaws.com", "eu-west-1"),
            ("b.s3-eu-west-1.amazonaws.com", "eu-west-1"),
            ("b.s3.amazonaws.com", "us-east-1"),
            ("s3.amazonaws.com", "us-east-1"),
            ("b.s3.cn-north-1.amazonaws.com.cn", "cn-north-1"),
            ("images.example.com", "us-east-1"),
        ] {
            assert_eq!(region_of(host), want, "{host}");
        }
    }
}
