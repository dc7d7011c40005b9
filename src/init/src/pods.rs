//! A directory of pods → what is to be run.
//!
//! `NAME.run` holds the words that follow `rkt run`, one on each line; empty lines
//! and those that begin with `#` do not count, and those that begin with `@` are for
//! us: `@restart=never|failure|always`, `@attempts=NUMBER`. `NAME.json` is the
//! manifest of a pod; the words of a `NAME.run` beside it are its options. Names
//! are words of letters, digits, `.`, `_` and `-`, since they are shown in front of
//! each line of output. A file that cannot be right costs its pod and no other.

use crate::settings::{self, Restart, Settings};
use model::Fault;
use rustix::fs::{Mode, OFlags};
use std::collections::BTreeMap;
use std::io::Read;

/// Pods of one machine, and bytes of one file. Somebody wrote them by hand.
const MAX_PODS: usize = 1000;
const MAX_TEXT: u64 = 64 << 10;

/// One pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub name: String,
    /// What follows `rkt --dir=… run`.
    pub words: Vec<String>,
    pub restart: Restart,
    /// Failures in a row after which it is given up; none: never.
    pub attempts: Option<u32>,
    /// Where its own words have the UUID saved, which may be nowhere.
    pub uuid_file: Option<String>,
    /// Whether it is removed when it has ended.
    pub removed: bool,
}

/// The files of one pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Files {
    pub run: Option<String>,
    pub manifest: bool,
}

/// What a directory of pods holds, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing(BTreeMap<String, Files>);

impl Listing {
    /// Takes a file's name in; false: it is no file of a pod. `text` is asked for
    /// only where it counts.
    fn add(
        &mut self,
        file: &str,
        text: impl FnOnce() -> Result<String, Fault>,
    ) -> Result<bool, Fault> {
        let Some((name, kind)) = file.rsplit_once('.').filter(|(name, _)| !name.is_empty()) else {
            return Ok(false);
        };
        if !matches!(kind, "run" | "json") {
            return Ok(false);
        }
        if !name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
        {
            return Err(
                Fault::invalid(format!("\"{file}\" is no name of a pod's file"))
                    .hint("letters, digits, \".\", \"_\" and \"-\", then .run or .json"),
            );
        }
        if self.0.len() >= MAX_PODS && !self.0.contains_key(name) {
            return Err(Fault::invalid(format!(
                "\"{file}\": there are more than {MAX_PODS} pods"
            )));
        }
        let text = if kind == "run" { Some(text()?) } else { None };
        let files = self.0.entry(name.to_string()).or_default();
        files.manifest |= kind == "json";
        files.run = text.or(files.run.take());
        Ok(true)
    }

    /// Reads `dir`. One that is not there holds no pods.
    pub(crate) fn read(dir: &str) -> (Listing, Vec<Fault>) {
        let mut listing = Listing::default();
        let mut complaints = Vec::new();
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(err) => {
                complaints.push(
                    Fault::io("open", dir, err).hint("rkt.pods= names the directory of pods"),
                );
                return (listing, complaints);
            }
        };
        let mut names: Vec<_> = entries
            .filter_map(|entry| Some(entry.ok()?.file_name()))
            .collect();
        names.sort();
        for name in names.iter().map(|name| name.to_string_lossy()) {
            let path = format!("{dir}/{name}");
            match listing.add(&name, || text_of(&path)) {
                Ok(true) => {}
                Ok(false) => complaints.push(
                    Fault::invalid(format!("\"{path}\" is no pod, it is left alone"))
                        .hint("pods are NAME.run and NAME.json"),
                ),
                Err(fault) => complaints.push(fault),
            }
        }
        (listing, complaints)
    }

    /// What to run. Every pod of the listing is in the one list or the other.
    pub(crate) fn plan(&self, dir: &str, settings: &Settings) -> (Vec<Plan>, Vec<Fault>) {
        let mut plans = Vec::new();
        let mut complaints = Vec::new();
        for (name, files) in &self.0 {
            match plan(dir, name, files, settings) {
                Ok(plan) => plans.push(plan),
                Err(fault) => complaints.push(fault.message(format!("pod \"{name}\""))),
            }
        }
        (plans, complaints)
    }
}

fn text_of(path: &str) -> Result<String, Fault> {
    let fail = |err| Fault::io("read", path, err);
    let mut text = String::new();
    // Of a pipe or a terminal this process would wait for words.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|err| fail(err.into()))?;
    let file = std::fs::File::from(file);
    if !file.metadata().map_err(fail)?.is_file() {
        return Err(Fault::invalid(format!("\"{path}\" is no plain file")));
    }
    let length = file
        .take(MAX_TEXT + 1)
        .read_to_string(&mut text)
        .map_err(fail)?;
    if length as u64 > MAX_TEXT {
        return Err(Fault::invalid(format!(
            "\"{path}\" is longer than {MAX_TEXT} bytes"
        )));
    }
    Ok(text)
}

