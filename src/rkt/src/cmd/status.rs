//! `rkt status`: one pod, now or once it is ready or over.

use crate::command::{Call, Command, Outcome, Stop, Words};
use crate::flags::{Flag, groups, parse_duration};
use crate::output::json::{self, Form};
use crate::output::{self, pods};
use model::Fault;
use stage0::status::Wait;
use std::time::Duration;

const WAIT: Flag = Flag::text_or(
    "wait",
    "false",
    "true",
    "first wait for the pod's end, at most so long",
);
const WAIT_READY: Flag = Flag::text_or(
    "wait-ready",
    "false",
    "true",
    "first wait until the pod says that it is ready, at most so long",
);

pub static COMMAND: Command = Command {
    name: "status",
    short: "say how a pod is",
    usage: "rkt status [--wait=bool|timeout] [--wait-ready=bool|timeout] --uuid-file=FILE | UUID",
    long: "Prints the pod's state, its process ID and the exit statuses of its apps.\n\
           \n\
           --wait and --wait-ready take true, false or a span of time such as 1m30s. True or\n\
           a negative span waits without end, false or nought does not wait.",
    flags: &[groups::FORMAT, groups::UUID_FILE, &[WAIT, WAIT_READY]],
    run: Some(run),
    words: Words::Pods(&[]),
    ..Command::EMPTY
};

fn run(call: Call) -> Outcome {
    let args = call.mixed()?;
    let name = super::pod_name(&args.flags, args.texts()?).ok_or(Stop::Usage)?;
    let ready = wait(args.flags.text(&WAIT_READY)).ok_or(Stop::Usage)?;
    let end = wait(args.flags.text(&WAIT)).ok_or(Stop::Usage)?;
    let env = super::env(&args.flags, COMMAND.name)?;
    let pod = stage0::status::status(&env, &name, end, ready)?;
    match Form::from_flag(args.flags.text(&groups::FORMAT[0])) {
        Some(form) => {
            let document = json::pod(&pod).ok_or_else(|| {
                Fault::invalid("invalid creation time")
                    .message("error converting pod")
                    .message("unable to print status")
            })?;
            output::out(&form.render(&document))?;
        }
        None => output::out(&pods::status(&pod))?,
    }
    Ok(0)
}

/// A boolean or a span of time.
fn wait(value: &str) -> Option<Wait> {
    if value.is_empty() {
        return Some(Wait::Forever);
    }
    if let Ok(on) = model::text::parse_bool(value) {
        return Some(if on { Wait::Forever } else { Wait::No });
    }
    Some(match parse_duration(value).ok()? {
        0 => Wait::No,
        ns if ns < 0 => Wait::Forever,
        ns => Wait::AtMost(Duration::from_nanos(ns.unsigned_abs())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_to_wait() {
        let cases = [
            ("", Some(Wait::Forever)),
            ("true", Some(Wait::Forever)),
            ("false", Some(Wait::No)),
            ("0", Some(Wait::No)),
            ("0s", Some(Wait::No)),
            ("-1s", Some(Wait::Forever)),
            ("1m30s", Some(Wait::AtMost(Duration::from_secs(90)))),
            ("soon", None),
        ];
        for (value, expected) in cases {
            assert_eq!(wait(value), expected, "{value}");
        }
    }
}
