//! The parts that services in sh have in common.

use crate::cmd::service::quote::{remark, sh, wrapped};
use crate::cmd::service::request::{Request, User};

/// The comment at the top.
pub fn head(request: &Request, init: &str, what: &str) -> String {
    format!(
        "# {}: {} {what}. Made by \"rkt service generate --init={init}\".\n",
        request.name,
        remark(&request.title)
    )
}

/// rkt with the flags of this service as a command of the shell; root acts on
/// an ordinary user's pods as that user.
pub fn rkt(request: &Request) -> String {
    format!("rkt() {{ {} \"$@\"; }}", wrapped(&request.rkt, sh, "    "))
}

pub fn uuid_file(request: &Request) -> String {
    format!("uuid_file={}", sh(&request.uuid_file))
}

/// The directory of the UUID file.
pub fn state(request: &Request) -> &str {
    let (dir, _) = request.uuid_file.rsplit_once('/').unwrap_or_default();
    if dir.is_empty() { "/" } else { dir }
}

/// Ends and removes the pod of the UUID file, if there is one: a command list
/// for one line.
pub const CLEAN: &str = "! rkt status --uuid-file=\"$uuid_file\" >/dev/null 2>&1 || \
     { rkt stop --force --uuid-file=\"$uuid_file\" >/dev/null 2>&1; \
     rkt rm --uuid-file=\"$uuid_file\" >/dev/null; }";

/// `clean` as a function over several lines.
pub const CLEAN_FUNCTION: &str = r#"# Ends and removes the pod that the file names, if it is still there.
clean() {
    rkt status --uuid-file="$uuid_file" >/dev/null 2>&1 || return 0
    rkt stop --force --uuid-file="$uuid_file" >/dev/null 2>&1
    rkt rm --uuid-file="$uuid_file" >/dev/null
}
"#;

/// The file that rkt writes the UUID to, made by root where root alone can.
pub fn make_uuid_file(request: &Request) -> String {
    let mut text = format!("mkdir -p {} && : >\"$uuid_file\"", sh(state(request)));
    if let Some(user) = &request.user {
        text.push_str(&format!(" && chown {} \"$uuid_file\"", user.name));
    }
    text.push_str(" || exit 1\n");
    text
}

/// How an init's own program becomes a user: the words before a command.
pub type Become = fn(&User) -> Vec<String>;

/// util-linux's, where an init has none of its own.
pub fn setpriv(user: &User) -> Vec<String> {
    vec![
        "setpriv".to_string(),
        format!("--reuid={}", user.uid),
        format!("--regid={}", user.gid),
        "--init-groups".to_string(),
    ]
}

/// The words before the program of rkt that make its process the user's.
pub fn become_user(request: &Request, tool: Become) -> Vec<String> {
    let Some(user) = &request.user else {
        return Vec::new();
    };
    let mut words = tool(user);
    words.extend([
        "env".to_string(),
        format!("HOME={}", user.home),
        format!("XDG_RUNTIME_DIR=/run/user/{}", user.uid),
    ]);
    words
}

/// A script that becomes the pod in the foreground.
pub fn run(request: &Request, init: &str, tool: Become, more: &[&str]) -> String {
    let mut words = vec!["exec".to_string()];
    words.extend(become_user(request, tool));
    words.extend(request.foreground(more));
    format!(
        "#!/bin/sh\n{head}exec 2>&1\n{uuid_file}\n{rkt}\n\n{CLEAN_FUNCTION}\nclean\n{make}\
         date +%s >\"$uuid_file.began\"\n{exec}\n",
        head = head(request, init, "as a pod in the foreground"),
        uuid_file = uuid_file(request),
        rkt = rkt(request),
        make = make_uuid_file(request),
        exec = wrapped(&words, sh, "    "),
    )
}

/// Between two pods: removes what is left and sets `pause`, in seconds, which
/// doubles up to a minute and begins anew after five minutes of life.
/// `asked` leaves the script when the end was asked for.
pub fn finish(request: &Request, init: &str, asked: &str, wait: &str) -> String {
    format!(
        "#!/bin/sh\n{head}exec 2>&1\n{uuid_file}\n{rkt}\n\n{CLEAN_FUNCTION}\nclean\n{asked}\n\
         now=$(date +%s)\n\
         began=$(cat \"$uuid_file.began\" 2>/dev/null || echo 0)\n\
         pause=$(cat \"$uuid_file.pause\" 2>/dev/null || echo 0)\n\
         if [ $((now - began)) -ge 300 ]; then pause=0; fi\n\
         pause=$((pause > 0 ? pause * 2 : 1))\n\
         if [ $pause -gt 60 ]; then pause=60; fi\n\
         echo $pause >\"$uuid_file.pause\"\n{wait}\n",
        head = head(request, init, "between two pods"),
        uuid_file = uuid_file(request),
        rkt = rkt(request),
    )
}
