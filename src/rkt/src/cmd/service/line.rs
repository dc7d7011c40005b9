//! The command line of `rkt service generate`, taken apart: words of its own,
//! and those that `rkt run` is going to read.
//!
//! Flags of `run` are read by the very table and walk of `run`, one at a time,
//! and put down again as `--flag=value`. So what the service executes is what
//! was understood here, and no word of it depends on the directory in which the
//! line was typed: paths of files become absolute.

use crate::cmd::prepare::RULES;
use crate::cmd::run;
use crate::command::{Call, Stop, text};
use crate::flags::parse::{Extent, Failure, Sink, parse};
use crate::flags::{Flag, groups};
use crate::pod_line::PodLine;
use model::text::parse_bool;
use model::{Fault, Reference};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::Path;

/// Own flags, without values where `--x` was not given.
#[derive(Default)]
pub struct Line {
    pub init: Option<String>,
    pub name: Option<String>,
    pub output: Option<String>,
    pub overwrite: bool,
    /// `--uuid-file-save`.
    pub uuid_file: Option<String>,
    /// Global flags of rkt, for every command of the service.
    pub globals: Vec<String>,
    /// Flags before the first image, images, their flags and arguments.
    pub words: Vec<String>,
    /// What was left out of them, for the user to know.
    pub remarks: Vec<String>,
    seen_image: bool,
    cwd: String,
}

/// Flags whose value is a path that rkt opens.
const PATHS: &[&str] = &[
    "dir",
    "local-config",
    "system-config",
    "user-config",
    "pod-manifest",
    "set-env-file",
    "signature",
    "uuid-file-save",
];

impl Line {
    /// The words of the call, and what `run` makes of its part of them.
    pub fn read(call: Call) -> Result<(Line, PodLine), Stop> {
        let cwd =
            std::env::current_dir().map_err(|e| Fault::io("find", "the working directory", e))?;
        let table = call.command.all_flags();
        let mut line = Line {
            cwd: cwd.to_string_lossy().into_owned(),
            ..Line::default()
        };
        let words = call.parse(Extent::FirstWord, &mut line)?;
        line.walk(&table, words.into())
            .map_err(|failure| match failure {
                Failure::Help => Stop::Help,
                Failure::Bad(reason) => Fault::usage(reason).message(RULES.message).into(),
            })?;
        let all = line.globals.iter().chain(&line.words);
        let call = Call {
            command: &run::COMMAND,
            words: all.map(OsString::from).collect(),
        };
        let pod = PodLine::read(call, RULES)?;
        Ok((line, pod))
    }

