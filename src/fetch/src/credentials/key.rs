//! What a login is for: a host and a prefix of a path, read from the many ways
//! in which configuration files write that.

/// `https://index.docker.io/v1/`, `docker.io`, `quay.io/ns`, `h:5000` …
///
/// All names of Docker Hub are one. A key with a scheme means its host whatever
/// path it has, as docker reads it; `v1` and `v2` are no repositories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    host: String,
    path: String,
}

const HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

impl Key {
    pub fn new(host: &str, path: &str) -> Key {
        let host = host.to_ascii_lowercase();
        Key {
            host: match HUB.contains(&host.as_str()) {
                true => HUB[0].to_string(),
                false => host,
            },
            path: path.trim_matches('/').to_string(),
        }
    }

    /// As it stands in a file.
    pub fn parse(text: &str) -> Key {
        let text = text.trim();
        let bare = ["https://", "http://"]
            .iter()
            .find_map(|scheme| text.strip_prefix(scheme));
        let (host, path) = match bare {
            Some(rest) => (rest.split('/').next().unwrap_or(rest), ""),
            None => text.split_once('/').unwrap_or((text, "")),
        };
        match path.trim_matches('/') {
            "v1" | "v2" => Key::new(host, ""),
            path => Key::new(host, path),
        }
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    /// The host is the same and the path begins with ours, component by component.
    /// One that climbs may end outside of ours once the server has read it.
    pub fn covers(&self, wanted: &Key) -> bool {
        self.host == wanted.host
            && (self.path.is_empty()
                || !climbs(&wanted.path)
                    && wanted
                        .path
                        .strip_prefix(&self.path)
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }

    /// What credential helpers know the host as.
    pub fn server(&self) -> &str {
        match self.host == HUB[0] {
            true => "https://index.docker.io/v1/",
            false => &self.host,
        }
    }
}

/// Whether a component is `..`, however servers may be told so.
fn climbs(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    let path = path.replace("%2e", ".").replace("%2f", "/");
    let path = path.replace("%5c", "/").replace('\\', "/");
    path.split('/').any(|part| part == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_cover_what_they_name() {
        for (key, host, path, covers) in [
            ("quay.io", "quay.io", "a/b", true),
            ("Quay.IO", "quay.io", "a/b", true),
            ("quay.io/a", "quay.io", "a/b", true),
            ("quay.io/a/", "quay.io", "a", true),
            ("quay.io/a", "quay.io", "ab", false),
            ("quay.io/a/b", "quay.io", "a", false),
            ("quay.io/a", "quay.io", "a/../b", false),
            ("quay.io/a", "quay.io", "a/%2E%2e/b", false),
            ("quay.io/a", "quay.io", "a/x%2f..%2f../b", false),
            ("quay.io/a", "quay.io", "a/..b/x", true),
            ("quay.io", "quay.io", "a/../b", true),
            ("https://quay.io/anything", "quay.io", "a", true),
            ("http://quay.io", "quay.io", "a", true),
            ("quay.io/v2/", "quay.io", "a", true),
            ("quay.io", "quay.io:443", "a", false),
            ("quay.io:5000", "quay.io", "a", false),
            ("io", "quay.io", "a", false),
            ("quay.io.evil", "quay.io", "a", false),
            (
                "https://index.docker.io/v1/",
                "registry-1.docker.io",
                "library/a",
                true,
            ),
            ("docker.io", "registry-1.docker.io", "library/a", true),
            ("docker.io/me", "registry-1.docker.io", "library/a", false),
            ("registry-1.docker.io", "docker.io", "me/a", true),
            ("[::1]:5000", "[::1]:5000", "a", true),
            ("", "quay.io", "a", false),
        ] {
            let wanted = Key::new(host, path);
            assert_eq!(
                Key::parse(key).covers(&wanted),
                covers,
                "{key} {host} {path}"
            );
        }
    }

    #[test]
    fn helpers_are_asked_by_docker_s_own_name_of_the_hub() {
        assert_eq!(
            Key::new("registry-1.docker.io", "x").server(),
            "https://index.docker.io/v1/"
        );
        assert_eq!(Key::new("h:5000", "x").server(), "h:5000");
    }
}
