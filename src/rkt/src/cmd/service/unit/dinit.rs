//! dinit: a process, and the script that it is, since dinit has no command of
//! its own for before each start.

use super::{File, PLAIN, SCRIPT, START_SECONDS, STOP_SECONDS, Unit, script};
use crate::cmd::service::request::{Request, check_place};
use model::fault::Result;

pub fn make(request: &Request, base: &str) -> Result<Unit> {
    check_place(base)?;
    let name = &request.name;
    let program = format!("{base}/{name}.run");
    let ready = match request.built_in() {
        true => "ready-notification = pipefd:3\n",
        false => "",
    };
    let text = format!(
        "{head}type = process\ncommand = {program}\n{ready}\
         start-timeout = {START_SECONDS}\nstop-timeout = {STOP_SECONDS}\nterm-signal = TERM\n\
         restart = true\n\
         # Services that depend on the pod live through its restart.\nsmooth-recovery = true\n\
         restart-delay = 2\nrestart-limit-interval = 120\nrestart-limit-count = 10\n\
         logfile = /var/log/{name}.log\n\
         # Of the host: whatever mounts its file systems and brings up the network.\n\
         depends-on = rcboot\n",
        head = script::head(request, "dinit", "as a pod"),
    );
    let run = script::run(request, "dinit", script::setpriv, &["--notify-fd=3"]);
    Ok(Unit {
        files: vec![
            File::new(program, SCRIPT, run),
            File::new(format!("{base}/{name}"), PLAIN, text),
        ],
        enable: vec![format!("dinitctl enable {name}")],
    })
}
