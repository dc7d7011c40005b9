//! The meta tags of a page of a stranger.
//!
//! Bytes in, prefixes and URLs out. The scanner goes over the page once and keeps
//! nothing but what it looks for. It knows comments, quotes, character
//! references, and the elements whose content is text (a tag in a script is
//! none), as the tokenizer does that rkt used; like that one it takes a meta tag
//! wherever it stands. What it cannot read says nothing.

use super::template::{Endpoint, is_url};
use crate::label::Labels;
use crate::name::AcIdentifier;

/// Bytes of a page that are looked at.
pub const MAX_PAGE: usize = 1 << 20;
/// Tags of each kind that are kept.
const MAX_TAGS: usize = 1000;
/// Longest attribute that is kept.
const MAX_VALUE: usize = 8192;

/// Elements whose content is text up to their end tag.
const RAW: [&str; 9] = [
    "iframe", "noembed", "noframes", "noscript", "script", "style", "textarea", "title", "xmp",
];

/// What a page's meta tags say, in the order of the page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Prefix and template.
    templates: Vec<(String, String)>,
    /// Prefix and URL.
    keys: Vec<(String, String)>,
}

impl Page {
    /// Never fails.
    pub fn parse(html: &[u8]) -> Page {
        let mut page = Page::default();
        let mut scanner = Scanner {
            html: &html[..html.len().min(MAX_PAGE)],
            at: 0,
        };
        while let Some(tag) = scanner.next_tag() {
            if tag.name == "meta" {
                page.add(&tag);
            }
        }
        page
    }

    fn add(&mut self, tag: &Tag) {
        let list = match tag.attribute("name") {
            Some("ac-discovery") => &mut self.templates,
            Some("ac-discovery-pubkeys") => &mut self.keys,
            _ => return,
        };
        let Some((prefix, uri)) = tag
            .attribute("content")
            .and_then(|content| content.trim().split_once(' '))
        else {
            return;
        };
        if list.len() < MAX_TAGS && !uri.trim().is_empty() {
            list.push((prefix.to_string(), uri.trim().to_string()));
        }
    }

    /// Where the image may be. A prefix counts if the name begins with its text,
    /// as in rkt; templates that a label is missing for are passed over.
    pub fn endpoints(&self, name: &AcIdentifier, labels: &Labels) -> Vec<Endpoint> {
        let mut list: Vec<Endpoint> = Vec::new();
        for template in matching(&self.templates, name) {
            if let Some(endpoint) = Endpoint::of(template, name, labels)
                && !list.contains(&endpoint)
            {
                list.push(endpoint);
            }
        }
        list
    }

    /// URLs of public keys for the name.
    pub fn keys(&self, name: &AcIdentifier) -> Vec<&str> {
        let mut list: Vec<&str> = Vec::new();
        for url in matching(&self.keys, name) {
            if is_url(url) && !list.contains(&url) {
                list.push(url);
            }
        }
        list
    }
}

fn matching<'p, 'n>(
    list: &'p [(String, String)],
    name: &'n AcIdentifier,
) -> impl Iterator<Item = &'p str> + use<'p, 'n> {
    list.iter()
        .filter(|(prefix, _)| name.as_str().starts_with(prefix.as_str()))
        .map(|(_, uri)| uri.as_str())
}

/// A start tag; attributes of meta tags only.
struct Tag {
    /// Lower case.
    name: String,
    attributes: Vec<(String, String)>,
}

impl Tag {
    /// The first of several, as browsers have it.
    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

struct Scanner<'h> {
    html: &'h [u8],
    at: usize,
}

