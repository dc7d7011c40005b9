//! What a status means to a person: the URL, the status, the server's own words
//! and the next step.

use super::url::shown;
use model::fault::{Fault, Kind};
use model::text::quote;
use model::{Value, json};

/// Characters of the server's text that are shown.
const EXCERPT: usize = 200;

/// `body` is what the server sent with it, or the beginning of that.
pub fn status_fault(status: u16, url: &str, body: &[u8]) -> Fault {
    let mut text = format!("bad HTTP status code: {status}");
    if let Some(reason) = reason(status) {
        text.push_str(&format!(" {reason}"));
    }
    text.push_str(&format!(" from {}", quote(&shown(url))));
    let words = excerpt(body);
    if !words.is_empty() {
        text.push_str(&format!(": {words}"));
    }
    let kind = match status {
        401 | 403 => Kind::Refused,
        404 | 410 => Kind::NotFound,
        408 | 504 => Kind::TimedOut,
        _ => Kind::Invalid,
    };
    let fault = Fault::new(kind, text);
    match hint(status) {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}

fn hint(status: u16) -> Option<&'static str> {
    Some(match status {
        401 => "credentials for this host belong into a file in auth.d of the configuration",
        403 => "the credentials in auth.d may not be the ones for this image, or it does not exist",
        404 | 410 => "check the name, the tag and the host of the image",
        407 => "the proxy wants credentials: https_proxy=http://user:password@host:port",
        416 => "what the server has is not what was begun; fetch it anew",
        429 => "the server limits requests: wait, or use credentials (auth.d)",
        500.. => "the fault is the server's: try again later",
        _ => return None,
    })
}

fn reason(status: u16) -> Option<&'static str> {
    ureq::http::StatusCode::from_u16(status)
        .ok()?
        .canonical_reason()
}

/// The errors of a registry as `code: message`, else the text without what a
/// terminal would act on.
fn excerpt(body: &[u8]) -> String {
    let text = match json::parse(body) {
        Ok(value) => registry_errors(&value).unwrap_or_default(),
        Err(_) => {
            let text = String::from_utf8_lossy(body);
            // A page is for browsers; its markup says nothing here.
            match text.trim_start().starts_with('<') {
                true => String::new(),
                false => text.into_owned(),
            }
        }
    };
    tame(&text)
}

fn registry_errors(value: &Value) -> Option<String> {
    let text = |value: &Value, key: &str| Some(value.get(key)?.as_str()?.to_string());
    let Some(errors) = value.get("errors").and_then(|errors| errors.as_array()) else {
        // Token servers have their own forms.
        return ["error_description", "message", "details", "error"]
            .iter()
            .find_map(|key| text(value, key));
    };
    let lines: Vec<String> = errors
        .iter()
        .take(3)
        .filter_map(
            |error| match (text(error, "code"), text(error, "message")) {
                (Some(code), Some(message)) if !message.is_empty() => {
                    Some(format!("{}: {message}", code.to_lowercase()))
                }
                (Some(code), _) => Some(code.to_lowercase()),
                (None, message) => message,
            },
        )
        .collect();
    Some(lines.join("; "))
}

fn tame(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut out: String = words
        .join(" ")
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .take(EXCERPT + 1)
        .collect();
    if out.chars().count() > EXCERPT {
        out = out.chars().take(EXCERPT).chain(['…']).collect();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_server() {
        let long = "x".repeat(1000);
        for (body, want) in [
            ("", ""),
            ("nope\n", "nope"),
            ("a\u{1b}[2J\r\nb", "a?[2J b"),
            ("<html><body>nope", ""),
            (
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{}}]}"#,
                "manifest_unknown: manifest unknown",
            ),
            (
                r#"{"errors":[{"code":"DENIED"},{"message":"b"},7]}"#,
                "denied; b",
            ),
            (r#"{"errors":[]}"#, ""),
            (r#"{"details":"bad password"}"#, "bad password"),
            (r#"[1,2]"#, ""),
        ] {
            assert_eq!(excerpt(body.as_bytes()), want, "{body}");
        }
        assert_eq!(excerpt(long.as_bytes()).chars().count(), EXCERPT + 1);
        assert_eq!(excerpt(b"\xff\xfe"), "\u{fffd}\u{fffd}");
    }

    #[test]
    fn a_fault_names_url_status_and_next_step() {
        let fault = status_fault(404, "https://u:p@h/x", b"gone");
        assert_eq!(
            fault.to_string(),
            r#"bad HTTP status code: 404 Not Found from "https://***@h/x": gone"#
        );
        assert_eq!(fault.kind, Kind::NotFound);
        assert!(fault.hint.is_some());
        assert!(status_fault(418, "x", b"").hint.is_none());
    }
}
