//! Resource limits of an app: its isolators in, one limit for each resource out.
//!
//! Later isolators win, resource by resource, so that a flag changes one limit of
//! an image's and leaves the others. What no isolator names stays as rkt was
//! started with, as under rkt 1.30.

use model::isolator::{Isolator, Known, Rlimit};

pub fn of(isolators: &[Isolator]) -> Vec<Rlimit> {
    let mut limits: Vec<Rlimit> = Vec::new();
    for isolator in isolators {
        let Known::Rlimits(new) = &isolator.known else {
            continue;
        };
        limits.retain(|old| new.iter().all(|new| new.resource != old.resource));
        limits.extend(new);
    }
    limits
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use model::isolator::RLIMITS;

    #[test]
    fn the_last_word_on_each_resource_counts() {
        let list: Vec<Isolator> = [
            r#"{"nofile": {"soft": 1}, "core": {"soft": 2}}"#,
            r#"{"nofile": {"soft": 3, "hard": 4}}"#,
        ]
        .iter()
        .map(|text| Isolator::new(RLIMITS, model::json::parse(text.as_bytes()).unwrap()).unwrap())
        .collect();
        let texts: Vec<String> = of(&list).iter().map(Rlimit::to_string).collect();
        assert_eq!(texts, ["core=2:2", "nofile=3:4"]);
        assert!(of(&[]).is_empty());
    }
}
