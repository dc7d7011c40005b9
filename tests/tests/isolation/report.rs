//! What the probe said, to be asked by key.

use std::collections::BTreeMap;

/// The lines of `probe report`, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    lines: Vec<(String, String)>,
}

impl Report {
    /// Lines that are no facts (rkt's own, a peer's) are left out.
    pub(crate) fn parse<'t>(lines: impl IntoIterator<Item = &'t str>) -> Report {
        let lines = lines
            .into_iter()
            .map(tests::rkt::unframed)
            .filter_map(|l| l.split_once('='))
            .filter(|(key, _)| !key.is_empty() && key.len() < 80)
            .map(|(key, value)| (key.to_owned(), value.trim_end().to_owned()))
            .collect();
        Report { lines }
    }

    /// The value of a key that is there once; empty where it is not.
    pub(crate) fn one(&self, key: &str) -> &str {
        self.lines
            .iter()
            .find(|(k, _)| k == key)
            .map_or("", |(_, v)| v)
    }

    pub(crate) fn all<'r>(&'r self, key: &'r str) -> impl Iterator<Item = &'r str> {
        self.lines
            .iter()
            .filter(move |(k, _)| k == key)
            .map(|(_, v)| v.as_str())
    }

    /// What follows `start` in the keys that begin with it, and their values.
    pub(crate) fn below<'r>(&'r self, start: &'r str) -> impl Iterator<Item = (&'r str, &'r str)> {
        self.lines
            .iter()
            .filter_map(move |(k, v)| Some((k.strip_prefix(start)?, v.as_str())))
    }

    /// Keys with several values have them as one text, sorted.
    pub(crate) fn by_key(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut all: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (key, value) in &self.lines {
            all.entry(key).or_default().push(value);
        }
        for values in all.values_mut() {
            values.sort_unstable();
        }
        all
    }

    /// A report that broke off proves nothing: the last fact must be there.
    #[track_caller]
    pub(crate) fn whole(self, command: &str) -> Report {
        assert!(
            !self.one("call.by i386's door").is_empty(),
            "the report of {command} is not whole: {self:?}"
        );
        self
    }

    /// Keys by which two reports differ, with both values; those that `but` names are left out.
    pub(crate) fn differs(&self, other: &Report, but: impl Fn(&str) -> bool) -> Vec<String> {
        let (ours, theirs) = (self.by_key(), other.by_key());
        let keys: std::collections::BTreeSet<&str> =
            ours.keys().chain(theirs.keys()).copied().collect();
        let none = Vec::new();
        keys.into_iter()
            .filter(|key| !but(key))
            .filter_map(|key| {
                let (a, b) = (
                    ours.get(key).unwrap_or(&none),
                    theirs.get(key).unwrap_or(&none),
                );
                let only = |of: &[&str], not: &[&str]| {
                    let left: Vec<&str> = of.iter().filter(|v| !not.contains(v)).copied().collect();
                    left.join(" | ")
                };
                (a != b).then(|| format!("{key}: {:?}, and {:?}", only(a, b), only(b, a)))
            })
            .collect()
    }
}
