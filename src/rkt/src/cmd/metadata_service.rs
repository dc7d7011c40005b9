//! `rkt metadata-service`: tells apps who they are.

use crate::command::{Call, Command, Outcome};
use crate::flags::Flag;
use crate::output;

const LISTEN_PORT: Flag = Flag::word("listen-port", "18112", "TCP port for the apps").checked(port);

pub static COMMAND: Command = Command {
    name: "metadata-service",
    short: "tell apps about themselves",
    usage: "rkt metadata-service [--listen-port=PORT]",
    long: "Answers the apps of pods that were started with --mds-register: which pod they are\n\
           in, what its manifests and annotations say, and signatures that prove it to others.\n\
           \n\
           Pods are registered over /run/rkt/metadata-svc.sock, or over the socket that a\n\
           service manager hands over (LISTEN_FDS). The apps find the service at AC_METADATA_URL,\n\
           which always names port 18112: another one needs a forwarding of its own. What is\n\
           registered is lost when the service ends.",
    flags: &[&[LISTEN_PORT]],
    run: Some(run),
    ..Command::EMPTY
};

fn port(value: &str) -> Result<(), String> {
    match value.parse::<u16>() {
        Ok(1..) => Ok(()),
        _ => Err("a port is a number from 1 to 65535".to_string()),
    }
}

fn run(call: Call) -> Outcome {
    let args = call.mixed()?;
    let text = args.flags.text(&LISTEN_PORT);
    let port = text
        .parse()
        .expect("judged when parsed; the default is a port");
    stage0::metadata::serve(port, &|line| {
        output::remark(COMMAND.name, &output::tame(line));
    })?;
    Ok(0)
}
