//! The `--net` list: the host's network, none, or networks by name.
//!
//! The list is checked whole and before a pod exists. The built-in container
//! stage1 sets up no named network, so that a plain `run`, which means the
//! network `default`, tells what to do instead; fly has the host's whatever is
//! asked for, and a stage1 image has networks of its own.

use model::{Fault, fault::Result};

/// Where a pod's apps find the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Net {
    Host,
    /// Loopback only.
    None,
    /// The list as typed, without the flags' names; `default` for none.
    Named(String),
}

impl Net {
    /// From the entries of all `--net` flags; an empty list means `default`.
    /// `host` wins over everything, then `none`.
    pub fn parse(entries: &[String]) -> Result<Net> {
        let mut names: Vec<&str> = Vec::new();
        for entry in entries.iter().flat_map(|word| word.split(',')) {
            let parts: Vec<&str> = entry.split(':').collect();
            let name = parts[0];
            if name.is_empty() {
                return Err(Fault::usage("netname must not be empty"));
            }
            if parts.len() > 2 {
                return Err(Fault::usage(format!(
                    "network {name:?} provided with invalid arguments: [{}]",
                    parts[1..].join(" ")
                )));
            }
            if parts.len() == 2 && matches!(name, "all" | "host") {
                return Err(Fault::usage(format!(
                    "arguments are not supported by special netname {name:?}"
                )));
            }
            if names.contains(&name) {
                return Err(Fault::usage(format!("found duplicate netname {name:?}")));
            }
            names.push(name);
        }
        if names.contains(&"host") {
            return Ok(Net::Host);
        }
        if names.contains(&"none") {
            return Ok(Net::None);
        }
        let wanted = match entries {
            [] => "default".into(),
            entries => entries.join(","),
        };
        Ok(Net::Named(wanted))
    }

    /// Refuses what the built-in container stage1 cannot set up.
    pub fn check_native(&self) -> Result<()> {
        let Net::Named(wanted) = self else {
            return Ok(());
        };
        Err(Fault::unsupported(format!(
            "this build of rkt cannot set up the network {wanted:?}"
        ))
        .hint("--net=host shares the host's network, --net=none gives loopback only"))
    }

    pub fn word(&self) -> &str {
        match self {
            Net::Host => "host",
            Net::None => "none",
            Net::Named(names) => names,
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Net> {
        Net::parse(&words.iter().map(|w| w.to_string()).collect::<Vec<_>>())
    }

    #[test]
    fn host_wins_over_none_and_the_rest() {
        assert_eq!(parse(&["none", "foo,host"]).unwrap(), Net::Host);
        assert_eq!(parse(&["foo:IP=1.2.3.4", "none"]).unwrap(), Net::None);
    }

    #[test]
    fn a_plain_run_names_both_ways_out() {
        assert_eq!(
            parse(&["a:IP=1.2.3.4", "b,c"]).unwrap().word(),
            "a:IP=1.2.3.4,b,c"
        );
        assert!(parse(&["none"]).unwrap().check_native().is_ok());
        let fault = parse(&[]).unwrap().check_native().unwrap_err();
        assert!(fault.cause.contains("\"default\""));
        let hint = fault.hint.unwrap();
        assert!(hint.contains("--net=host") && hint.contains("--net=none"));
    }

    #[test]
    fn malformed_lists_have_rkts_words() {
        let cases = [
            (vec!["a", "a"], "found duplicate netname \"a\""),
            (vec![""], "netname must not be empty"),
            (
                vec!["host:IP=1"],
                "arguments are not supported by special netname \"host\"",
            ),
            (
                vec!["a:b:c"],
                "network \"a\" provided with invalid arguments: [b c]",
            ),
        ];
        for (words, text) in cases {
            assert_eq!(parse(&words).unwrap_err().cause, text);
        }
    }
}
