//! The `--net` list, checked before a pod exists, and handed on as it was typed.
//!
//! Which networks there are is not looked at here: fly has the host's whatever
//! is asked for, and a stage1 image has networks of its own.

use ::net::{Selection, usermode};
use model::fault::Result;

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
    pub fn parse(entries: &[String]) -> Result<Net> {
        let list = match entries {
            [] => "default".into(),
            entries => entries.join(","),
        };
        Ok(match Selection::of_list(&list)? {
            Selection::Host => Net::Host,
            Selection::None => Net::None,
            Selection::Named(_) => Net::Named(list),
        })
    }

    /// An ordinary user's pods cannot have every network, and need a program for
    /// the one that they can have.
    pub fn check_without_links(&self, metadata: bool) -> Result<()> {
        let Net::Named(list) = self else {
            return Ok(());
        };
        if !cfg!(feature = "net") || !usermode::needed() {
            return Ok(());
        }
        match Selection::of_list(list)? {
            Selection::Named(wanted) => usermode::check(&wanted, metadata).map(drop),
            Selection::Host | Selection::None => Ok(()),
        }
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
    fn the_flags_are_one_list() {
        assert_eq!(parse(&["none", "foo,host"]).unwrap(), Net::Host);
        assert_eq!(parse(&["foo:IP=1.2.3.4", "none"]).unwrap(), Net::None);
        assert_eq!(
            parse(&["a:IP=1.2.3.4", "b,c"]).unwrap().word(),
            "a:IP=1.2.3.4,b,c"
        );
        assert_eq!(parse(&[]).unwrap().word(), "default");
        assert_eq!(
            parse(&["a", "b,a"]).unwrap_err().cause,
            "found duplicate netname \"a\""
        );
        assert_eq!(parse(&[""]).unwrap_err().cause, "netname must not be empty");
    }
}
