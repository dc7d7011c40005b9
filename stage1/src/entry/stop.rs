//! `stop`: SIGTERM asks PID 1 to end the pod in order, SIGKILL ends it.

use model::{Fault, fault::Result};
use pod::control::Request;
use pod::entry::StopArgs;
use pod::layout;
use rustix::fs::{Mode, OFlags};
use sys::signal;

use crate::flavor::{self, Flavor};

pub fn stop(words: &[String]) -> Result<i32> {
    let args = StopArgs::parse(words)?;
    if flavor::of_pod() == Flavor::Fly {
        return flavor::fly::stop(&args);
    }
    // Orders go over the control socket: signals from outside can be lost in a
    // flood of the pod's own. The signal is for a pod that does not answer.
    if !args.force && ask(&Request::Stop { force: false }).is_ok() {
        return Ok(0);
    }
    let text = std::fs::read_to_string(layout::PID)
        .map_err(|err| Fault::io("error reading pid: open", layout::PID, err))?;
    let pid = text.trim().parse::<i32>().ok().filter(|pid| *pid > 1);
    let pid = pid.ok_or_else(|| {
        Fault::corrupt(format!("error reading pid: \"{}\" is no pid", text.trim()))
    })?;
    let (number, verb) = if args.force {
        (signal::KILL, "kill")
    } else {
        (signal::TERM, "terminate")
    };
    signal::send(pid, number)
        .map_err(|err| Fault::io("unable to", format!("{verb} process {pid}"), err))?;
    Ok(0)
}

fn ask(request: &Request) -> Result<()> {
    let pod = rustix::fs::open(".", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|err| Fault::io("open", "the pod directory", err))?;
    let timeout = std::time::Duration::from_secs(5);
    pod::control::connect(&pod, Some(timeout))?
        .call(request)
        .map(drop)
}
