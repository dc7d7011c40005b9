//! sysvinit: a script with LSB's verbs, headers and exit statuses. Nobody
//! watches the pod; `status` tells.

use super::{File, SCRIPT, START_SECONDS, STOP_SECONDS, Unit, script};
use crate::cmd::service::quote::{remark, sh, wrapped};
use crate::cmd::service::request::Request;
use model::fault::{Fault, Result};

pub fn make(request: &Request, base: &str) -> Result<Unit> {
    if !request.detaches() {
        return Err(Fault::unsupported(
            "under sysvinit a pod runs in the background, which only the built-in container stage1 can",
        )
        .hint("a respawn line in /etc/inittab can execute \"rkt run\" for others"));
    }
    let name = &request.name;
    let mut words = vec!["timeout".to_string(), START_SECONDS.to_string()];
    words.extend(script::become_user(request, script::setpriv));
    words.extend(request.background());
    let text = format!(
        r#"#!/bin/sh
### BEGIN INIT INFO
# Provides:          {name}
# Required-Start:    $remote_fs{net}
# Required-Stop:     $remote_fs{net}
# Should-Start:      $syslog $named
# Should-Stop:       $syslog $named
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: {title} as a pod of rkt
### END INIT INFO
# Made by "rkt service generate --init=sysvinit".
{uuid_file}
{rkt}

{clean}
state() {{ rkt status --uuid-file="$uuid_file" 2>/dev/null | sed -n 's/^state=//p'; }}

# One start or stop at a time, since no supervisor sees to that. rkt closes what it does not know.
alone() {{
    mkdir -p {dir} || exit 1
    if command -v flock >/dev/null; then
        exec 9>"$uuid_file.lock"
        flock 9
    fi
}}

# Returns when the pod is ready.
start() {{
    [ "$(state)" != running ] || return 0
    clean || return 1
    {make}    {start} </dev/null >/dev/null && return
    clean
    return 1
}}

# In order; by force, if that takes too long.
stop() {{
    [ "$(state)" != running ] || timeout {STOP_SECONDS} {stop} --uuid-file="$uuid_file" >/dev/null
    clean || return 1
    rm -f "$uuid_file"
}}

case ${{1:-}} in
start | stop)
    alone
    "$1"
    ;;
restart | force-reload)
    alone
    stop && start
    ;;
try-restart)
    alone
    [ "$(state)" != running ] || {{ stop && start; }}
    ;;
status)
    case $(state) in
    running) echo "{name} is running" ;;
    exited*)
        echo "{name} has ended"
        exit 1
        ;;
    *)
        echo "{name} is stopped"
        exit 3
        ;;
    esac
    ;;
*)
    echo "usage: $0 start|stop|restart|try-restart|force-reload|status" >&2
    exit 2
    ;;
esac
"#,
        net = if request.network { " $network" } else { "" },
        title = remark(&request.title),
        uuid_file = script::uuid_file(request),
        rkt = script::rkt(request),
        clean = script::CLEAN_FUNCTION,
        dir = sh(script::state(request)),
        make = script::make_uuid_file(request),
        start = wrapped(&words, sh, "        "),
        stop = wrapped(
            &[request.rkt.as_slice(), &["stop".to_string()]].concat(),
            sh,
            "        "
        ),
    );
    Ok(Unit {
        files: vec![File::new(format!("{base}/{name}"), SCRIPT, text)],
        enable: vec![
            format!("update-rc.d {name} defaults   # or: chkconfig --add {name}"),
            format!("{base}/{name} start"),
        ],
    })
}