impl Scanner<'_> {
    /// The next start tag that has an end.
    fn next_tag(&mut self) -> Option<Tag> {
        loop {
            self.skip_behind(b"<")?;
            match self.peek()? {
                b'!' if self.html[self.at..].starts_with(b"!--") => {
                    // `<!-->` is a comment already.
                    self.at += 1;
                    self.skip_behind(b"-->")?;
                }
                b'!' | b'?' | b'/' => self.skip_behind(b">")?,
                first if first.is_ascii_alphabetic() => {
                    let tag = self.tag()?;
                    if tag.name == "plaintext" {
                        return None;
                    }
                    if RAW.contains(&tag.name.as_str()) {
                        self.skip_raw(&tag.name)?;
                    }
                    return Some(tag);
                }
                _ => {}
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.html.get(self.at).copied()
    }

    fn skip_behind(&mut self, text: &[u8]) -> Option<()> {
        let rest = &self.html[self.at..];
        let found = rest.windows(text.len()).position(|window| window == text)?;
        self.at += found + text.len();
        Some(())
    }

    fn skip_space(&mut self) {
        while self
            .peek()
            .is_some_and(|b| b.is_ascii_whitespace() || b == b'/')
        {
            self.at += 1;
        }
    }

    /// What stands here up to one of the bytes that `ends`.
    fn take_until(&mut self, ends: impl Fn(u8) -> bool) -> &[u8] {
        let start = self.at;
        while self.peek().is_some_and(|b| !ends(b)) {
            self.at += 1;
        }
        &self.html[start..self.at]
    }

    /// From the first letter of a tag's name to behind its `>`.
    fn tag(&mut self) -> Option<Tag> {
        let ends_name = |b: u8| b.is_ascii_whitespace() || matches!(b, b'/' | b'>');
        let name = lower(self.take_until(ends_name));
        let keep = name == "meta";
        let mut attributes = Vec::new();
        loop {
            self.skip_space();
            if self.peek()? == b'>' {
                self.at += 1;
                return Some(Tag { name, attributes });
            }
            if self.peek()? == b'=' {
                // A stray one separates nothing.
                self.at += 1;
                continue;
            }
            let key = lower(self.take_until(|b| ends_name(b) || b == b'='));
            let value = self.value()?;
            if keep && attributes.len() < 16 {
                attributes.push((key, value));
            }
        }
    }

    /// The value behind a key; empty if there is none.
    fn value(&mut self) -> Option<String> {
        let behind_key = self.at;
        self.take_until(|b| !b.is_ascii_whitespace());
        if self.peek()? != b'=' {
            self.at = behind_key;
            return Some(String::new());
        }
        self.at += 1;
        self.take_until(|b| !b.is_ascii_whitespace());
        let raw = match self.peek()? {
            quote @ (b'"' | b'\'') => {
                self.at += 1;
                let start = self.at;
                self.skip_behind(&[quote])?;
                &self.html[start..self.at - 1]
            }
            _ => self.take_until(|b| b.is_ascii_whitespace() || b == b'>'),
        };
        let text = match raw.len() {
            0..=MAX_VALUE => std::str::from_utf8(raw).unwrap_or(""),
            _ => "",
        };
        Some(unescape(text))
    }

    /// To the end tag of an element whose content is text.
    fn skip_raw(&mut self, name: &str) -> Option<()> {
        loop {
            self.skip_behind(b"</")?;
            let end = self.html.get(self.at..self.at + name.len())?;
            let next = self.html.get(self.at + name.len())?;
            if end.eq_ignore_ascii_case(name.as_bytes())
                && (next.is_ascii_whitespace() || matches!(next, b'/' | b'>'))
            {
                return self.skip_behind(b">");
            }
        }
    }
}

/// Names that we know are short; of others the beginning says enough.
fn lower(name: &[u8]) -> String {
    String::from_utf8_lossy(&name[..name.len().min(32)]).to_ascii_lowercase()
}

/// Undoes the character references that occur in URLs; others stay as they are.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('&') {
        out.push_str(before);
        match reference(behind) {
            Some((character, length)) => {
                out.push(character);
                rest = &behind[length..];
            }
            None => {
                out.push('&');
                rest = behind;
            }
        }
    }
    out.push_str(rest);
    out
}

/// The character that a reference means, and the length of what follows its `&`.
fn reference(text: &str) -> Option<(char, usize)> {
    let end = text.bytes().take(12).position(|b| b == b';')?;
    let name = &text[..end];
    let number = |text: &str, radix| {
        u32::from_str_radix(text, radix)
            .ok()
            .and_then(char::from_u32)
    };
    let character = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => match name.strip_prefix('#')? {
            hex if hex.starts_with(['x', 'X']) => number(&hex[1..], 16)?,
            decimal => number(decimal, 10)?,
        },
    };
    Some((character, end + 1))
}

#[cfg(test)]
mod tests;
