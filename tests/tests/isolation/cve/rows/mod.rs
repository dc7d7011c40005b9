//! The catalogue as data: which attacks there have been, how each works, what keeps it out, and the tests that try it.
//!
//! One row for each mechanism; runtimes that had the same hole stand together. Names of tests are
//! `suite::module::test` of this package, or `crate::module::test`.

mod confinement;
mod supply;

pub(super) use confinement::{PATHS, PROCESSES};
pub(super) use supply::{APART, IMAGES, NETWORKS, WORDS};

pub(super) struct Row {
    pub(super) ids: &'static str,
    pub(super) mechanism: &'static str,
    pub(super) defence: &'static str,
    pub(super) tests: &'static [&'static str],
}

const fn row(
    ids: &'static str,
    mechanism: &'static str,
    defence: &'static str,
    tests: &'static [&'static str],
) -> Row {
    Row {
        ids,
        mechanism,
        defence,
        tests,
    }
}
