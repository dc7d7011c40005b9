//! What the flags of one call came to: every occurrence in order, with the
//! table's defaults behind it.

use super::{Flag, Kind, parse_duration};
use model::text::parse_bool;

/// Flags as given. Looking up a name that is in no table is a mistake in the
/// program, not of the user.
#[derive(Default)]
pub struct Values {
    given: Vec<(&'static Flag, String)>,
}

impl Values {
    /// Keeps a value that was judged already.
    pub fn keep(&mut self, flag: &'static Flag, value: String) {
        self.given.push((flag, value));
    }

    /// The last value given.
    pub fn last(&self, name: &str) -> Option<&str> {
        self.given
            .iter()
            .rev()
            .find(|(flag, _)| flag.name == name)
            .map(|(_, value)| value.as_str())
    }

    /// All values given, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.given
            .iter()
            .filter(move |(flag, _)| flag.name == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn owned(&self, name: &str) -> Vec<String> {
        self.all(name).map(str::to_string).collect()
    }

    /// The last value given if it is not empty.
    pub fn filled(&self, name: &str) -> Option<String> {
        self.last(name)
            .filter(|value| !value.is_empty())
            .map(str::to_string)
    }

    pub fn bool(&self, flag: &'static Flag) -> bool {
        let default = matches!(flag.kind, Kind::Bool(true));
        match self.last(flag.name) {
            Some(value) => parse_bool(value).unwrap_or(default),
            None => default,
        }
    }

    /// A boolean whose default is false, by name.
    pub fn on(&self, name: &str) -> bool {
        self.last(name)
            .is_some_and(|value| parse_bool(value).unwrap_or(false))
    }

    pub fn text(&self, flag: &'static Flag) -> &str {
        self.last(flag.name).unwrap_or(flag.default())
    }

    /// Nanoseconds.
    pub fn duration(&self, flag: &'static Flag) -> i64 {
        parse_duration(self.text(flag)).expect("judged when parsed; defaults are well formed")
    }
}
