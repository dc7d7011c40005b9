//! The command line of `run`, `prepare` and `fetch`: images, each followed by
//! flags of its own and by arguments for its app.
//!
//! Flags come first, up to the first word. Then word by word: `--` starts the
//! arguments of the image before it, which end at `---` or at the line's end;
//! flags are read as they come, those of one image binding to the last one
//! seen; everything else is a new image.

use crate::command::{Call, Stop, text};
use crate::flags::parse::{Extent, Failure, Sink, parse};
use crate::flags::{Flag, Values};
use model::fault::{Fault, Result};
use model::isolator;
use model::options::{self, AppOptions, EnvFiles, EnvFlags, PodOptions, parse_pair};
use model::{AcIdentifier, Annotation, ExposedPort, Isolator, Mount, Volume};
use stage0::stage1_image::Choice;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::Read;

/// What differs between the commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether apps may be given arguments.
    pub app_args: bool,
    /// Set before the reason when the line makes no sense.
    pub message: &'static str,
}

/// A line as read.
#[derive(Default)]
pub struct PodLine {
    pub flags: Values,
    pub pod: PodOptions,
    /// The `--stage1-*` flag, if there was one.
    pub stage1: Option<Choice>,
    stage1_flag: Option<&'static str>,
    env_flags: EnvFlags,
    env_files: EnvFiles,
}

impl PodLine {
    pub fn read(call: Call, rules: Rules) -> Result<PodLine, Stop> {
        let table = call.command.all_flags();
        let mut line = PodLine::default();
        let words = call.parse(Extent::FirstWord, &mut line)?;
        line.walk(&table, words.into(), rules)
            .map_err(|failure| match failure {
                Failure::Help => Stop::Help,
                Failure::Bad(reason) => Fault::usage(reason).message(rules.message).into(),
            })?;
        line.pod.set_env = std::mem::take(&mut line.env_flags.pairs);
        line.pod.env_file = std::mem::take(&mut line.env_files.pairs);
        line.pod
            .check_mounts()
            .map_err(|fault| fault.message(rules.message))?;
        Ok(line)
    }

