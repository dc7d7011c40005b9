//! Points in time as tables and status lines show them.
//!
//! `None` is the time that never was: a pod that is still being prepared has
//! no creation time, which rkt shows as the year one.

/// `now`, `4 seconds ago`, `2 hours from now`.
pub fn ago(then_ns: Option<i64>, now_ns: i64) -> String {
    match then_ns {
        Some(then) => model::time::age(then, now_ns),
        None => "a long while ago".to_string(),
    }
}

/// `2006-01-02 15:04:05.999 -0700 MST` in the local zone.
pub fn full(ns: Option<i64>) -> String {
    let Some(ns) = ns else {
        return "0001-01-01 00:00:00 +0000 UTC".to_string();
    };
    let (offset, zone) = sys::time::local_offset(ns.div_euclid(1_000_000_000));
    model::time::full(ns, offset, &zone)
}