fn plan(dir: &str, name: &str, files: &Files, settings: &Settings) -> Result<Plan, Fault> {
    let mut plan = Plan {
        name: name.to_string(),
        words: Vec::new(),
        restart: settings.restart,
        attempts: settings.attempts,
        uuid_file: None,
        removed: false,
    };
    if files.manifest {
        plan.words.push(format!("--pod-manifest={dir}/{name}.json"));
    }
    let lines = files.run.as_deref().unwrap_or("").lines().map(str::trim);
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line
            .strip_prefix('@')
            .map(|ours| ours.split_once('=').unwrap_or((ours, "")))
        {
            None => plan.words.push(line.to_string()),
            Some(("restart", word)) => plan.restart = Restart::parse(word)?,
            Some(("attempts", word)) => plan.attempts = settings::attempts(word)?,
            Some(_) => {
                return Err(Fault::invalid(format!("\"{line}\" is not understood"))
                    .hint("known are @restart= and @attempts=; a word of rkt run does not begin with \"@\""));
            }
        }
    }
    if plan.words.is_empty() {
        return Err(Fault::invalid(format!("\"{dir}/{name}.run\" has no words"))
            .hint("the words that follow \"rkt run\", one on each line"));
    }
    // `--` begins the arguments of an app, `---` ends them.
    let mut arguments = false;
    let flags: Vec<&String> = plan
        .words
        .iter()
        .filter(|word| {
            match word.as_str() {
                "--" => arguments = true,
                "---" => arguments = false,
                _ => {}
            }
            !arguments
        })
        .collect();
    let given = |option: &str| flags.iter().any(|word| word.starts_with(option));
    if given("--detach") {
        return Err(Fault::invalid("--detach cannot be given")
            .hint("leave it out: init is who waits for the pod"));
    }
    // What a pod has left is memory where `/` is. A stage1 from an image cannot do it.
    let removed_otherwise = given("--rm") || given("--stage1-");
    let rm = flags
        .iter()
        .filter_map(|word| word.strip_prefix("--rm"))
        .next_back();
    // As of every flag, the last one counts.
    plan.removed = match rm {
        None => !removed_otherwise,
        Some("") => true,
        Some(value) => value
            .strip_prefix('=')
            .is_some_and(|value| model::text::parse_bool(value).unwrap_or(false)),
    };
    plan.uuid_file = last_value(&flags, "--uuid-file-save");
    if !removed_otherwise {
        plan.words.insert(0, "--rm".to_string());
    }
    Ok(plan)
}

