//! URL templates: `https://example.com/{name}-{version}-{os}-{arch}.{ext}`.
//!
//! Values are put in as they are and are not looked at again, so that no label
//! can bring a placeholder of its own.

use crate::label::Labels;
use crate::name::AcIdentifier;

/// Longest URL; servers take no longer one.
const MAX_URL: usize = 8192;

/// Where an image is, and its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub image: String,
    pub signature: String,
}

impl Endpoint {
    pub(super) fn of(template: &str, name: &AcIdentifier, labels: &Labels) -> Option<Endpoint> {
        Some(Endpoint {
            image: render(template, name, labels, "aci")?,
            signature: render(template, name, labels, "aci.asc")?,
        })
    }
}

/// Fills a template in: `{name}`, `{ext}`, and each other placeholder with the
/// label of its name; an image without a version is `latest`. `None` where a
/// label is missing or no http or https URL comes out.
pub fn render(template: &str, name: &AcIdentifier, labels: &Labels, ext: &str) -> Option<String> {
    let mut url = String::new();
    let mut rest = template;
    while let Some((text, behind)) = rest.split_once('{') {
        let (key, behind) = behind.split_once('}')?;
        url.push_str(text);
        url.push_str(match key {
            "name" => name.as_str(),
            "ext" => ext,
            "version" => labels
                .get("version")
                .filter(|version| !version.is_empty())
                .unwrap_or("latest"),
            label => labels.get(label)?,
        });
        if url.len() > MAX_URL {
            return None;
        }
        rest = behind;
    }
    url.push_str(rest);
    (!url.contains(['{', '}']) && is_url(&url)).then_some(url)
}

/// An http or https URL with a host and nothing that ends a line of a request.
pub(super) fn is_url(text: &str) -> bool {
    let plain = |c: char| c.is_whitespace() || c.is_control();
    let Some((scheme, rest)) = text.split_once("://") else {
        return false;
    };
    let web = ["http", "https"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known));
    web && text.len() <= MAX_URL
        && !text.contains(plain)
        && !rest.is_empty()
        && !rest.starts_with(['/', '?', '#'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::label::Label;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        let list = pairs
            .iter()
            .map(|(name, value)| Label::new(name, *value).expect("a label"))
            .collect();
        Labels::new(list).expect("labels")
    }

    #[test]
    fn templates_are_filled_in() {
        let name = AcIdentifier::new("example.com/reduce-worker").expect("a name");
        let full = labels(&[
            ("version", "1.0.0"),
            ("os", "linux"),
            ("arch", "amd64"),
            ("evil", "{os}"),
            ("line", "a\r\nb"),
            ("channel", "beta+2%20"),
        ]);
        let bare = labels(&[("version", "")]);
        for (template, labels, want) in [
            (
                "https://storage.example.com/{os}/{arch}/{name}-{version}.{ext}",
                &full,
                Some("https://storage.example.com/linux/amd64/example.com/reduce-worker-1.0.0.aci"),
            ),
            (
                "http://h/{version}{version}",
                &bare,
                Some("http://h/latestlatest"),
            ),
            ("https://h/{channel}", &full, Some("https://h/beta+2%20")),
            ("https://h/plain", &bare, Some("https://h/plain")),
            ("https://h/{os}", &bare, None),
            ("https://h/{}", &full, None),
            ("https://h/{evil}", &full, None),
            ("https://h/{line}", &full, None),
            ("https://h/{name", &full, None),
            ("https://h/name}", &full, None),
            ("https://h/{{name}}", &full, None),
            ("ftp://h/{name}.{ext}", &full, None),
            ("file:///{name}", &full, None),
            ("https:///{name}", &full, None),
            ("{name}", &full, None),
            ("https://h/a b", &full, None),
        ] {
            let found = render(template, &name, labels, "aci");
            assert_eq!(found.as_deref(), want, "{template}");
        }
        let long = format!("https://h/{}", "{name}".repeat(100_000));
        assert_eq!(render(&long, &name, &full, "aci"), None);
    }
}
