//! s6: a service directory, which s6-rc takes as a source as well.

use super::{File, PLAIN, SCRIPT, STOP_SECONDS, Unit, script};
use crate::cmd::service::request::{Request, User};
use model::fault::Result;

const WANTED: &str = r#"wanted() { [ "$(s6-svstat -o wantedup .)" = true ]; }
"#;

fn setuidgid(user: &User) -> Vec<String> {
    vec!["s6-setuidgid".to_string(), user.name.clone()]
}

pub fn make(request: &Request, base: &str) -> Result<Unit> {
    let name = &request.name;
    let at = |file: &str, mode, text| File::new(format!("{base}/{name}/{file}"), mode, text);
    let plain = |file: &str, text: &str| at(file, PLAIN, format!("{text}\n"));
    let mut files = vec![
        plain("type", "longrun"),
        // Milliseconds; the pause before the next pod is part of finishing.
        plain("timeout-kill", &(STOP_SECONDS * 1000).to_string()),
        plain("timeout-finish", "120000"),
    ];
    if request.built_in() {
        files.push(plain("notification-fd", "3"));
    }
    files.push(at("finish", SCRIPT, script::finish(request, "s6", WANTED)));
    let run = script::run(request, "s6", setuidgid, &["--notify-fd=3"]);
    files.push(at("run", SCRIPT, run));
    Ok(Unit {
        files,
        enable: vec![
            format!("ln -s {base}/{name} /run/service/   # or the scan directory of this system"),
            "s6-svscanctl -a /run/service".to_string(),
        ],
    })
}
