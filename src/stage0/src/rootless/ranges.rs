//! `/etc/subuid` and `/etc/subgid`: which ids beside its own a user may use.
//!
//! Lines `NAME-or-UID:FIRST:COUNT`. Only newuidmap and newgidmap decide what is
//! allowed; this picks what can be asked of them in one go, so that a crooked
//! line costs its own range only.

use sys::userns::{IdMap, IdRange};

/// What a map has room for: 340 lines (5 before Linux 4.15), and less than a page
/// of text.
const MOST_LINES: usize = 340;
const MOST_BYTES: usize = 4095;

/// So many lines every kernel takes.
pub(super) const FEW_LINES: usize = 5;

/// The id itself becomes 0, and the user's ranges follow in the order of the
/// file, from 1 on. One line alone means that there is no range.
pub(super) fn map(text: &str, names: &[String], own: u32) -> IdMap {
    let mut map = IdMap::from_zero(own, 1);
    let mut inside: u32 = 1;
    for (first, count) in text.lines().filter_map(|line| range(line, names)) {
        let count = count.min(u32::MAX - inside);
        if count == 0 || map.0.iter().any(|taken| overlap(taken, first, count)) {
            continue;
        }
        map.0.push(IdRange {
            inside,
            outside: first,
            count,
        });
        if map.0.len() > MOST_LINES || map.text().len() > MOST_BYTES {
            map.0.pop();
            break;
        }
        inside += count;
    }
    map
}

/// A range of ids that exist; -1 is none.
fn range(line: &str, names: &[String]) -> Option<(u32, u32)> {
    let mut fields = line.trim().split(':');
    let owner = fields.next()?;
    if !names.iter().any(|name| name == owner) {
        return None;
    }
    let mut number = || fields.next()?.parse::<u32>().ok();
    let (first, count) = (number()?, number()?);
    let end = first.checked_add(count)?;
    (fields.next().is_none() && count > 0 && end < u32::MAX).then_some((first, count))
}

fn overlap(taken: &IdRange, first: u32, count: u32) -> bool {
    let (start, end) = (u64::from(first), u64::from(first) + u64::from(count));
    let (other, other_end) = (
        u64::from(taken.outside),
        u64::from(taken.outside) + u64::from(taken.count),
    );
    start < other_end && other < end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(text: &str) -> String {
        map(text, &["joe".into(), "5151".into()], 5151).text()
    }

    #[test]
    fn ranges_follow_one_another_by_name_and_number() {
        let text = "ann:1:9\njoe:100000:65536\n5151:300000:10\n51510:7:7\njoey:8:8\n";
        assert_eq!(text_of(text), "0 5151 1\n1 100000 65536\n65537 300000 10\n");
        assert_eq!(text_of(""), "0 5151 1\n");
        assert_eq!(text_of("joe:65536:1\r\n"), "0 5151 1\n1 65536 1\n");
    }

    #[test]
    fn a_crooked_line_costs_itself_only() {
        for line in [
            "joe",
            "joe:",
            "joe:1",
            "joe:x:1",
            "joe:-5:10",
            "joe:1:",
            "joe:1:0",
            "joe:1:2:3",
            "joe:4294967295:1",
            "joe:4294967290:9",
            "joe:99999999999:1",
            ":1:2",
            "#joe:1:2",
            "joe:5000:500",
            "joe:5151:1",
            "joe:99999:2",
            "joe:165535:1",
            "\0\u{fffd}",
        ] {
            let text = format!("joe:100000:65536\n{line}\njoe:1000000:1\n");
            let expected = "0 5151 1\n1 100000 65536\n65537 1000000 1\n";
            assert_eq!(text_of(&text), expected, "{line:?}");
        }
    }

    #[test]
    fn what_the_kernel_takes_is_the_end_of_it() {
        let many: String = (0..5000)
            .map(|n| format!("joe:{}:1\n", 4_000_000_000u32 + 2 * n))
            .collect();
        let map = map(&many, &["joe".into()], 5151);
        assert!(map.text().len() <= MOST_BYTES && map.0.len() <= MOST_LINES);
        assert!(map.0.len() > 150, "{}", map.0.len());
        let all = text_of("joe:6000:4294961000\n");
        assert_eq!(all, "0 5151 1\n1 6000 4294961000\n");
    }
}
