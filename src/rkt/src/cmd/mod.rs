//! The commands, one file each, and the root that holds them.

pub mod cat_manifest;
pub mod completion;
pub mod config;
pub mod doctor;
pub mod enter;
pub mod export;
pub mod fetch;
pub mod gc;
pub mod help;
pub mod image;
pub mod list;
pub mod logs;
pub mod man;
#[cfg(feature = "metadata")]
pub mod metadata_service;
pub mod prepare;
pub mod rm;
pub mod run;
pub mod run_prepared;
pub mod service;
pub mod status;
pub mod stop;
pub mod trust;
pub mod version;

use crate::command::{Call, Command, Outcome};
use crate::flags::Values;
use crate::help::{Asked, screen};
use crate::output::{self, progress::Face};
use model::fault::Result;
use model::options::InsecureOptions;
use stage0::pods::PodName;
use stage0::{Env, GlobalFlags, Line};
use std::path::PathBuf;
use std::sync::Arc;

pub static ROOT: Command = Command {
    name: "rkt",
    short: "run containers of app images, without a daemon",
    usage: "rkt [command]",
    long: "Fetches container images, runs them as pods and looks after both.\n\
           \n\
           \"rkt help COMMAND\" says more about one command.",
    children: &[
        &cat_manifest::COMMAND,
        &completion::COMMAND,
        &config::COMMAND,
        &doctor::COMMAND,
        &enter::COMMAND,
        &export::COMMAND,
        &fetch::COMMAND,
        &gc::COMMAND,
        &image::COMMAND,
        &list::COMMAND,
        &logs::COMMAND,
        &man::COMMAND,
        #[cfg(feature = "metadata")]
        &metadata_service::COMMAND,
        &prepare::COMMAND,
        &rm::COMMAND,
        &run::COMMAND,
        &run_prepared::COMMAND,
        &service::COMMAND,
        &status::COMMAND,
        &stop::COMMAND,
        &trust::COMMAND,
        &version::COMMAND,
        &help::COMMAND,
    ],
    run: Some(root),
    ..Command::EMPTY
};

/// `rkt` alone.
fn root(call: Call) -> Outcome {
    call.mixed()?;
    output::remark("rkt", "missing command");
    output::out(&screen(&[&ROOT], Asked::Bare))?;
    Ok(2)
}

/// What a verb works in, its remarks printed with the prefix of `command`.
pub fn env(flags: &Values, command: &'static str) -> Result<Env> {
    let face = Arc::new(Face::new(flags.on("quiet")));
    let remarks = Arc::clone(&face);
    let notes = move |prefix: &str, text: &str| match prefix {
        "" => remarks.remark(command, text),
        prefix => remarks.remark(prefix, text),
    };
    let mut env = Env::resolve(globals(flags)?, Box::new(notes))?;
    stage0::rootless::become_owner(&env)?;
    env.progress = face;
    env.ask = Box::new(output::question::ask);
    Ok(env)
}

/// The same without any remarks.
pub fn quiet_env(flags: &Values) -> Result<Env> {
    let env = Env::resolve(globals(flags)?, Box::new(|_: &str, _: &str| {}))?;
    stage0::rootless::become_owner(&env)?;
    Ok(env)
}

fn globals(flags: &Values) -> Result<GlobalFlags> {
    let dir = |name: &str| flags.last(name).map(PathBuf::from);
    Ok(GlobalFlags {
        dir: dir("dir"),
        system_config: dir("system-config"),
        local_config: dir("local-config"),
        user_config: dir("user-config"),
        insecure: InsecureOptions::parse(flags.last("insecure-options").unwrap_or("none"))?,
        trust_keys_from_https: flags.on("trust-keys-from-https"),
        debug: flags.on("debug"),
    })
}

/// The pods that a command line names: its words, or else `--uuid-file`. Empty
/// when it names none, or in both ways.
pub fn pod_names(flags: &Values, words: Vec<String>) -> Vec<PodName> {
    match flags.filled("uuid-file") {
        Some(file) if words.is_empty() => vec![PodName::File(PathBuf::from(file))],
        Some(_) => Vec::new(),
        None => words.into_iter().map(PodName::Uuid).collect(),
    }
}

/// Exactly one pod, or `None`.
pub fn pod_name(flags: &Values, words: Vec<String>) -> Option<PodName> {
    let mut names = pod_names(flags, words);
    match names.len() {
        1 => names.pop(),
        _ => None,
    }
}

/// Prints what a verb reports on its way. A failure to write is kept for the
/// end, so that it stops no work half done.
pub struct Report {
    command: &'static str,
    failed: Result<()>,
}

impl Report {
    pub fn new(command: &'static str) -> Report {
        Report {
            command,
            failed: Ok(()),
        }
    }

    pub fn line(&mut self, line: Line) {
        match line {
            Line::Out(text) => self.out(&text),
            Line::Err(text) => output::remark(self.command, &text),
        }
    }

    pub fn out(&mut self, text: &str) {
        let written = output::out(&format!("{text}\n"));
        if self.failed.is_ok() {
            self.failed = written;
        }
    }

    /// The verb's own result comes first.
    pub fn end(self, result: Result<()>) -> Outcome {
        result?;
        self.failed?;
        Ok(0)
    }
}
