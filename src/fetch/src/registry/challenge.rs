//! `WWW-Authenticate`: what a server wants to see before it answers (RFC 9110,
//! section 11).
//!
//! The values of all such headers in, the challenges that are well-formed out.
//! Schemes and parameter names come in any case and order, values quoted or not,
//! and a comma may stand between challenges, between parameters or inside quotes.
//! What cannot be read ends the list: nothing is guessed from half a challenge.

/// The longest header that is looked at.
const MAX_HEADER: usize = 16 << 10;
/// More parameters than any scheme has.
const MAX_PARAMETERS: usize = 32;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenge {
    /// In lower case: `bearer`, `basic`.
    pub scheme: String,
    /// Names in lower case, in the order given.
    pub parameters: Vec<(String, String)>,
}

impl Challenge {
    /// The first parameter of this name, given in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// The challenges of a response's headers, in their order.
pub fn parse<'h>(headers: impl Iterator<Item = &'h str>) -> Vec<Challenge> {
    let mut found = Vec::new();
    for header in headers.filter(|header| header.len() <= MAX_HEADER) {
        let mut scanner = Scanner {
            rest: header.as_bytes(),
        };
        while let Some(challenge) = scanner.challenge() {
            found.push(challenge);
        }
    }
    found
}

struct Scanner<'h> {
    rest: &'h [u8],
}

impl Scanner<'_> {
    fn challenge(&mut self) -> Option<Challenge> {
        self.skip(b" \t,");
        let scheme = self.token()?;
        let mut challenge = Challenge {
            scheme: scheme.to_ascii_lowercase(),
            parameters: Vec::new(),
        };
        if self.rest.is_empty() || self.rest[0] == b',' {
            return Some(challenge);
        }
        if !self.skip(b" \t") {
            return None;
        }
        if self.token68() {
            return Some(challenge);
        }
        while challenge.parameters.len() < MAX_PARAMETERS {
            let before = self.rest;
            self.skip(b" \t,");
            // Without `=` it is the next challenge's scheme.
            let parameter = self.parameter();
            match parameter {
                Found::Parameter(name, value) => challenge.parameters.push((name, value)),
                Found::None => {
                    self.rest = before;
                    return Some(challenge);
                }
                Found::Malformed => {
                    self.rest = &[];
                    return None;
                }
            }
            self.skip(b" \t");
            if !self.rest.is_empty() && self.rest[0] != b',' {
                self.rest = &[];
                return None;
            }
        }
        None
    }

    fn parameter(&mut self) -> Found {
        let Some(name) = self.token() else {
            return match self.rest.is_empty() {
                true => Found::None,
                false => Found::Malformed,
            };
        };
        self.skip(b" \t");
        if self.rest.first() != Some(&b'=') {
            return Found::None;
        }
        self.rest = &self.rest[1..];
        self.skip(b" \t");
        let value = match self.rest.first() {
            Some(b'"') => self.quoted(),
            // An empty value without quotes is written by some, against the grammar.
            Some(b',') | None => Some(String::new()),
            Some(_) => self.unquoted(),
        };
        match value {
            Some(value) => Found::Parameter(name.to_ascii_lowercase(), value),
            None => Found::Malformed,
        }
    }

    fn quoted(&mut self) -> Option<String> {
        let mut value = Vec::new();
        let mut at = 1;
        loop {
            match *self.rest.get(at)? {
                b'"' => break,
                b'\\' => {
                    at += 1;
                    value.push(*self.rest.get(at)?);
                }
                byte => value.push(byte),
            }
            at += 1;
        }
        self.rest = &self.rest[at + 1..];
        String::from_utf8(value).ok()
    }

    /// A token; also a bare URL, which is none but is written.
    fn unquoted(&mut self) -> Option<String> {
        let end = self
            .rest
            .iter()
            .position(|b| matches!(b, b' ' | b'\t' | b','))
            .unwrap_or(self.rest.len());
        let (value, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!value.contains(&b'"'))
            .then(|| String::from_utf8(value.to_vec()).ok())
            .flatten()
    }

    /// One base64 text instead of parameters, as `Negotiate` has it. Passed over.
    fn token68(&mut self) -> bool {
        let end = self
            .rest
            .iter()
            .position(|b| matches!(b, b' ' | b'\t' | b','))
            .unwrap_or(self.rest.len());
        let word = &self.rest[..end];
        let digits = word.len() - word.iter().rev().take_while(|b| **b == b'=').count();
        let is_digit = |b: &u8| b.is_ascii_alphanumeric() || b"-._~+/".contains(b);
        if digits == 0 || !word[..digits].iter().all(is_digit) {
            return false;
        }
        // `realm=` followed by a comma or blank reads as a parameter without value.
        let after = self.rest[end..].iter().find(|b| !matches!(b, b' ' | b'\t'));
        if !matches!(after, None | Some(b',')) {
            return false;
        }
        self.rest = &self.rest[end..];
        true
    }

    fn token(&mut self) -> Option<String> {
        let is_token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
        let end = self
            .rest
            .iter()
            .position(|b| !is_token(b))
            .unwrap_or(self.rest.len());
        if end == 0 {
            return None;
        }
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(String::from_utf8_lossy(word).into_owned())
    }

    /// Whether there was anything to skip.
    fn skip(&mut self, bytes: &[u8]) -> bool {
        let n = self.rest.iter().take_while(|b| bytes.contains(b)).count();
        self.rest = &self.rest[n..];
        n > 0
    }
}

