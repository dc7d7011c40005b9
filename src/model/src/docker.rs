//! References to images in docker and OCI registries: `busybox`,
//! `quay.io/coreos/etcd:v3`, `localhost:5000/a/b@sha256:…`.
//!
//! Parsing normalises: Docker Hub and `library/` are filled in, so that two
//! spellings of one image are equal. The grammar is that of the distribution
//! project.

use crate::fault::{Fault, Result};
use crate::text::quote;
use std::fmt;

const HUB: &str = "docker.io";
/// Longest name, registry included.
const MAX_NAME: usize = 255;

/// A fully defaulted reference. A digest wins over a tag; without either the
/// tag is `latest`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DockerReference {
    /// `docker.io`, or `host[:port]`.
    pub domain: String,
    /// `library/busybox`
    pub path: String,
    pub tag: Option<String>,
    /// `sha256:<hex>`
    pub digest: Option<String>,
}

impl DockerReference {
    pub fn parse(text: &str) -> Result<DockerReference> {
        DockerReference::read(text).map_err(|why| {
            Fault::invalid(format!("invalid docker reference {}: {why}", quote(text)))
        })
    }

    fn read(text: &str) -> Result<DockerReference, &'static str> {
        if text.len() > 2 * MAX_NAME + 128 {
            return Err("it is too long");
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) if is_digest(digest) => (rest, Some(digest.to_string())),
            Some(_) => return Err("the digest is malformed"),
            None => (text, None),
        };
        // A colon behind the last slash begins a tag, any other one a port.
        let tail = rest.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match rest[tail..].find(':').map(|at| tail + at) {
            Some(at) if is_tag(&rest[at + 1..]) => (&rest[..at], Some(rest[at + 1..].to_string())),
            Some(_) => return Err("the tag is malformed"),
            None => (rest, None),
        };
        if is_hex_id(name) {
            return Err("64 hex digits are an image ID, not a name");
        }
        let (domain, path) = match name.split_once('/') {
            Some((left, right)) if is_domain_like(left) => (left, right),
            _ => (HUB, name),
        };
        if !is_domain(domain) {
            return Err("the registry's name is malformed");
        }
        if path.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err("the repository's name must be lower case");
        }
        if path.is_empty() || !path.split('/').all(is_component) {
            return Err("the repository's name is malformed");
        }
        let domain = if domain == "index.docker.io" || domain == "registry-1.docker.io" {
            HUB
        } else {
            domain
        };
        let path = match path.contains('/') || domain != HUB {
            true => path.to_string(),
            false => format!("library/{path}"),
        };
        if domain.len() + path.len() > MAX_NAME {
            return Err("it is too long");
        }
        let tag = match (&digest, tag) {
            (None, None) => Some("latest".to_string()),
            (_, tag) => tag,
        };
        Ok(DockerReference {
            domain: domain.to_string(),
            path,
            tag,
            digest,
        })
    }

    /// Host and port of the registry's API.
    pub fn registry(&self) -> &str {
        if self.domain == HUB {
            "registry-1.docker.io"
        } else {
            &self.domain
        }
    }

    /// What stands in the manifest's URL: the digest, else the tag.
    pub fn version(&self) -> &str {
        self.digest
            .as_deref()
            .or(self.tag.as_deref())
            .unwrap_or("latest")
    }

    /// With everything that was filled in: equal text means equal image.
    pub fn canonical(&self) -> String {
        let tag = self
            .tag
            .as_ref()
            .map(|tag| format!(":{tag}"))
            .unwrap_or_default();
        let digest = self
            .digest
            .as_ref()
            .map(|digest| format!("@{digest}"))
            .unwrap_or_default();
        format!("{}/{}{tag}{digest}", self.registry(), self.path)
    }
}

fn is_hex_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

impl fmt::Display for DockerReference {
    /// The short form: without Docker Hub, `library/` and `:latest`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.domain == HUB {
            let path = &self.path;
            let short = path
                .strip_prefix("library/")
                .filter(|rest| !rest.contains('/') && !is_hex_id(rest));
            // Without the Hub its first part would be taken for a registry.
            if path
                .split_once('/')
                .is_some_and(|(first, _)| is_domain_like(first))
            {
                write!(f, "{HUB}/")?;
            }
            f.write_str(short.unwrap_or(path))?;
        } else {
            write!(f, "{}/{}", self.domain, self.path)?;
        }
        match (&self.tag, &self.digest) {
            (Some(tag), Some(digest)) => write!(f, ":{tag}@{digest}"),
            (None, Some(digest)) => write!(f, "@{digest}"),
            (Some(tag), None) if tag != "latest" => write!(f, ":{tag}"),
            _ => Ok(()),
        }
    }
}

