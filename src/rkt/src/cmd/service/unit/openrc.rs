//! OpenRC: supervise-daemon executes the pod, and starts it again.
//!
//! The supervisor has one command and no way to do something before it, so the
//! command is a shell that cleans up and becomes the pod. OpenRC keeps a
//! daemon's arguments in files of lines: no word may have two.

use super::{File, SCRIPT, START_SECONDS, STOP_SECONDS, Unit, script};
use crate::cmd::service::quote::{remark, sh, wrapped};
use crate::cmd::service::request::Request;
use model::fault::{Fault, Result};

pub fn make(request: &Request, base: &str) -> Result<Unit> {
    let name = &request.name;
    let words = request.foreground(&[]);
    if let Some(word) = words.iter().find(|word| word.contains(['\n', '\r'])) {
        return Err(Fault::unsupported(format!(
            "OpenRC cannot hold an argument of several lines: {}",
            model::text::quote(word)
        ))
        .hint("put it into a pod manifest"));
    }
    // In the shell of the supervisor: `$0` is the service's name.
    let pod = [
        script::rkt(request).replace(" \\\n", " "),
        script::uuid_file(request),
        script::CLEAN.to_string(),
        ": >\"$uuid_file\"".to_string(),
        format!("exec {}", wrapped(&words, sh, "").replace(" \\\n", " ")),
    ]
    .join("; ");
    let text = format!(
        r#"#!/sbin/openrc-run
{head}
description={description}
supervisor=supervise-daemon
pidfile={state}/{name}.pid
error_log=/var/log/{name}.log
output_log=/dev/null
retry=SIGTERM/{STOP_SECONDS}/SIGKILL/5
respawn_delay=2
respawn_max=10
respawn_period=300
{user}{uuid_file}

# What the supervisor executes, each time.
pod={pod}
command=/bin/sh
command_args='-c "$pod" {name}'

depend() {{
    use {net}dns logger localmount netmount
    want cgroups
    after bootmisc firewall iptables nftables modules
    # To fetch an image may take longer than OpenRC waits for a service.
    keyword -timeout
}}

{rkt}

{clean}
start_pre() {{
    # One that is there may be somebody else's, such as /tmp: its mode is not ours.
    [ -d {state} ] || checkpath -q -d -m 0755 {state} || return 1
    clean || return 1
    checkpath -q -f -m 0644 -o {owner} "$uuid_file" "$error_log" || return 1
{runtime}    # Growing delays, where this OpenRC has them.
    case "$(supervise-daemon --help 2>&1)" in
    *--respawn-delay-step*) supervise_daemon_args="--respawn-delay-step 2 --respawn-delay-cap 30" ;;
    esac
}}

# Started means that the pod is ready, unless the supervisor has given up.
start() {{
    default_start || return
    local left={START_SECONDS}
    until rkt status --wait-ready=1s --uuid-file="$uuid_file" >/dev/null 2>&1; do
        left=$((left - 1))
        if [ "$left" -lt 1 ] || [ ! -e "$pidfile" ]; then
            eerror "The pod did not become ready; $error_log may say why"
            supervise-daemon "$RC_SVCNAME" --stop --pidfile "$pidfile" 2>/dev/null
            clean
            return 1
        fi
        sleep 1
    done
}}

stop_post() {{
    clean || return 1
    rm -f "$uuid_file"
}}
"#,
        head = script::head(request, "openrc", "as a supervised pod"),
        description = sh(&format!("{} as a pod of rkt", remark(&request.title))),
        state = sh(script::state(request)),
        user = match &request.user {
            Some(user) => format!(
                "command_user={}\nexport HOME={} XDG_RUNTIME_DIR=/run/user/{}\n",
                user.name, user.home, user.uid
            ),
            None => String::new(),
        },
        uuid_file = script::uuid_file(request),
        pod = sh(&pod),
        net = if request.network {
            "net networking "
        } else {
            ""
        },
        rkt = script::rkt(request),
        clean = script::CLEAN_FUNCTION,
        owner = request.user.as_ref().map_or("root", |user| &user.name),
        runtime = match &request.user {
            Some(user) => format!(
                "    checkpath -q -d -m 0755 /run/user || return 1\n    \
                 checkpath -q -d -m 0700 -o {} /run/user/{} || return 1\n",
                user.name, user.uid
            ),
            None => String::new(),
        },
    );
    Ok(Unit {
        files: vec![File::new(format!("{base}/{name}"), SCRIPT, text)],
        enable: vec![
            format!("rc-update add {name} default"),
            format!("rc-service {name} start"),
        ],
    })
}
