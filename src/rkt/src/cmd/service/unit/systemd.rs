//! systemd: a unit of type notify. rkt is the main process and speaks for the
//! pod; the pod's cgroups are below the unit's own.

use super::{File, PLAIN, START_SECONDS, STOP_SECONDS, Unit, script};
use crate::cmd::service::quote::{remark, systemd, wrapped};
use crate::cmd::service::request::Request;
use model::fault::Result;

/// Ends and removes the pod of the UUID file `$0` with the rkt of `$@`; fails if
/// that pod goes on running.
pub const CLEAN: &str = r#"test ! -s "$0" || ! "$@" status --uuid-file="$0" >/dev/null 2>&1 || { "$@" stop --force --uuid-file="$0" >/dev/null || ! "$@" status --uuid-file="$0" 2>/dev/null | grep -q ^state=running || exit 1; "$@" rm --uuid-file="$0" >/dev/null || :; }"#;

pub fn make(request: &Request, base: &str) -> Result<Unit> {
    let name = &request.name;
    let indent = "    ";
    let mut clean: Vec<String> = ["/bin/sh", "-c", CLEAN].map(str::to_string).into();
    clean.push(request.uuid_file.clone());
    clean.extend(request.rkt.iter().cloned());
    let clean = wrapped(&clean, systemd, indent);
    let network = match request.network {
        true => "After=network-online.target\nWants=network-online.target\n",
        false => "",
    };
    let user = match &request.user {
        Some(user) => format!(
            "User={}\nEnvironment=XDG_RUNTIME_DIR=/run/user/{}\n",
            user.name, user.uid
        ),
        None => String::new(),
    };
    // An ordinary user's UUID file is made by root, and then given away.
    let make = script::make_uuid_file(request).replace("$uuid_file", "$0");
    let make = wrapped(
        &[
            "/bin/sh".to_string(),
            "-c".to_string(),
            make.trim_end().to_string(),
            request.uuid_file.clone(),
        ],
        systemd,
        indent,
    );
    let forget = ["/bin/rm", "-f", &request.uuid_file].map(str::to_string);
    let forget = wrapped(&forget, systemd, indent);
    let text = format!(
        "{head}[Unit]\nDescription={title} as a pod of rkt\nAfter=local-fs.target\n{network}\
         StartLimitIntervalSec=10min\nStartLimitBurst=10\n\n\
         [Service]\nType={kind}\n{user}ExecStartPre={clean}\nExecStartPre=+{make}\n\
         ExecStart={run}\n\
         # The second only where the first has succeeded.\n\
         ExecStopPost={clean}\nExecStopPost=+{forget}\n\
         Restart=always\nRestartSec=1\n\
         # Growing pauses, since systemd 254; older ones ignore the two lines.\n\
         RestartSteps=6\nRestartMaxDelaySec=60\n\
         TimeoutStartSec={START_SECONDS}\nTimeoutStopSec={STOP_SECONDS}\nKillMode=mixed\n\
         Delegate=yes\n# What bounds the apps is set in the pod.\n\
         LimitNOFILE=1048576\nTasksMax=infinity\nOOMPolicy=continue\n\n\
         [Install]\nWantedBy=multi-user.target\n",
        head = script::head(request, "systemd", "as a pod"),
        title = remark(&request.title),
        kind = match request.built_in() {
            true => "notify\nNotifyAccess=main",
            false => "exec",
        },
        run = wrapped(&request.foreground(&[]), systemd, indent),
    );
    Ok(Unit {
        files: vec![File::new(format!("{base}/{name}.service"), PLAIN, text)],
        enable: vec![
            "systemctl daemon-reload".to_string(),
            format!("systemctl enable --now {name}.service"),
        ],
    })
}