fn is_domain_like(text: &str) -> bool {
    text.contains(['.', ':']) || text == "localhost" || text.bytes().any(|b| b.is_ascii_uppercase())
}

fn is_domain(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((ip, port)) if ip.parse::<std::net::Ipv6Addr>().is_ok() => (
                None,
                port.strip_prefix(':')
                    .map_or((port.is_empty(), ""), |port| (true, port)),
            ),
            _ => return false,
        },
        None => {
            let (host, port) = text
                .split_once(':')
                .map_or((text, None), |(h, p)| (h, Some(p)));
            (
                Some(host),
                port.map_or((true, ""), |port| (!port.is_empty(), port)),
            )
        }
    };
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let (separated, port) = port;
    separated
        && (port.is_empty() || port.parse::<u16>().is_ok_and(|_| !port.starts_with('+')))
        && host.is_none_or(|host| host.split('.').all(label))
}

/// Groups of letters and digits joined by `.`, `_`, `__` or dashes.
fn is_component(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !text.starts_with(is_word) || !text.ends_with(is_word) {
        return false;
    }
    text.split(is_word)
        .all(|gap| matches!(gap, "" | "." | "_" | "__") || gap.bytes().all(|b| b == b'-'))
}

fn is_tag(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 128
        && !text.starts_with(['.', '-'])
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else {
        return false;
    };
    let digits = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return false,
    };
    hex.len() == digits && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_repository_that_looks_like_a_registry_is_shown_with_the_hub() {
        let id = "0".repeat(64);
        for text in [
            "docker.io/index.docker.io/a",
            "docker.io/localhost/a",
            &format!("docker.io/library/{id}"),
        ] {
            let reference = DockerReference::parse(text).expect(text);
            let again = DockerReference::parse(&reference.to_string()).expect(text);
            assert_eq!(again, reference, "{text}");
        }
    }

    #[test]
    fn references_are_filled_in_and_shortened() {
        let sha = format!("sha256:{}", "ab".repeat(32));
        for (text, canonical, short) in [
            (
                "busybox",
                "registry-1.docker.io/library/busybox:latest",
                "busybox",
            ),
            (
                "busybox:1.35",
                "registry-1.docker.io/library/busybox:1.35",
                "busybox:1.35",
            ),
            (
                "index.docker.io/redis",
                "registry-1.docker.io/library/redis:latest",
                "redis",
            ),
            (
                "registry-1.docker.io/library/redis",
                "registry-1.docker.io/library/redis:latest",
                "redis",
            ),
            (
                "coreos/etcd",
                "registry-1.docker.io/coreos/etcd:latest",
                "coreos/etcd",
            ),
            (
                "quay.io/coreos/etcd:v3",
                "quay.io/coreos/etcd:v3",
                "quay.io/coreos/etcd:v3",
            ),
            ("localhost/a", "localhost/a:latest", "localhost/a"),
            (
                "localhost:5000/a_b/c__d-e---f.g:x",
                "localhost:5000/a_b/c__d-e---f.g:x",
                "localhost:5000/a_b/c__d-e---f.g:x",
            ),
            ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a"),
            ("Host/a", "Host/a:latest", "Host/a"),
        ] {
            let reference = DockerReference::parse(text).unwrap();
            assert_eq!(reference.canonical(), canonical);
            assert_eq!(reference.to_string(), short);
            assert_eq!(DockerReference::parse(short).unwrap(), reference);
        }
        let pinned = DockerReference::parse(&format!("a/b:t@{sha}")).unwrap();
        assert_eq!(pinned.version(), sha);
        assert_eq!(pinned.tag.as_deref(), Some("t"));
        let pinned = DockerReference::parse(&format!("a/b@{sha}")).unwrap();
        assert_eq!(
            (pinned.tag.as_deref(), pinned.to_string()),
            (None, format!("a/b@{sha}"))
        );
    }

    #[test]
    fn hostile_references_are_refused() {
        let hex = "a".repeat(64);
        let long = "a/".repeat(200) + "a";
        for text in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "A",
            "a/B",
            "a:",
            "a:-x",
            "a@",
            "a@sha256:ab",
            "a@md5:00",
            "a..b",
            "a___b",
            ".a",
            "a-",
            "a b",
            "a\0",
            "../a",
            "a/../b",
            "http://a",
            "-x.y/a",
            "a.b:port/a",
            "a.b:/a",
            "a.b:99999/a",
            "[::1/a",
            "[x]/a",
            "[::1]x/a",
            "é",
            &hex,
            &long,
        ] {
            assert!(DockerReference::parse(text).is_err(), "{text}");
        }
        assert_eq!(
            DockerReference::parse("foo/Bar").unwrap_err().cause,
            "invalid docker reference \"foo/Bar\": the repository's name must be lower case"
        );
    }
}
