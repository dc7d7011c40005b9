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
/// for one line, which ends the shell if that pod goes on running.
pub const CLEAN: &str = "! rkt status --uuid-file=\"$uuid_file\" >/dev/null 2>&1 || \
     { rkt stop --force --uuid-file=\"$uuid_file\" >/dev/null || \
     ! rkt status --uuid-file=\"$uuid_file\" 2>/dev/null | grep -q ^state=running || exit 1; \
     rkt rm --uuid-file=\"$uuid_file\" >/dev/null; }";

/// `clean` as a function over several lines.
pub const CLEAN_FUNCTION: &str = r#"# Ends and removes the pod that the file names, if it is still there. Fails where it goes on running.
clean() {
    rkt status --uuid-file="$uuid_file" >/dev/null 2>&1 || return 0
    if ! rkt stop --force --uuid-file="$uuid_file" >/dev/null &&
        rkt status --uuid-file="$uuid_file" 2>/dev/null | grep -q ^state=running; then
        return 1
    fi
    rkt rm --uuid-file="$uuid_file" >/dev/null
    return 0
}
"#;

/// A shell's arithmetic ends the script at anything else, and no pause follows.
const NUMBER_FUNCTION: &str = r#"# The number in a file; 0 where there is none.
number() {
    case $(cat "$1" 2>/dev/null) in
    '' | *[!0-9]* | 0?*) echo 0 ;;
    *) cat "$1" ;;
    esac
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
        "#!/bin/sh\n{head}exec 2>&1\n{uuid_file}\n{rkt}\n\n{CLEAN_FUNCTION}\nclean || exit 1\n{make}\
         date +%s >\"$uuid_file.began\"\n{exec}\n",
        head = head(request, init, "as a pod in the foreground"),
        uuid_file = uuid_file(request),
        rkt = rkt(request),
        make = make_uuid_file(request),
        exec = wrapped(&words, sh, "    "),
    )
}

/// What follows an end that nobody asked for; in steps, so that a stop is not
/// kept waiting.
const PAUSE: &str = r#"wanted || exit 0
now=$(date +%s)
began=$(number "$uuid_file.began")
pause=$(number "$uuid_file.pause")
lived=$((now - began))
# So ends what is to be restarted. An app that ends so by itself, and at once, is not to come back as fast.
if [ "$1" = 0 ] && [ $lived -ge 10 ]; then exit 0; fi
if [ $lived -ge 300 ]; then pause=0; fi
pause=$((pause > 0 ? pause * 2 : 1))
if [ $pause -gt 60 ]; then pause=60; fi
echo $pause >"$uuid_file.pause"
while [ $pause -gt 0 ] && wanted; do
    sleep 1
    pause=$((pause - 1))
done
exit 0
"#;

/// Between two pods: removes what is left and waits, for a time that doubles up
/// to a minute and begins anew after five minutes of life. `wanted` is the
/// shell's function that says whether the service is to be up. Both inits give
/// the exit status of `run` as the first argument.
pub fn finish(request: &Request, init: &str, wanted: &str) -> String {
    format!(
        "#!/bin/sh\n{head}exec 2>&1\n{uuid_file}\n{rkt}\n\n{CLEAN_FUNCTION}\n{NUMBER_FUNCTION}\n\
         {wanted}\nclean && rm -f \"$uuid_file\"\n{PAUSE}",
        head = head(request, init, "between two pods"),
        uuid_file = uuid_file(request),
        rkt = rkt(request),
    )
}
