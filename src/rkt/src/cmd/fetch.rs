//! `rkt fetch`: images into the store.

use super::Report;
use crate::command::{Call, Command, Outcome};
use crate::flags::{Flag, groups};
use crate::pod_line::{PodLine, Rules};
use model::Fault;
use stage0::fetch::{PullPolicy, Wanted};

const FULL: Flag = Flag::bool("full", false, "print the image IDs in full length");
const PULL_POLICY: Flag = Flag::text(
    "pull-policy",
    "update",
    "ask the origin 'never', when it is 'new', or to 'update'",
);

pub const QUIET: Flag = Flag::bool("quiet", false, "show no progress of downloads");

pub static COMMAND: Command = Command {
    name: "fetch",
    short: "bring images into the store",
    usage: "rkt fetch IMAGE_URL...",
    long: "Prints the ID of each image once it and all that it depends on are in the store.",
    flags: &[
        &[FULL, PULL_POLICY, QUIET],
        groups::SIGNATURE,
        groups::STORE,
    ],
    run: Some(run),
    ..Command::EMPTY
};

fn run(call: Call) -> Outcome {
    let rules = Rules {
        app_args: false,
        message: "unable to parse arguments",
    };
    let line = PodLine::read(call, rules)?;
    if line.pod.apps.is_empty() {
        return Err(Fault::usage("must provide at least one image").into());
    }
    let policy = pull_policy(&line, &PULL_POLICY)?;
    let env = super::env(&line.flags, COMMAND.name)?;
    stage0::rootless::for_images(&env)?;
    let images: Vec<Wanted> = line
        .pod
        .apps
        .iter()
        .map(|app| Wanted {
            image: app.image.clone(),
            signature: app.signature.clone(),
        })
        .collect();
    let full = line.flags.bool(&FULL);
    let mut report = Report::new(COMMAND.name);
    let result = stage0::fetch::fetch(&env, &images, policy, &mut |id| {
        report.out(if full { id.as_str() } else { id.short() });
    });
    report.end(result)
}

/// `--pull-policy` or the older flags that stand for one.
pub fn pull_policy(line: &PodLine, flag: &'static Flag) -> Result<PullPolicy, Fault> {
    let [no_store, store_only] = groups::STORE else {
        unreachable!("two flags")
    };
    match (line.flags.bool(store_only), line.flags.bool(no_store)) {
        (true, true) => Err(Fault::usage("both --store-only and --no-store specified")),
        (true, false) => Ok(PullPolicy::Never),
        (false, true) => Ok(PullPolicy::Update),
        (false, false) => Ok(PullPolicy::parse(line.flags.text(flag))),
    }
}
