//! `rkt prepare`: make a pod that can be run later.

use super::fetch::pull_policy;
use crate::command::{Call, Command, Outcome, Words};
use crate::flags::{Flag, Values, groups};
use crate::output;
use crate::pod_line::{PodLine, Rules};
use model::Fault;
use stage0::Env;
use stage0::prepare::PrepareRequest;
use stage0::rootless::{self, Standing};
use std::path::PathBuf;

const QUIET: Flag = Flag::bool("quiet", false, "print nothing but the UUID");
pub const PULL_POLICY: Flag = Flag::text(
    "pull-policy",
    "new",
    "ask an image's origin 'never', when it is 'new', or to 'update'",
);

pub static COMMAND: Command = Command {
    name: "prepare",
    short: "make a pod to be run later",
    usage: "rkt prepare [--volume=name,kind=host,...] [--mount volume=VOL,target=PATH] [--quiet] IMAGE [-- image-args...[---]]...",
    long: "Does all the slow work of run and prints the UUID for run-prepared.\n\
           \n\
           IMAGE is an image ID, a file, a URL or a name. Flags about an image follow it; what\n\
           stands between \"--\" and \"---\" is handed to its app.",
    flags: &[
        &[PULL_POLICY, QUIET],
        groups::APP,
        groups::POD,
        groups::SIGNATURE,
        groups::STAGE1,
        groups::STORE,
    ],
    run: Some(run),
    words: Words::Images,
    ..Command::EMPTY
};

/// How the line of `run` and `prepare` is read.
pub const RULES: Rules = Rules {
    app_args: true,
    message: "error parsing app image arguments",
};

fn run(call: Call) -> Outcome {
    let line = PodLine::read(call, RULES)?;
    let env = match line.flags.bool(&QUIET) {
        true => super::quiet_env(&line.flags)?,
        false => super::env(&line.flags, COMMAND.name)?,
    };
    begin(&env, &line.flags)?;
    let request = request(&line)?;
    let uuid = stage0::prepare::prepare(&env, &request)?;
    output::out(&format!("{uuid}\n"))?;
    Ok(0)
}

/// Between rkt and whoever started it: an app that took these for its own would
/// speak for rkt, or use descriptors that it does not have.
const OF_THE_STARTER: [&str; 7] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
];

/// Who may make pods, and in which namespace.
pub fn begin(env: &Env, flags: &Values) -> Result<(), Fault> {
    let standing = rootless::for_pods(env)?;
    if standing == Standing::Owner && flags.on("private-users") {
        return Err(rootless::no_private_users());
    }
    Ok(())
}

/// What pod the line asks for.
pub fn request(line: &PodLine) -> Result<PrepareRequest, Fault> {
    let flags = &line.flags;
    let pull_policy = pull_policy(line, &PULL_POLICY)?;
    let mut pod = line.pod.clone();
    if flags.on("inherit-env") {
        // A variable that is not text cannot be written into a manifest.
        pod.inherited_env = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| !OF_THE_STARTER.contains(&name.as_str()))
            .collect();
    }
    Ok(PrepareRequest {
        pod,
        pod_manifest: flags.filled("pod-manifest").map(PathBuf::from),
        stage1: line.stage1.clone(),
        pull_policy,
        no_overlay: flags.on("no-overlay"),
        private_users: flags.on("private-users"),
        uuid_file_save: flags.filled("uuid-file-save").map(PathBuf::from),
    })
}
