//! runit: a service directory with a log service.

use super::{File, SCRIPT, Unit, script};
use crate::cmd::service::quote::{sh, wrapped};
use crate::cmd::service::request::{Request, User};
use model::fault::Result;

/// runsv writes the file anew at every command, also while `finish` runs.
const WANTED: &str = r"wanted() {
    case $(cat supervise/stat 2>/dev/null) in
    *'want down'* | *'want exit'*) return 1 ;;
    esac
}
";

fn chpst(user: &User) -> Vec<String> {
    vec!["chpst".to_string(), "-u".to_string(), user.name.clone()]
}

pub fn make(request: &Request, base: &str) -> Result<Unit> {
    let name = &request.name;
    let at = |file: &str, text: String| File::new(format!("{base}/{name}/{file}"), SCRIPT, text);
    let check = format!(
        "#!/bin/sh\n{}exec {} status --wait-ready=100ms --uuid-file={} >/dev/null 2>&1\n",
        script::head(request, "runit", "is ready or not"),
        wrapped(&request.rkt, sh, "    "),
        sh(&request.uuid_file),
    );
    let log =
        format!("#!/bin/sh\nmkdir -p /var/log/{name} || exit 1\nexec svlogd -tt /var/log/{name}\n");
    Ok(Unit {
        files: vec![
            at("log/run", log),
            at("check", check),
            at("finish", script::finish(request, "runit", WANTED)),
            at("run", script::run(request, "runit", chpst, &[])),
        ],
        enable: vec![
            format!(
                "ln -s {base}/{name} /etc/service/   # or /var/service, or wherever runsvdir looks"
            ),
            format!("sv start {name}"),
        ],
    })
}
