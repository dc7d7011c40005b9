//! Versions of the CNI specification, as far as a result depends on them.
//!
//! Text in, three numbers out. What names no version means 0.1.0, the only one
//! from before the field was there.

/// A version, to be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spec(u32, u32, u32);

impl Spec {
    pub(crate) const V0_1: Spec = Spec(0, 1, 0);
    /// Lists of plugins; interfaces, addresses and routes as lists.
    pub(crate) const V0_3: Spec = Spec(0, 3, 0);
    /// `prevResult` when leaving.
    pub(crate) const V0_4: Spec = Spec(0, 4, 0);
    /// An address no longer says its family.
    pub(crate) const V1_0: Spec = Spec(1, 0, 0);
    /// MTU of an interface, details of a route.
    pub(crate) const V1_1: Spec = Spec(1, 1, 0);
    const TOO_NEW: Spec = Spec(2, 0, 0);

    /// `None` for what is no version, or one of a major release that is unknown.
    pub(crate) fn parse(text: &str) -> Option<Spec> {
        let mut parts = text.split('.').map(|part| {
            let plain = (1..=9).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
            part.parse().ok().filter(|_| plain)
        });
        let spec = Spec(parts.next()??, parts.next()??, parts.next()??);
        (parts.next().is_none() && spec < Spec::TOO_NEW).then_some(spec)
    }

    /// Of a network's own version, which was checked when its file was read.
    pub(crate) fn of(version: &str) -> Spec {
        Spec::parse(version).unwrap_or(Spec::V0_1)
    }
}
