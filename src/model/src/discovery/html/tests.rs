use super::*;
use crate::label::Label;
use std::fmt::Write;

fn name(text: &str) -> AcIdentifier {
    AcIdentifier::new(text).expect("a name")
}

fn labels() -> Labels {
    let list = [("version", "1.0.0"), ("os", "linux"), ("arch", "amd64")];
    let list = list.map(|(name, value)| Label::new(name, value).expect("a label"));
    Labels::new(list.to_vec()).expect("labels")
}

fn images(html: &str, wanted: &str) -> Vec<String> {
    let endpoints = Page::parse(html.as_bytes()).endpoints(&name(wanted), &labels());
    endpoints
        .into_iter()
        .map(|endpoint| endpoint.image)
        .collect()
}

#[test]
fn a_page_names_templates_and_keys() {
    let html = r#"<!DOCTYPE html>
<html><head><title>Example</title>
<meta name="ac-discovery" content="example.com https://storage.example.com/{os}/{arch}/{name}-{version}.{ext}">
<meta name="ac-discovery" content="example.com/other https://other.example.com/{name}.{ext}">
<meta name="ac-discovery" content="example.com hdfs://storage.example.com/{name}-{version}.{ext}">
<meta name='ac-discovery' content='example.com https://mirror.example.com/{name}-{channel}.{ext}'>
<meta name="ac-discovery" content="example.com   https://mirror.example.com/{name}.{ext}?a=1&amp;b=2"/>
<meta name="ac-discovery-pubkeys" content="example.com https://example.com/pubkeys.gpg">
<meta name="ac-discovery-pubkeys" content="example.com/other https://example.com/other.gpg">
<meta name="ac-push-discovery" content="example.com https://push.example.com/{name}">
</head><body></body></html>"#;
    let page = Page::parse(html.as_bytes());
    let worker = name("example.com/reduce-worker");
    let found = page.endpoints(&worker, &labels());
    assert_eq!(
        found,
        [
            Endpoint {
                image: "https://storage.example.com/linux/amd64/example.com/reduce-worker-1.0.0.aci".into(),
                signature: "https://storage.example.com/linux/amd64/example.com/reduce-worker-1.0.0.aci.asc".into(),
            },
            Endpoint {
                image: "https://mirror.example.com/example.com/reduce-worker.aci?a=1&b=2".into(),
                signature: "https://mirror.example.com/example.com/reduce-worker.aci.asc?a=1&b=2".into(),
            },
        ]
    );
    assert_eq!(page.keys(&worker), ["https://example.com/pubkeys.gpg"]);
    let other = name("example.com/otherwise");
    assert_eq!(page.keys(&other).len(), 2, "a prefix is one of the text");
    assert!(page.keys(&name("example.org/x")).is_empty());
}

#[test]
fn only_a_tag_that_is_one_counts() {
    let tag = |before: &str, after: &str| {
        format!(
            "{before}<meta name=ac-discovery content='e.com https://h/{{name}}.{{ext}}'>{after}"
        )
    };
    for good in [
        tag("", ""),
        tag("<body><p class='>'>", ""),
        tag("<!-- a > -- b -->", ""),
        tag("<!-->", ""),
        tag("<script>if (a < b) '<!--'</script>", ""),
        tag("<TITLE><a href=\"</TITLE >", ""),
        tag("< meta", ""),
        tag("</p title=x><?php ?><!x>", "<meta"),
        tag("<input value='", "'").replacen("value='", "value='x'>", 1),
        "<META\n NAME = \"ac-discovery\"/CONTENT=\" e.com https://h/{name}.{ext}\t\" / >"
            .to_string(),
        "<meta = name=ac-discovery x content=\"e.com&#32;https:&#x2F;/h/{name}.{ext}\">"
            .to_string(),
        "<meta name=ac-discovery name=x content='e.com https://h/{name}.{ext}'>".to_string(),
    ] {
        assert_eq!(
            images(&good, "e.com/a"),
            ["https://h/e.com/a.aci"],
            "{good}"
        );
    }
    for bad in [
        tag("<!--", "-->"),
        tag("<!--", ""),
        tag("<script>", "</script>"),
        tag("<style>", "</stylex>"),
        tag("<title>", ""),
        tag("<noscript>", "</noscript>"),
        tag("<plaintext>", ""),
        tag("<input value='", "'>"),
        tag("<input value=\"", ""),
        tag("", "").replace("'>", "'"),
        tag("", "").replace("<meta", "<metadata"),
        tag("", "").replace("=ac-discovery", "=AC-discovery"),
        tag("", "").replace("e.com ", "e.com"),
        tag("", "").replace("e.com ", " "),
        tag("", "").replace("https:", "javascript:"),
        "<meta name=ac-discovery content=e.com https://h/x>".to_string(),
        "<meta name=ac-discovery content='e.com https://h/a&#10;b'>".to_string(),
    ] {
        assert!(images(&bad, "e.com/a").is_empty(), "{bad}");
    }
}

#[test]
fn hostile_pages_cost_little() {
    let many = tag_list(5000);
    let page = Page::parse(many.as_bytes());
    assert_eq!(page.templates.len(), MAX_TAGS);
    let long = format!(
        "<meta name=ac-discovery content='e.com https://h/{}'>",
        "x".repeat(9000)
    );
    assert!(images(&long, "e.com/a").is_empty());
    let mut late = " ".repeat(MAX_PAGE);
    late.push_str(&tag_list(1));
    assert_eq!(Page::parse(late.as_bytes()), Page::default());
    for piece in [
        "<",
        "<a ",
        "<a =",
        "<!--",
        "</",
        "<script></",
        "<a b='",
        "&#",
        "<meta name=",
        "\0",
        "é<é",
        "<a/",
        "<meta x=& ",
        "</script>",
        "<title></titl",
    ] {
        let page = piece.repeat(MAX_PAGE / piece.len());
        assert_eq!(Page::parse(page.as_bytes()), Page::default(), "{piece}");
    }
    assert_eq!(
        Page::parse(b"<meta name=ac-discovery content='e.com \xff'>"),
        Page::default()
    );
}

fn tag_list(count: usize) -> String {
    let mut html = String::new();
    for number in 0..count {
        let tag = "<meta name=ac-discovery content='e.com https://h/";
        write!(html, "{tag}{number}'>").expect("writing to a String cannot fail");
    }
    html
}

#[test]
fn a_page_cut_anywhere_never_panics() {
    let html = "<!--x--><ScRiPt a='1'>\"</x></script ><meta name=\"ac-discovery\" \
                content='e.com https://h/{name}&#x41;&amp;&nope;&#0;'/><p =é>";
    for at in (0..=html.len()).filter(|at| html.is_char_boundary(*at)) {
        Page::parse(&html.as_bytes()[..at]);
        Page::parse(&html.as_bytes()[at..]);
        for spice in ["\0", "<", ">", "'", "\"", "&", "=", "/", "é", "<!--", "</"] {
            Page::parse(format!("{}{spice}{}", &html[..at], &html[at..]).as_bytes());
        }
    }
}