    /// As `run` walks: flags wherever they stand, `--` begins the arguments of the
    /// image before it and `---` ends them.
    fn walk(
        &mut self,
        table: &[&'static Flag],
        mut words: VecDeque<OsString>,
    ) -> Result<(), Failure> {
        let bad = |fault: Fault| Failure::Bad(fault.to_string());
        let mut arguments = false;
        while let Some(word) = words.pop_front() {
            let word = text(&word).map_err(bad)?;
            match word.as_str() {
                "" => {}
                "--" if !arguments => {
                    arguments = true;
                    self.words.push(word);
                }
                "---" => {
                    arguments = false;
                    self.words.push(word);
                }
                _ if arguments => self.words.push(word),
                flag if flag.starts_with('-') && flag.len() > 1 => {
                    words.push_front(OsString::from(word));
                    words = parse(table, words.into(), Extent::Walk, self)?.into();
                }
                _ => {
                    self.seen_image = true;
                    let word = self.image(&word).map_err(bad)?;
                    self.words.push(word);
                }
            }
        }
        Ok(())
    }

    /// A file's image is named by its whole path, every other one as it is.
    fn image(&self, word: &str) -> Result<String, Fault> {
        let is_file = |path: &str| Path::new(path).is_file();
        let reference = Reference::parse(word, &is_file, &self.cwd)?;
        let local = matches!(reference, Reference::Path(_) | Reference::Local { .. });
        Ok(match local && !word.starts_with("file:") {
            true => self.absolute(word),
            false => word.to_string(),
        })
    }

    fn absolute(&self, path: &str) -> String {
        match path.starts_with('/') {
            true => path.to_string(),
            false => model::text::clean_path(&format!("{}/{path}", self.cwd)),
        }
    }

    /// Words that are not for `run`, or not in a service.
    fn own(&mut self, flag: &str, value: &str) -> Result<bool, String> {
        let on = parse_bool(value).unwrap_or(false);
        match flag {
            "init" => self.init = Some(value.to_string()),
            "output" => self.output = Some(value.to_string()),
            "overwrite" => self.overwrite = on,
            // After an image it is the app's.
            "name" if !self.seen_image => self.name = Some(value.to_string()),
            "uuid-file-save" => self.uuid_file = Some(self.absolute(value)),
            "interactive" if on => return Err("a service has no terminal".to_string()),
            "interactive" => {}
            "detach" | "rm" | "notify-fd" => self.remarks.push(format!(
                "--{flag} is left out: the service decides it by what the init system wants"
            )),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Sink for Line {
    fn set(&mut self, flag: &'static Flag, value: &str) -> Result<(), String> {
        flag.judge(value)?;
        if self.own(flag.name, value)? {
            return Ok(());
        }
        let is_path = PATHS.contains(&flag.name) && !value.is_empty()
            // A built-in stage1 may be named where a path could be.
            || flag.name == "stage1-path" && Path::new(value).is_file();
        let value = match is_path {
            true => self.absolute(value),
            false => value.to_string(),
        };
        let word = format!("--{}={value}", flag.name);
        match groups::GLOBAL.iter().any(|global| global.name == flag.name) {
            true => self.globals.push(word),
            false => self.words.push(word),
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::cmd::service::generate;

    fn read(words: &[&str]) -> Result<(Line, PodLine), Stop> {
        Line::read(Call {
            command: &generate::COMMAND,
            words: words.iter().map(OsString::from).collect(),
        })
    }

    fn fault(words: &[&str]) -> String {
        crate::command::said(read(words))
    }

    #[test]
    fn words_go_to_whom_they_are_for() {
        let (line, pod) = read(&[
            "--dir",
            "/data",
            "--init=runit",
            "--name",
            "web",
            "--net=host",
            "--volume",
            "v,kind=empty",
            "docker://redis",
            "--name=cache",
            "--overwrite",
            "--insecure-options=image",
            "--mount",
            "volume=v,target=/v",
            "--",
            "--name",
            "x",
            "--",
            "---",
            "docker://nginx",
        ])
        .ok()
        .unwrap();
        assert_eq!(line.init.as_deref(), Some("runit"));
        assert_eq!(line.name.as_deref(), Some("web"));
        assert!(line.overwrite);
        assert_eq!(line.globals, ["--dir=/data", "--insecure-options=image"]);
        assert_eq!(
            line.words,
            [
                "--net=host",
                "--volume=v,kind=empty",
                "docker://redis",
                "--name=cache",
                "--mount=volume=v,target=/v",
                "--",
                "--name",
                "x",
                "--",
                "---",
                "docker://nginx",
            ]
        );
        assert_eq!(pod.pod.apps[0].name.as_deref(), Some("cache"));
        assert_eq!(pod.pod.apps[0].args, ["--name", "x", "--"]);
        assert_eq!(pod.pod.apps.len(), 2);
    }

    #[test]
    fn paths_do_not_depend_on_where_the_line_was_typed() {
        let cwd = std::env::current_dir().unwrap().display().to_string();
        let (line, _) = read(&[
            "--dir=data",
            "--uuid-file-save=u",
            "./x.aci",
            "--signature=../x.asc",
            "file:///y.aci",
        ])
        .ok()
        .unwrap();
        assert_eq!(line.globals, [format!("--dir={cwd}/data")]);
        assert_eq!(line.uuid_file, Some(format!("{cwd}/u")));
        let above = model::text::clean_path(&format!("{cwd}/../x.asc"));
        assert_eq!(
            line.words,
            [
                format!("{cwd}/x.aci"),
                format!("--signature={above}"),
                "file:///y.aci".to_string()
            ]
        );
    }

    #[test]
    fn mistakes_are_those_of_run() {
        let cases: &[(&[&str], &str)] = &[
            (
                &["--exec=x", "i"],
                "Error: invalid argument \"x\" for --exec=x: --exec must follow an image",
            ),
            (
                &["i", "--bogus"],
                "error parsing app image arguments: unknown flag: --bogus",
            ),
            (
                &["i", "--mount=volume=nope,target=/mnt"],
                "error parsing app image arguments: dangling mount point \"/mnt\": volume \
                 \"nope\" not found",
            ),
            (
                &["i", "--", "x", "---", "--", "y"],
                "error parsing app image arguments: only one set of app arguments allowed per image",
            ),
            (
                &["--interactive", "i"],
                "Error: invalid argument \"true\" for --interactive: a service has no terminal",
            ),
        ];
        for (words, expected) in cases {
            assert_eq!(fault(words), *expected);
        }
        assert!(matches!(read(&["i", "--help"]), Err(Stop::Help)));
        let (line, _) = read(&["--rm", "--detach", "i"]).ok().unwrap();
        assert_eq!(line.words, ["i"]);
        assert_eq!(line.remarks.len(), 2);
    }
}
