//! `rkt list`: all pods.

use crate::command::{Call, Command, Outcome};
use crate::flags::groups;
use crate::output::json::{self, Form};
use crate::output::pods::{self, Look};
use crate::output::{self, block};
use stage0::pods::Detail;

pub static COMMAND: Command = Command {
    name: "list",
    short: "list the pods",
    usage: "rkt list",
    long: "Prints one line per app of every pod that is prepared, runs or has exited.",
    flags: &[groups::FORMAT, groups::TABLE],
    run: Some(run),
    ..Command::EMPTY
};

fn run(call: Call) -> Outcome {
    let args = call.mixed()?;
    let env = super::env(&args.flags, COMMAND.name)?;
    let form = Form::from_flag(args.flags.text(&groups::FORMAT[0]));
    let detail = if form.is_some() {
        Detail::Everything
    } else {
        Detail::Table
    };
    let mut listing = stage0::pods::list(&env, detail)?;
    for remark in &listing.skipped {
        output::remark(COMMAND.name, remark);
    }
    match form {
        Some(form) => {
            let mut documents = Vec::new();
            for pod in &listing.pods {
                match json::pod(pod) {
                    Some(document) => documents.push(document),
                    None => listing.errors.push("invalid creation time".to_string()),
                }
            }
            output::out(&form.render(&json::array(documents)))?;
        }
        None => {
            let look = look(&args.flags);
            output::out(&pods::table(&listing.pods, look, sys::time::now_ns()))?;
        }
    }
    block::print(COMMAND.name, &listing.errors, "pods");
    Ok(0)
}

/// `--full` and `--no-legend`.
pub fn look(flags: &crate::flags::Values) -> Look {
    let [full, no_legend] = groups::TABLE else {
        unreachable!("two flags make a table")
    };
    Look {
        full: flags.bool(full),
        legend: !flags.bool(no_legend),
    }
}
