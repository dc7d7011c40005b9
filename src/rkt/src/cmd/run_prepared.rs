//! `rkt run-prepared`: run a pod that `prepare` made.

use crate::command::{Call, Command, Outcome, Stop, Words};
use crate::flags::{Values, groups};
use model::Fault;
use model::options::dns_options;
use stage0::run::RunOptions;

pub static COMMAND: Command = Command {
    name: "run-prepared",
    short: "run a pod that was prepared",
    usage: "rkt run-prepared UUID",
    long: "UUID is what prepare printed.",
    flags: &[groups::DNS, groups::RUN],
    run: Some(run),
    words: Words::Pods(&["prepared"]),
    ..Command::EMPTY
};

fn run(call: Call) -> Outcome {
    let args = call.mixed()?;
    let env = super::env(&args.flags, COMMAND.name)?;
    stage0::rootless::for_pods(&env)?;
    let Ok([uuid]) = <[String; 1]>::try_from(args.texts()?) else {
        return Err(Stop::Usage);
    };
    let options = options(&args.flags)?;
    Err(stage0::run_prepared::run_prepared(&env, &uuid, &options).into())
}

/// The flags that `run` and `run-prepared` share.
pub fn options(flags: &Values) -> Result<RunOptions, Fault> {
    let text = |name: &str| flags.last(name).unwrap_or_default().to_string();
    let dns = dns_options(
        &flags.owned("dns"),
        &flags.owned("dns-search"),
        &flags.owned("dns-opt"),
        flags.last("dns-domain"),
        &flags.owned("hosts-entry"),
    );
    Ok(RunOptions {
        net: flags.owned("net"),
        interactive: flags.on("interactive"),
        hostname: text("hostname"),
        dns: dns.map_err(|fault| fault.message("error with dns flags"))?,
        ipc: text("ipc"),
        mds_register: flags.on("mds-register"),
        notify_fd: flags
            .filled("notify-fd")
            .map(|word| stage0::run::notify_fd(&word))
            .transpose()?,
        ..RunOptions::default()
    })
}
