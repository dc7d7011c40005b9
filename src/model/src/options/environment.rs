//! `NAME=VALUE` flags, `--set-env` and the lines of `--set-env-file`.

use crate::fault::{Fault, Result};
use crate::text::{key_value, quote};
use std::collections::HashSet;

/// Most bytes of one environment file; more than the kernel takes for a whole
/// environment.
pub const MAX_FILE: usize = 4 << 20;

/// The value of a per-image flag such as `--environment=NAME=VALUE`.
pub fn parse_pair(flag: &str, text: &str) -> Result<(String, String)> {
    match key_value(text) {
        Some((name, value)) => Ok((name.to_string(), value.to_string())),
        None => Err(Fault::usage(format!(
            "invalid format of --{flag} flag {}",
            quote(text)
        ))),
    }
}

/// `--set-env`, one value after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvFlags {
    pub pairs: Vec<(String, String)>,
}

impl EnvFlags {
    pub fn add(&mut self, text: &str) -> Result<()> {
        let (key, value) =
            key_value(text).ok_or_else(|| Fault::usage("must be specified as key=value"))?;
        if self.pairs.iter().any(|(old, _)| old == key) {
            return Err(Fault::usage(format!("key {} already set", quote(key))));
        }
        self.pairs.push((key.to_string(), value.to_string()));
        Ok(())
    }
}

/// `--set-env-file`, one file after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvFiles {
    pub pairs: Vec<(String, String)>,
    seen: HashSet<String>,
}

impl EnvFiles {
    /// The lines of one file: `NAME=VALUE`, nothing trimmed or unquoted; empty
    /// lines and those that start with `#` or `;` are skipped.
    pub fn add(&mut self, file: &str, bytes: &[u8]) -> Result<()> {
        let bad = |what: &str| Fault::invalid(format!("{what} (file {})", quote(file)));
        if bytes.len() > MAX_FILE {
            return Err(bad("environment file is too large"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| bad("environment file is not UTF-8"))?;
        for line in text.lines() {
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            let (name, value) = key_value(line)
                .ok_or_else(|| bad("environment variable must be specified as name=value"))?;
            if !self.seen.insert(name.to_string()) {
                return Err(bad(&format!(
                    "environment variable {} already set",
                    quote(name)
                )));
            }
            self.pairs.push((name.to_string(), value.to_string()));
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn pairs_split_at_the_first_equals_sign() {
        assert_eq!(
            parse_pair("environment", "A=b=c").unwrap(),
            ("A".into(), "b=c".into())
        );
        assert_eq!(
            parse_pair("user-label", "A").unwrap_err().cause,
            "invalid format of --user-label flag \"A\""
        );
    }

    #[test]
    fn flags_may_not_repeat_a_key() {
        let mut flags = EnvFlags::default();
        flags.add("A=1").unwrap();
        flags.add("B=").unwrap();
        assert_eq!(flags.add("A=2").unwrap_err().cause, "key \"A\" already set");
        assert_eq!(
            flags.add("C").unwrap_err().cause,
            "must be specified as key=value"
        );
        assert_eq!(flags.pairs.len(), 2);
    }

    #[test]
    fn files_are_read_line_by_line() {
        let mut files = EnvFiles::default();
        files
            .add("/a", b"# comment\n; other\n\nA=1\nB= \"x\" \r\nC=d=e")
            .unwrap();
        let want = [("A", "1"), ("B", " \"x\" "), ("C", "d=e")];
        assert_eq!(
            files.pairs,
            want.map(|(k, v)| (k.to_string(), v.to_string()))
        );
        assert_eq!(
            files.add("/b", b"A=2").unwrap_err().cause,
            "environment variable \"A\" already set (file \"/b\")"
        );
        assert_eq!(
            files.add("/b", b"nothing").unwrap_err().cause,
            "environment variable must be specified as name=value (file \"/b\")"
        );
        assert!(files.add("/b", b"\xff=1").is_err());
        assert!(files.add("/b", &vec![b'#'; MAX_FILE + 1]).is_err());
    }
}