    fn walk(
        &mut self,
        table: &[&'static Flag],
        mut words: VecDeque<OsString>,
        rules: Rules,
    ) -> Result<(), Failure> {
        let bad = |reason: &str| Err(Failure::Bad(reason.to_string()));
        // The image that had its arguments already.
        let mut served = 0;
        while let Some(word) = words.pop_front() {
            let word = text(&word).map_err(|fault| Failure::Bad(fault.to_string()))?;
            match word.as_str() {
                "" | "---" => {}
                "--" if !rules.app_args => return bad("app arguments unsupported"),
                "--" => {
                    let count = self.pod.apps.len();
                    let Some(app) = self.pod.apps.last_mut() else {
                        return bad("an image is required before any app arguments");
                    };
                    if served == count {
                        return bad("only one set of app arguments allowed per image");
                    }
                    served = count;
                    take_args(app, &mut words)?;
                }
                flag if flag.starts_with('-') && flag.len() > 1 => {
                    words.push_front(OsString::from(word));
                    words = parse(table, words.into(), Extent::Walk, self)?.into();
                }
                _ => self.pod.apps.push(AppOptions {
                    image: word,
                    ..AppOptions::default()
                }),
            }
        }
        Ok(())
    }

    /// The image that a flag is about.
    fn app(&mut self, flag: &str) -> Result<&mut AppOptions> {
        let what = match flag {
            "stdin" | "stdout" | "stderr" => "an application",
            _ => "an image",
        };
        let must = || Fault::usage(format!("--{flag} must follow {what}"));
        self.pod.apps.last_mut().ok_or_else(must)
    }

    fn stage1(&mut self, flag: &'static str, choice: Choice) -> Result<()> {
        match self.stage1_flag.replace(flag) {
            None => {
                self.stage1 = Some(choice);
                Ok(())
            }
            Some(old) if old == flag => Err(Fault::usage(format!("--{flag} already used"))),
            Some(old) => Err(Fault::usage(format!(
                "flags --{old} and --{flag} are mutually exclusive"
            ))),
        }
    }

    /// Flags about the pod or an image; `false` for all others.
    fn take(&mut self, flag: &'static Flag, value: &str) -> Result<bool> {
        let owned = || value.to_string();
        match flag.name {
            "volume" => self.pod.volumes.push(Volume::parse_flag(value)?),
            "port" => self.pod.ports.push(ExposedPort::parse_flag(value)?),
            "set-env" => self.env_flags.add(value)?,
            "set-env-file" => self.env_files.add(value, &read_env_file(value)?)?,
            "mount" => {
                let mount = Mount::parse_flag(value)?;
                match self.pod.apps.last_mut() {
                    Some(app) => app.mounts.push(mount),
                    None => self.pod.mounts.push(mount),
                }
            }
            "stage1-url" => self.stage1(flag.name, Choice::Url(owned()))?,
            "stage1-path" => self.stage1(flag.name, Choice::Path(owned()))?,
            "stage1-name" => self.stage1(flag.name, Choice::Name(owned()))?,
            "stage1-hash" => self.stage1(flag.name, Choice::Hash(owned()))?,
            "stage1-from-dir" => self.stage1(flag.name, Choice::FromDir(owned()))?,
            "signature" => once(flag.name, &mut self.app(flag.name)?.signature, value)?,
            "exec" => once(flag.name, &mut self.app(flag.name)?.exec, value)?,
            "working-dir" => self.app(flag.name)?.working_dir = Some(owned()),
            "user" => self.app(flag.name)?.user = Some(owned()),
            "group" => self.app(flag.name)?.group = Some(owned()),
            "name" => self.app(flag.name)?.name = Some(owned()),
            "readonly-rootfs" => {
                let app = self.app(flag.name)?;
                app.read_only_rootfs = model::text::parse_bool(value)
                    .map_err(|_| Fault::usage("--readonly-rootfs must be set with a boolean"))?;
            }
            "supplementary-gids" => {
                let app = self.app(flag.name)?;
                app.supplementary_gids
                    .extend(options::supplementary_gids(value)?);
            }
            "annotation" => {
                let app = self.app(flag.name)?;
                let (name, value) = parse_pair(flag.name, value)?;
                app.annotations.push(Annotation {
                    name: AcIdentifier::new(&name)?,
                    value,
                });
            }
            "readiness" => {
                let app = self.app(flag.name)?;
                app.annotations.push(options::readiness(value)?);
            }
            "user-annotation" => {
                let app = self.app(flag.name)?;
                let pair = parse_pair(flag.name, value)?;
                app.user_annotations.get_or_insert_default().push(pair);
            }
            "user-label" => {
                let app = self.app(flag.name)?;
                let pair = parse_pair(flag.name, value)?;
                app.user_labels.get_or_insert_default().push(pair);
            }
            "environment" => {
                let app = self.app(flag.name)?;
                app.environment.push(parse_pair(flag.name, value)?);
            }
            "memory" => isolate(
                self.app(flag.name)?,
                options::memory(value)?,
                &[isolator::MEMORY],
            ),
            "cpu" => isolate(self.app(flag.name)?, options::cpu(value)?, &[isolator::CPU]),
            "cpu-shares" => {
                let app = self.app(flag.name)?;
                isolate(app, options::cpu_shares(value)?, &[isolator::CPU_SHARES]);
            }
            "oom-score-adj" => {
                let app = self.app(flag.name)?;
                isolate(
                    app,
                    options::oom_score_adj(value)?,
                    &[isolator::OOM_SCORE_ADJ],
                );
            }
            "rlimit" => {
                let app = self.app(flag.name)?;
                app.isolators.push(options::rlimit(value)?);
            }
            "sysctl" => options::sysctl(&mut self.pod.sysctls, value)?,
            // One word for all four, as rkt has it.
            "caps-retain" | "cap-retain" => {
                let app = self.app("caps-retain")?;
                isolate(app, options::caps_retain(value)?, &[isolator::CAPS_RETAIN]);
            }
            "caps-remove" | "cap-remove" => {
                let app = self.app("caps-retain")?;
                isolate(app, options::caps_remove(value)?, &[isolator::CAPS_REMOVE]);
            }
            "seccomp" => {
                let app = self.app(flag.name)?;
                let both = &[isolator::SECCOMP_RETAIN, isolator::SECCOMP_REMOVE];
                isolate(app, options::seccomp(value)?, both);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Sink for PodLine {
    fn set(&mut self, flag: &'static Flag, value: &str) -> Result<(), String> {
        flag.judge(value)?;
        if !self.take(flag, value).map_err(|fault| fault.to_string())? {
            self.flags.keep(flag, value.to_string());
        }
        Ok(())
    }
}

/// Everything up to `---` or the end, whatever it looks like.
fn take_args(app: &mut AppOptions, words: &mut VecDeque<OsString>) -> Result<(), Failure> {
    while let Some(word) = words.pop_front() {
        let word = text(&word).map_err(|fault| Failure::Bad(fault.to_string()))?;
        match word.as_str() {
            "---" => break,
            "" => {}
            _ => app.args.push(word),
        }
    }
    Ok(())
}

fn once(flag: &str, place: &mut Option<String>, value: &str) -> Result<()> {
    match place.replace(value.to_string()) {
        None => Ok(()),
        Some(_) => Err(Fault::usage(format!(
            "--{flag} specified multiple times for the same image"
        ))),
    }
}

/// Of a repeated flag the last counts.
fn isolate(app: &mut AppOptions, new: Isolator, replaces: &[&str]) {
    app.isolators
        .retain(|old| !replaces.contains(&old.name.as_str()));
    app.isolators.push(new);
}

/// More than a file of variables may hold, so that a longer one is refused as
/// such and not cut.
const MAX_ENV_FILE: u64 = 8 << 20;

/// No more than a file of variables may hold; what is beyond is refused there.
fn read_env_file(path: &str) -> Result<Vec<u8>> {
    let file = std::fs::File::open(path).map_err(|e| Fault::io("open", path, e))?;
    let mut bytes = Vec::new();
    file.take(MAX_ENV_FILE)
        .read_to_end(&mut bytes)
        .map_err(|e| Fault::io("read", path, e))?;
    Ok(bytes)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::cmd::{fetch, run};

    fn read(words: &[&str]) -> Result<PodLine, Stop> {
        let words = words.iter().map(OsString::from).collect();
        let rules = Rules {
            app_args: true,
            message: "error parsing app image arguments",
        };
        PodLine::read(
            Call {
                command: &run::COMMAND,
                words,
            },
            rules,
        )
    }

    fn fault(words: &[&str]) -> String {
        crate::command::said(read(words))
    }

    #[test]
    fn images_flags_and_arguments() {
        let line = read(&[
            "--volume=data,kind=empty",
            "--mount",
            "volume=data,target=/all",
            "one.aci",
            "--exec",
            "/bin/echo",
            "--mount=volume=data,target=/one",
            "--",
            "--exec",
            "x",
            "",
            "--",
            "---",
            "--port=http:80",
            "",
            "two",
            "--user=7",
            "three",
            "--",
            "a",
        ])
        .ok()
        .unwrap();
        let apps = &line.pod.apps;
        let images: Vec<&str> = apps.iter().map(|app| app.image.as_str()).collect();
        assert_eq!(images, ["one.aci", "two", "three"]);
        assert_eq!(apps[0].exec.as_deref(), Some("/bin/echo"));
        assert_eq!(apps[0].args, ["--exec", "x", "--"]);
        assert_eq!(apps[0].mounts.len(), 1);
        assert_eq!(apps[1].user.as_deref(), Some("7"));
        assert!(apps[1].args.is_empty());
        assert_eq!(apps[2].args, ["a"]);
        assert_eq!(line.pod.mounts[0].path, "/all");
        assert_eq!(line.pod.ports.len(), 1);
    }

    #[test]
    fn a_dash_dash_before_the_first_image_is_swallowed() {
        let line = read(&["--", "one", "--", "x"]).ok().unwrap();
        assert_eq!(line.pod.apps[0].image, "one");
        assert_eq!(line.pod.apps[0].args, ["x"]);
    }

    #[test]
    fn lines_that_make_no_sense() {
        let cases: &[(&[&str], &str)] = &[
            (
                &["--", "--", "x"],
                "error parsing app image arguments: an image is required before any app arguments",
            ),
            (
                &["i", "--", "x", "---", "--", "y"],
                "error parsing app image arguments: only one set of app arguments allowed per image",
            ),
            (
                &["i", "--bogus"],
                "error parsing app image arguments: unknown flag: --bogus",
            ),
            (
                &["i", "--user=x", "---"],
                "error parsing app image arguments: bad flag syntax: ---",
            ),
            (
                &["--exec=x", "i"],
                "Error: invalid argument \"x\" for --exec=x: --exec must follow an image",
            ),
            (
                &["--caps-remove", "CAP_KILL", "i"],
                "Error: invalid argument \"CAP_KILL\" for --caps-remove: --caps-retain must \
                 follow an image",
            ),
            (
                &["i", "--exec=a", "--exec=b"],
                "error parsing app image arguments: invalid argument \"b\" for --exec=b: --exec \
                 specified multiple times for the same image",
            ),
            (
                &["i", "--mount=volume=nope,target=/mnt"],
                "error parsing app image arguments: dangling mount point \"/mnt\": volume \
                 \"nope\" not found",
            ),
            (
                &["i", "--readonly-rootfs", "maybe"],
                "error parsing app image arguments: invalid argument \"maybe\" for \
                 --readonly-rootfs: --readonly-rootfs must be set with a boolean",
            ),
            (
                &["--stage1-name=a", "--stage1-path=b"],
                "Error: invalid argument \"b\" for --stage1-path=b: flags --stage1-name and \
                 --stage1-path are mutually exclusive",
            ),
            (
                &["--stage1-name=a", "--stage1-name=b"],
                "Error: invalid argument \"b\" for --stage1-name=b: --stage1-name already used",
            ),
            (
                &["--volume=data,kind=bogus"],
                "Error: invalid argument \"data,kind=bogus\" for --volume=data,kind=bogus: \
                 invalid value in --volume flag \"data,kind=bogus\": unrecognized volume kind: \
                 should be one of \"empty\", \"host\"",
            ),
            (
                &["--set-env=A=1", "--set-env=A=2"],
                "Error: invalid argument \"A=2\" for --set-env=A=2: key \"A\" already set",
            ),
        ];
        for (words, expected) in cases {
            assert_eq!(fault(words), *expected);
        }
        assert!(matches!(read(&["i", "--help"]), Err(Stop::Help)));
    }

    #[test]
    fn fetch_takes_no_arguments_for_apps() {
        let words = ["i", "--", "x"].iter().map(OsString::from).collect();
        let rules = Rules {
            app_args: false,
            message: "unable to parse arguments",
        };
        match PodLine::read(
            Call {
                command: &fetch::COMMAND,
                words,
            },
            rules,
        ) {
            Err(Stop::Fault(fault)) => assert_eq!(
                fault.to_string(),
                "unable to parse arguments: app arguments unsupported"
            ),
            _ => panic!("understood"),
        }
    }

    #[test]
    fn of_a_repeated_limit_the_last_counts() {
        let line = read(&[
            "i",
            "--memory=16M",
            "--memory=32M",
            "--seccomp=mode=retain,read",
            "--seccomp=mode=remove,write",
        ])
        .ok()
        .unwrap();
        let names: Vec<&str> = line.pod.apps[0]
            .isolators
            .iter()
            .map(|i| i.name.as_str())
            .collect();
        assert_eq!(names, [isolator::MEMORY, isolator::SECCOMP_REMOVE]);
    }
}
