use super::*;
use crate::label::Label;

#[test]
fn names_are_asked_from_the_whole_to_the_host() {
    let name = AcIdentifier::new("example.com/a/b").expect("a name");
    let list = prefixes(&name);
    assert_eq!(list, ["example.com/a/b", "example.com/a", "example.com"]);
    let name = AcIdentifier::new("host").expect("a name");
    assert_eq!(prefixes(&name), ["host"]);
    let name = AcIdentifier::new("a.com//b").expect("a name");
    assert_eq!(prefixes(&name), ["a.com//b", "a.com"]);
    let deep = AcIdentifier::new(&format!("h{}", "/a".repeat(500))).expect("a name");
    assert_eq!(prefixes(&deep).len(), MAX_PREFIXES);
    assert_eq!(prefixes(&deep).last(), Some(&"h"));
}

#[test]
fn pages_and_simple_urls() {
    for (scheme, prefix, port, want) in [
        (
            "https",
            "example.com/a",
            None,
            "https://example.com/a?ac-discovery=1",
        ),
        (
            "http",
            "example.com",
            Some(8080),
            "http://example.com:8080?ac-discovery=1",
        ),
        (
            "https",
            "e.com/a/b",
            Some(1),
            "https://e.com:1/a/b?ac-discovery=1",
        ),
    ] {
        assert_eq!(page_url(scheme, prefix, port), want);
    }
    let name = AcIdentifier::new("example.com/reduce-worker").expect("a name");
    let os = Label::new("os", "linux").expect("a label");
    let arch = Label::new("arch", "amd64").expect("a label");
    let labels = Labels::new(vec![os.clone(), arch]).expect("labels");
    let found = simple("https", &name, &labels).expect("an endpoint");
    assert_eq!(
        (found.image.as_str(), found.signature.as_str()),
        (
            "https://example.com/reduce-worker-latest-linux-amd64.aci",
            "https://example.com/reduce-worker-latest-linux-amd64.aci.asc"
        )
    );
    let labels = Labels::new(vec![os]).expect("labels");
    assert_eq!(simple("https", &name, &labels), None);
}