enum Found {
    Parameter(String, String),
    None,
    Malformed,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(header: &str) -> String {
        let one = |challenge: &Challenge| {
            let parameters: Vec<String> = challenge
                .parameters
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            format!("{}({})", challenge.scheme, parameters.join(";"))
        };
        let all: Vec<String> = parse([header].into_iter()).iter().map(one).collect();
        all.join(" ")
    }

    #[test]
    fn challenges_in_every_shape() {
        for (header, want) in [
            ("Basic realm=\"a\"", "basic(realm=a)"),
            ("basic", "basic()"),
            (
                "Bearer realm=\"https://a/t\",service=\"r\",scope=\"repository:a/b:pull,push\"",
                "bearer(realm=https://a/t;service=r;scope=repository:a/b:pull,push)",
            ),
            (
                "bEARER Scope=\"x\" ,  SERVICE=r , realm = \"https://a\"",
                "bearer(scope=x;service=r;realm=https://a)",
            ),
            (
                "Basic realm=\"a, Bearer realm=b\", Bearer realm=\"c\"",
                "basic(realm=a, Bearer realm=b) bearer(realm=c)",
            ),
            (
                "Bearer realm=\"a\", Basic realm=\"b\"",
                "bearer(realm=a) basic(realm=b)",
            ),
            ("Negotiate, Basic realm=x", "negotiate() basic(realm=x)"),
            (
                "Negotiate YWJj==, Basic realm=x",
                "negotiate() basic(realm=x)",
            ),
            ("Basic realm=\"a\\\"b\\\\\"", "basic(realm=a\"b\\)"),
            (
                "Bearer realm=https://a/t,scope=,service=s",
                "bearer(realm=https://a/t;scope=;service=s)",
            ),
            (",, Basic realm=x,,", "basic(realm=x)"),
            ("Bearer realm=\"\"", "bearer(realm=)"),
        ] {
            assert_eq!(shown(header), want, "{header}");
        }
    }

    #[test]
    fn hostile_headers_give_nothing_and_end() {
        let many = format!("Bearer {}", "a=b,".repeat(100));
        let long = format!("Basic realm=\"{}\"", "x".repeat(MAX_HEADER));
        for header in [
            "",
            " , ",
            "=",
            "\"Basic\"",
            "Bearer realm=\"open",
            "Bearer realm=\"a\\",
            "Bearer realm=\"a\"x",
            "Bearer =a",
            "Bearer realm=a\"b",
            &many,
            &long,
        ] {
            assert_eq!(shown(header), "", "{header}");
        }
    }

    #[test]
    fn several_headers_are_one_list() {
        let found = parse(["Basic realm=a", "Bearer realm=b"].into_iter());
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].get("realm"), Some("b"));
        assert_eq!(found[1].get("scope"), None);
    }
}
