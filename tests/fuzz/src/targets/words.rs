//! The words by which images are named, on the command line and in discovery pages: what is shown parses back to the
//! same, and no page makes an endpoint that is no URL.

use model::oci::Platform;
use model::reference::Reference;
use model::{
    AcIdentifier, AcName, Digest, DockerReference, ImageId, Labels, PodUuid, Quantity, Version,
};
use model::{discovery, duration};

use super::plant::plant;

pub fn image_string(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    reference(text);
    if let Ok(docker) = DockerReference::parse(text) {
        for shown in [docker.to_string(), docker.canonical()] {
            let again = DockerReference::parse(&shown).expect("what is shown can be read");
            assert_eq!(again, docker, "{shown:?} is another reference");
        }
        let host = docker.registry();
        assert!(
            !host.is_empty() && !host.contains('/'),
            "{host:?} is no host"
        );
        let met = docker.domain.contains(':')
            && docker.digest.is_some()
            && docker.path.matches('/').count() >= 2;
        plant(met, "a port, a digest and a path of three parts");
    }
    plain(text);
}

fn reference(text: &str) {
    let nothing = |_: &str| false;
    for exists in [&nothing as &dyn Fn(&str) -> bool, &|path| {
        path.ends_with("file")
    }] {
        for parse in [Reference::parse, Reference::parse_for_fetch] {
            let Ok(reference) = parse(text, exists, "/cwd") else {
                continue;
            };
            let shown = reference.to_string();
            let again = parse(&shown, exists, "/cwd");
            match (&reference, &again) {
                // The short form leaves out what Docker Hub is understood for.
                (Reference::Docker(a), Ok(Reference::Docker(b))) => {
                    let read = |text: &str| {
                        DockerReference::parse(text).expect("the reference holds a docker name")
                    };
                    assert_eq!(read(a), read(b), "{text:?} is shown as {shown:?}");
                }
                // The version comes first, wherever it stood.
                (Reference::Name { name, labels }, Ok(Reference::Name { name: n, labels: l })) => {
                    let same = name == n && labels.satisfy(l) && l.satisfy(labels);
                    assert!(same, "{text:?} is shown as {shown:?}");
                }
                (_, Ok(again)) => assert_eq!(*again, reference, "{text:?} is shown as {shown:?}"),
                (_, Err(fault)) => {
                    panic!("{text:?} is shown as {shown:?}, which cannot be read: {fault}")
                }
            }
            if let Some(cimd) = reference.to_cimd() {
                let again = Reference::parse(&cimd, exists, "/cwd")
                    .expect("a distribution URI can be read");
                assert_eq!(
                    again.to_cimd(),
                    Some(cimd),
                    "{text:?} has two distribution URIs"
                );
            }
        }
    }
    let _ = Reference::parse_stored(text);
}

/// The small types that names are made of.
fn plain(text: &str) {
    for name in [AcIdentifier::new(text), AcIdentifier::sanitize(text)]
        .into_iter()
        .flatten()
    {
        assert_eq!(
            AcIdentifier::sanitize(name.as_str()).ok(),
            Some(name.clone()),
            "a valid name is made another"
        );
        for prefix in discovery::prefixes(&name) {
            assert!(name.as_str().starts_with(prefix), "{prefix:?} is no prefix");
            let _ = discovery::page_url("https", prefix, Some(8443));
        }
        let _ = discovery::simple("https", &name, &Labels::default());
        let _ = discovery::render("https://{name}.{ext}", &name, &Labels::default(), "aci");
    }
    if let Ok(name) = AcName::sanitize(text) {
        assert_eq!(
            AcName::new(name.as_str()).ok(),
            Some(name),
            "a name was made that is none"
        );
    }
    if let Ok(digest) = Digest::parse(text) {
        assert_eq!(Digest::parse(&digest.to_string()).ok(), Some(digest));
    }
    if let Ok(platform) = Platform::parse(text) {
        assert_eq!(Platform::parse(&platform.to_string()).ok(), Some(platform));
    }
    if let Ok(id) = ImageId::new(text) {
        assert_eq!(ImageId::new(id.as_str()).ok(), Some(id.clone()));
        let _ = (id.short(), id.brief());
    }
    if let Ok(uuid) = PodUuid::new(text) {
        assert_eq!(PodUuid::new(uuid.as_str()).ok(), Some(uuid));
    }
    if let Ok(quantity) = Quantity::parse(text) {
        let _ = (quantity.value(), quantity.milli());
    }
    if let Ok(span) = duration::parse(text) {
        assert_eq!(
            duration::parse(&duration::to_text(span)).ok(),
            Some(span),
            "{text:?} is another span"
        );
    }
    let _ = (
        Version::parse(text),
        model::time::parse_rfc3339(text),
        model::text::quote(text),
    );
}

pub fn page(data: &[u8]) {
    let page = discovery::Page::parse(data);
    let name = AcIdentifier::new("example.com/reduce/worker").expect("this is a name");
    let mut labels = Labels::default();
    for (label, value) in [("version", "1.0.0"), ("os", "linux"), ("arch", "amd64")] {
        let label = model::Label::new(label, value).expect("this is a label");
        labels.push(label).expect("each is there once");
    }
    let url = |text: &str| {
        assert!(
            text.starts_with("http://") || text.starts_with("https://"),
            "{text:?} is no URL"
        );
        assert!(
            !text.chars().any(|c| c.is_control() || c == ' '),
            "{text:?} is not plain"
        );
    };
    let endpoints = page.endpoints(&name, &labels);
    for endpoint in &endpoints {
        url(&endpoint.image);
        url(&endpoint.signature);
        assert!(
            !endpoint.image.contains(['{', '}']),
            "{:?} is still a template",
            endpoint.image
        );
    }
    let keys = page.keys(&name);
    keys.iter().for_each(|key| url(key));
    plant(
        endpoints.len() >= 2 && keys.len() >= 2,
        "two endpoints and two keys for one name",
    );
    if let Ok(text) = std::str::from_utf8(data)
        && let Some(made) = discovery::render(text, &name, &labels, "aci")
    {
        assert!(
            made.len() <= 30 * text.len(),
            "a template grows without bound"
        );
    }
}
