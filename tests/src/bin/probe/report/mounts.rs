//! The mounts in sight: one line each, and what gives the host away.

use super::{Host, say};
use crate::facts::text;

pub(super) fn all(host: &Host) {
    let table = text("/proc/self/mountinfo");
    let mut shared = "private";
    let mut paths = Vec::new();
    for line in table.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let left: Vec<&str> = left.split(' ').collect();
        let right: Vec<&str> = right.split(' ').collect();
        let ([_, _, _, root, target, options, tags @ ..], [kind, source, rest @ ..]) =
            (&left[..], &right[..])
        else {
            continue;
        };
        let super_options = rest.first().unwrap_or(&"");
        say(
            "raw.mount",
            format!(
                "{target} {kind} {options} {super_options} {}",
                tags.join(" ")
            ),
        );
        let mut kept = flags(options);
        // A file system that is read-only itself is so wherever it is mounted.
        if super_options.split(',').any(|o| o == "ro") && !kept.starts_with("ro") {
            kept = kept.replacen("rw", "ro", 1);
        }
        say("mount", format!("{target} {kind} {kept}"));
        shared = match () {
            () if tags.iter().any(|t| t.starts_with("shared:")) => "shared",
            () if shared == "shared" => "shared",
            () if tags.iter().any(|t| t.starts_with("master:")) => "slave",
            () => shared,
        };
        let telling = [*root, *source, *super_options];
        if host
            .words
            .iter()
            .any(|w| telling.iter().any(|t| t.contains(w.as_str())))
        {
            paths.push((*target).to_owned());
        }
    }
    say("propagation", shared);
    paths.sort();
    let told = if paths.is_empty() {
        "none".to_owned()
    } else {
        paths.join(" ")
    };
    say("mounts.host-paths", told);
}

/// The options that confine, in one order.
fn flags(options: &str) -> String {
    let has = |name: &str| options.split(',').any(|o| o == name);
    let mut kept = vec![if has("ro") { "ro" } else { "rw" }];
    kept.extend(["nosuid", "nodev", "noexec"].into_iter().filter(|f| has(f)));
    kept.join(",")
}
