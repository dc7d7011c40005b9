//! What the App Container Executor owes an app, checked from inside: the appc specification's validator, written anew.
//!
//! One static program in four roles, named by its only argument: `prestart`, `main`, `poststop` in one app, `sidekick`
//! in another of the same pod, both with one volume at `/db`. Every check of a role is made; the last line on stdout is
//! `ROLE OK` or `ROLE FAIL` (exit 1), each failure a line `==> …` on stderr. Wrong words: exit 64.

mod metadata;

use std::path::Path;
use std::time::{Duration, Instant};

/// How long one app waits for the other.
const OTHER_APP: Duration = Duration::from_secs(5);
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

type Check = Result<(), String>;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [word] = &words[..] else {
        usage();
    };
    let role = word.to_lowercase();
    let failures = match role.as_str() {
        "prestart" => prestart(),
        "main" => main_app(),
        "sidekick" => sidekick(),
        "poststop" => poststop(),
        _ => usage(),
    };
    for failure in &failures {
        eprintln!("==> {failure}");
    }
    println!("{role} {}", if failures.is_empty() { "OK" } else { "FAIL" });
    std::process::exit(i32::from(!failures.is_empty()));
}

fn usage() -> ! {
    eprintln!("usage: ace-validator main|sidekick|prestart|poststop");
    std::process::exit(64);
}

/// The checks that failed.
fn failed(checks: impl IntoIterator<Item = Check>) -> Vec<String> {
    checks.into_iter().filter_map(Check::err).collect()
}

fn prestart() -> Vec<String> {
    failed([fresh("/prestart"), absent("/main"), absent("/poststop")])
}

fn main_app() -> Vec<String> {
    let mut failures = failed([
        exists("/prestart"),
        fresh("/main"),
        absent("/poststop"),
        variable("PATH", PATH),
        working_directory("/opt/acvalidator"),
        variable("IN_ACE_VALIDATOR", "correct"),
        mounted_writable("/db"),
        variable("AC_APP_NAME", "ace-validator-main"),
    ]);
    failures.extend(metadata::failures());
    failures.extend(failed([appears("/db/sidekick"), fresh("/db/main")]));
    failures
}

fn sidekick() -> Vec<String> {
    failed([fresh("/db/sidekick"), appears("/db/main")])
}

fn poststop() -> Vec<String> {
    failed([exists("/prestart"), exists("/main"), fresh("/poststop")])
}

/// Not there yet, and can be made.
fn fresh(path: &str) -> Check {
    absent(path)?;
    std::fs::write(path, "").map_err(|e| format!("cannot create {path}: {e}"))
}

fn absent(path: &str) -> Check {
    match Path::new(path).symlink_metadata() {
        Ok(_) => Err(format!("{path} exists already")),
        Err(_) => Ok(()),
    }
}

fn exists(path: &str) -> Check {
    match Path::new(path).symlink_metadata() {
        Ok(_) => Ok(()),
        Err(e) => Err(format!("{path}: {e}")),
    }
}

fn appears(path: &str) -> Check {
    let end = Instant::now() + OTHER_APP;
    while exists(path).is_err() {
        if Instant::now() > end {
            return Err(format!("{path} did not appear within {OTHER_APP:?}"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn variable(name: &str, expected: &str) -> Check {
    let value = std::env::var(name).map_err(|e| format!("{name}: {e}"))?;
    same(name, &value, &expected.to_owned())
}

fn working_directory(expected: &str) -> Check {
    let found = std::env::current_dir().map_err(|e| format!("working directory: {e}"))?;
    same(
        "working directory",
        &found.display().to_string(),
        &expected.to_owned(),
    )
}

/// Of several mounts on one place the last one counts.
fn mounted_writable(path: &str) -> Check {
    let table = std::fs::read_to_string("/proc/self/mountinfo")
        .map_err(|e| format!("/proc/self/mountinfo: {e}"))?;
    let mut options = None;
    for line in table.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        if fields.get(4) == Some(&path) {
            options = fields.get(5).copied();
        }
    }
    match options {
        None => Err(format!("{path} is no mount point")),
        Some(words) if words.split(',').any(|w| w == "rw") => Ok(()),
        Some(words) => Err(format!("{path} is mounted {words:?}, not writable")),
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Check {
    match found == expected {
        true => Ok(()),
        false => Err(format!("{what} is {found:?}, not {expected:?}")),
    }
}
