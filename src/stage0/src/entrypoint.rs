//! The way to the entry points of a pod's stage1: those of a built-in one are
//! this very binary, those of a stage1 image are programs in it.

use crate::env::Env;
use crate::legacy::Legacy;
use crate::stage1_image::Flavor;
use model::{Fault, fault::Result};
use pod::Pod;
use pod::entry::{Entry, Interface};
use std::ffi::CString;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use sys::clone::{Forked, Namespaces, fork_into};
use sys::process::{self, Ended};

/// Where an entry point lives.
#[derive(Clone, Debug)]
pub(crate) enum Stage1 {
    BuiltIn(Flavor),
    Image(Box<Legacy>),
}

/// What an entry point that is waited for may write to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Streams {
    /// stdout and stderr are the caller's.
    Both,
    /// stderr only, and there is nothing to read.
    Errors,
}

impl Stage1 {
    pub(crate) fn of(env: &Env, pod: &Pod) -> Result<Stage1> {
        Ok(match Legacy::of(env, pod)? {
            None => Stage1::BuiltIn(Flavor::of_pod(pod)),
            Some(legacy) => Stage1::Image(Box::new(legacy)),
        })
    }

    pub(crate) fn interface(&self) -> Interface {
        match self {
            Stage1::BuiltIn(flavor) => flavor.interface(),
            Stage1::Image(legacy) => legacy.interface,
        }
    }

    /// Starts an entry point with the pod as its directory and waits for it.
    pub(crate) fn run(
        &self,
        env: &Env,
        pod: &Pod,
        entry: Entry,
        words: &[String],
        streams: Streams,
    ) -> Result<ExitStatus> {
        let failed = |e| Fault::io("exec", format!("stage1 {}", entry.word()), e);
        if let Stage1::BuiltIn(_) = self {
            let mut command = Command::new("/proc/self/exe");
            command.arg0("rkt").args(["stage1", entry.word()]);
            command.args(words).current_dir(pod.path());
            return command.status().map_err(failed);
        }
        // A child of our own: it may have to change its mount namespace.
        match fork_into(Namespaces::NONE, None).map_err(failed)? {
            Forked::Child => {
                let fault = match streams {
                    Streams::Both => Ok(()),
                    Streams::Errors => silence(),
                };
                let fault = match fault {
                    Ok(()) => self.become_it(pod, entry, words, &[]),
                    Err(fault) => fault,
                };
                env.note("", &fault.to_string());
                process::exit_now(254)
            }
            Forked::Parent(pid) => Ok(match process::wait(pid).map_err(failed)? {
                Ended::Exited(status) => ExitStatus::from_raw(status << 8),
                Ended::Signalled(number) => ExitStatus::from_raw(number),
            }),
        }
    }

    /// Becomes an entry point; returns only the reason why it could not.
    pub(crate) fn become_it(
        &self,
        pod: &Pod,
        entry: Entry,
        words: &[String],
        extra_env: &[(&str, String)],
    ) -> Fault {
        let run = || -> Result<std::io::Error> {
            let env = environment(extra_env)?;
            let path = pod.path();
            let change =
                || rustix::process::chdir(&path).map_err(|e| Fault::io("chdir", path.display(), e));
            match self {
                Stage1::BuiltIn(_) => {
                    change()?;
                    let argv = strings(["rkt", "stage1", entry.word()].into_iter(), words)?;
                    Ok(sys::exe::reexec(&argv, &env))
                }
                Stage1::Image(legacy) => {
                    legacy.show(pod)?;
                    change()?;
                    let program = legacy.program(pod, entry)?;
                    let program = program.to_string_lossy();
                    let argv = strings([&*program].into_iter(), words)?;
                    let error = process::exec(&argv[0], &argv, &env);
                    Err(Fault::io("exec", format!("{program:?}"), error))
                }
            }
        };
        match run() {
            Ok(e) => Fault::io("exec", format!("stage1 {}", entry.word()), e),
            Err(fault) => fault,
        }
    }
}

/// Nothing to read, and stdout goes nowhere.
fn silence() -> Result<()> {
    let failed = |e| Fault::io("open", "/dev/null", e);
    let null = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(failed)?;
    process::become_std(null.as_fd(), 0).map_err(failed)?;
    process::become_std(null.as_fd(), 1).map_err(failed)
}

fn strings<'w>(first: impl Iterator<Item = &'w str>, words: &'w [String]) -> Result<Vec<CString>> {
    first
        .chain(words.iter().map(String::as_str))
        .map(|word| {
            CString::new(word).map_err(|_| Fault::usage(format!("{word:?} holds a NUL byte")))
        })
        .collect()
}

/// Ours, and what the entry point gets beside.
fn environment(extra: &[(&str, String)]) -> Result<Vec<CString>> {
    use std::os::unix::ffi::OsStringExt;
    let mut env: Vec<CString> = Vec::new();
    for (name, value) in std::env::vars_os() {
        if extra.iter().any(|(ours, _)| name == *ours) {
            continue;
        }
        let mut text = name.into_vec();
        text.push(b'=');
        text.extend(value.into_vec());
        env.push(CString::new(text).expect("the kernel ends each at its first NUL"));
    }
    for (name, value) in extra {
        let text = format!("{name}={value}");
        env.push(CString::new(text).map_err(|_| Fault::usage(format!("{name} holds a NUL byte")))?);
    }
    Ok(env)
}
