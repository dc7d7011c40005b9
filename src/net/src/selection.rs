//! The `--net` list: the host's network, none, or networks by name.
//!
//! `ENTRY[,ENTRY…]`, where an entry is `NAME` or `NAME:K=V[;K=V…]`. The list is
//! checked whole, also what `host` or `none` then make meaningless. Whether
//! networks of these names exist is `conf`'s to say.

use model::text::quote;
use model::{Fault, fault::Result};
use std::collections::BTreeSet;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    Host,
    /// Loopback only.
    None,
    Named(Vec<Wanted>),
}

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// `all` stands for every network that is configured.
    pub name: String,
    /// `IP=10.1.0.7;K=V`, or empty.
    pub args: String,
}

impl Selection {
    /// From one text, as stage0 hands it on; an empty one means `default`.
    pub fn parse(text: &str) -> Result<Selection> {
        match text {
            "" => Selection::of_list("default"),
            text => Selection::of_list(text),
        }
    }

    /// From what flags said, joined by commas: here nothing is an entry without
    /// a name. `host` wins over everything, then `none`.
    pub fn of_list(text: &str) -> Result<Selection> {
        let mut entries: Vec<Wanted> = Vec::new();
        let mut names = BTreeSet::new();
        for entry in text.split(',') {
            let wanted = Wanted::parse(entry)?;
            if !names.insert(wanted.name.clone()) {
                let name = quote(&wanted.name);
                return Err(Fault::usage(format!("found duplicate netname {name}")));
            }
            entries.push(wanted);
        }
        Ok(if names.contains("host") {
            Selection::Host
        } else if names.contains("none") {
            Selection::None
        } else {
            Selection::Named(entries)
        })
    }
}

impl Wanted {
    fn parse(entry: &str) -> Result<Wanted> {
        let mut parts = entry.split(':');
        let name = parts.next().unwrap_or_default();
        if name.is_empty() {
            return Err(Fault::usage("netname must not be empty"));
        }
        let parts: Vec<&str> = parts.collect();
        let args = match parts[..] {
            [] => "",
            [_] if matches!(name, "all" | "host") => {
                return Err(Fault::usage(format!(
                    "arguments are not supported by special netname {}",
                    quote(name)
                )));
            }
            [args] if args.is_empty() || args.split(';').all(is_pair) => args,
            _ => {
                return Err(Fault::usage(format!(
                    "network {} provided with invalid arguments: [{}]",
                    quote(name),
                    parts.join(" ")
                ))
                .hint("arguments are KEY=VALUE[;KEY=VALUE...], without any colon"));
            }
        };
        Ok(Wanted {
            name: name.to_string(),
            args: args.to_string(),
        })
    }
}

/// `K=V`: the form that every reader of `CNI_ARGS` takes.
fn is_pair(text: &str) -> bool {
    text.split_once('=')
        .is_some_and(|(key, value)| !key.is_empty() && !value.contains('='))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn named(text: &str) -> Vec<(String, String)> {
        match Selection::parse(text).unwrap() {
            Selection::Named(list) => list.into_iter().map(|one| (one.name, one.args)).collect(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn names_and_arguments_keep_their_order() {
        let cases: [(&str, &[(&str, &str)]); 6] = [
            ("", &[("default", "")]),
            ("default", &[("default", "")]),
            ("b,a", &[("b", ""), ("a", "")]),
            ("net1:IP=10.1.0.7", &[("net1", "IP=10.1.0.7")]),
            (
                "all,net1:IP=10.1.0.7;IgnoreUnknown=1",
                &[("all", ""), ("net1", "IP=10.1.0.7;IgnoreUnknown=1")],
            ),
            ("net1:,x:K=", &[("net1", ""), ("x", "K=")]),
        ];
        for (text, want) in cases {
            let want: Vec<_> = want.iter().map(|&(n, a)| (n.into(), a.into())).collect();
            assert_eq!(named(text), want, "{text}");
        }
    }

    #[test]
    fn host_wins_over_none_and_the_rest() {
        for (text, want) in [
            ("host", Selection::Host),
            ("none,foo,host", Selection::Host),
            ("all,none", Selection::None),
            ("foo:IP=1.2.3.4,none", Selection::None),
            ("none:K=V", Selection::None),
        ] {
            assert_eq!(Selection::parse(text).unwrap(), want, "{text}");
        }
    }

    #[test]
    fn malformed_lists_have_rkts_words() {
        for (text, want) in [
            (",", "netname must not be empty"),
            ("a,", "netname must not be empty"),
            (":IP=1", "netname must not be empty"),
            ("a,b,a:K=V", "found duplicate netname \"a\""),
            ("host,host", "found duplicate netname \"host\""),
            (
                "all:IP=1",
                "arguments are not supported by special netname \"all\"",
            ),
            (
                "host:",
                "arguments are not supported by special netname \"host\"",
            ),
            (
                "a:b:c",
                "network \"a\" provided with invalid arguments: [b c]",
            ),
            (
                "a:IP=fd00::5",
                "network \"a\" provided with invalid arguments: [IP=fd00  5]",
            ),
            (
                "a:IP",
                "network \"a\" provided with invalid arguments: [IP]",
            ),
            (
                "a:IP=1;",
                "network \"a\" provided with invalid arguments: [IP=1;]",
            ),
            (
                "a:=1",
                "network \"a\" provided with invalid arguments: [=1]",
            ),
            (
                "a:K=V=W",
                "network \"a\" provided with invalid arguments: [K=V=W]",
            ),
        ] {
            assert_eq!(Selection::parse(text).unwrap_err().cause, want, "{text}");
        }
        assert_eq!(
            Selection::of_list("").unwrap_err().cause,
            "netname must not be empty"
        );
    }
}