/// Of `--option=value` or `--option value`; the last one counts.
fn last_value(words: &[&String], option: &str) -> Option<String> {
    let mut value = None;
    for (place, word) in words.iter().enumerate() {
        let rest = match word.strip_prefix(option) {
            Some("") => words.get(place + 1).map(|next| next.as_str()),
            Some(rest) => rest.strip_prefix('='),
            None => None,
        };
        value = rest.map(str::to_string).or(value);
    }
    value
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn listing(files: &[(&str, &str)]) -> Listing {
        let mut listing = Listing::default();
        for (name, text) in files {
            listing.add(name, || Ok(text.to_string())).unwrap();
        }
        listing
    }

    fn planned(files: &[(&str, &str)]) -> Vec<Plan> {
        let (plans, complaints) = listing(files).plan("/p", &Settings::default());
        assert!(complaints.is_empty(), "{complaints:?}");
        plans
    }

    #[test]
    fn words_one_on_each_line() {
        let text = "# a comment\n@restart=never\n@attempts=3\n\n--net=none\n  /srv/a.aci \r\n--\n# not for the app\ntwo words\n";
        let plans = planned(&[("web.run", text)]);
        let expected = Plan {
            name: "web".to_string(),
            words: ["--rm", "--net=none", "/srv/a.aci", "--", "two words"]
                .map(str::to_string)
                .to_vec(),
            restart: Restart::Never,
            attempts: Some(3),
            uuid_file: None,
            removed: true,
        };
        assert_eq!(plans, [expected]);
    }

    #[test]
    fn a_manifest_takes_its_options_from_the_other_file() {
        for files in [
            [("a.json", ""), ("a.run", "--net=host")],
            [("a.run", "--net=host"), ("a.json", "")],
        ] {
            assert_eq!(
                planned(&files)[0].words,
                ["--rm", "--pod-manifest=/p/a.json", "--net=host"]
            );
        }
        assert_eq!(
            planned(&[("a.json", "")])[0].words,
            ["--rm", "--pod-manifest=/p/a.json"]
        );
    }

    #[test]
    fn pods_come_in_the_order_of_their_names() {
        let plans = planned(&[("20-b.run", "x"), ("10-c.json", ""), ("30-a.run", "x")]);
        let names: Vec<&str> = plans.iter().map(|plan| plan.name.as_str()).collect();
        assert_eq!(names, ["10-c", "20-b", "30-a"]);
    }

    #[test]
    fn removal_is_left_to_whoever_said_something_of_it() {
        assert_eq!(
            planned(&[("a.run", "--rm=false\nx")])[0].words,
            ["--rm=false", "x"]
        );
        assert_eq!(
            planned(&[("a.run", "--stage1-path=/s\nx")])[0].words,
            ["--stage1-path=/s", "x"]
        );
        assert_eq!(
            planned(&[("a.run", "x\n--\n--rm")])[0].words,
            ["--rm", "x", "--", "--rm"]
        );
    }

    #[test]
    fn who_removes_its_pods_wants_killed_ones_removed_too() {
        for (words, removed) in [
            ("x", true),
            ("--rm\nx", true),
            ("--rm=true\nx", true),
            ("--rm\n--rm=false\nx", false),
            ("--stage1-path=/s\nx", false),
            ("--stage1-path=/s\n--rm\nx", true),
        ] {
            assert_eq!(planned(&[("a.run", words)])[0].removed, removed, "{words}");
        }
    }

    #[test]
    fn the_file_of_the_uuid_may_be_the_pods_own() {
        for (words, file) in [
            ("x", None),
            ("--uuid-file-save=/u\nx", Some("/u")),
            ("--uuid-file-save=/u\nx\n--uuid-file-save\n/v", Some("/v")),
            ("--uuid-file-save=\nx", Some("")),
            ("x\n--\n--uuid-file-save=/of-the-app", None),
        ] {
            let plan = &planned(&[("a.run", words)])[0];
            assert_eq!(plan.uuid_file.as_deref(), file, "{words}");
        }
    }

    #[test]
    fn the_command_line_says_what_files_leave_open() {
        let (settings, _) = Settings::parse("rkt.restart=always rkt.attempts=2");
        let (plans, _) = listing(&[("a.run", "x"), ("b.run", "@restart=never\n@attempts=0\nx")])
            .plan("/p", &settings);
        assert_eq!(
            (plans[0].restart, plans[0].attempts),
            (Restart::Always, Some(2))
        );
        assert_eq!(
            (plans[1].restart, plans[1].attempts),
            (Restart::Never, None)
        );
    }

    #[test]
    fn a_wrong_file_costs_its_own_pod() {
        let files = [
            ("a.run", "@restart=now\nx"),
            ("b.run", "@unknown\nx"),
            ("c.run", "# nothing\n"),
            ("d.run", "--detach\nx"),
            ("e.run", "x"),
            ("f.run", "x\n--\na\n---\ny\n--detach"),
        ];
        let (plans, complaints) = listing(&files).plan("/p", &Settings::default());
        assert_eq!(plans.len(), 1);
        for (complaint, name) in complaints.iter().zip(["a", "b", "c", "d", "f"]) {
            assert!(
                complaint
                    .to_string()
                    .starts_with(&format!("pod \"{name}\": ")),
                "{complaint}"
            );
        }
        assert_eq!(complaints.len(), 5);
    }

    #[test]
    fn a_pipe_or_a_device_is_not_waited_for() {
        let pipe = std::env::temp_dir().join(format!("rkt-test-pipe-{}", std::process::id()));
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let found = text_of(pipe.to_str().unwrap());
        std::fs::remove_file(&pipe).unwrap();
        assert!(found.unwrap_err().to_string().contains("no plain file"));
        assert!(text_of("/dev/zero").is_err());
    }

    #[test]
    fn other_files_are_no_pods() {
        let mut listing = Listing::default();
        for name in ["README", ".run", ".json", "a.run~", "a.txt"] {
            assert!(!listing.add(name, || panic!("{name} is read")).unwrap());
        }
        for name in ["a b.run", "\u{1b}[2J.json", "ä.run"] {
            assert!(listing.add(name, || Ok(String::new())).is_err(), "{name}");
        }
        assert_eq!(listing, Listing::default());
    }
}
