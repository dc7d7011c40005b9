//! A stage1 image's only program: keeps rkt's contract of stage0 and stage1 with as little as it takes, and writes
//! down what it was called with.
//!
//! The last part of argv[0] is the role: `run`, `enter`, `gc`, `stop`, and `app` for itself between `run` and an
//! app's program. Each call leaves `P/stub-<role>`: the words of argv one per line, `cwd=…`, the `RKT_` variables,
//! `root=…` with what is in `S`. `gc` says the same on stderr, since `P` goes next. An app of a pod inherits the
//! lock, so a pod ends with its last app.

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use serde_json::Value;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    let role = words
        .first()
        .and_then(|word| word.rsplit('/').next())
        .unwrap_or_default();
    let result = match role {
        "app" => Err(become_app(&words)),
        _ => note(role, &words).and_then(|()| match role {
            "run" => run(),
            "enter" => Err(enter(&words)),
            "stop" => stop(words.iter().any(|word| word == "--force")),
            "gc" => Ok(0),
            _ => Err(format!("{role}: no such role")),
        }),
    };
    match result {
        Ok(status) => ExitCode::from(status),
        Err(text) => {
            eprintln!("stub: {text}");
            ExitCode::from(254)
        }
    }
}

fn note(role: &str, words: &[String]) -> Result<(), String> {
    let mut text: String = words.iter().map(|word| format!("{word}\n")).collect();
    text.push_str(&format!(
        "cwd={}\n",
        said("cwd", std::env::current_dir())?.display()
    ));
    for (name, value) in std::env::vars().filter(|(name, _)| name.starts_with("RKT_")) {
        text.push_str(&format!("{name}={value}\n"));
    }
    text.push_str(&format!("root={}\n", names("stage1/rootfs").join(" ")));
    text.push_str(&format!(
        "status={}\n",
        names("stage1/rootfs/rkt/status").join(" ")
    ));
    if role == "gc" {
        eprint!("{text}");
    }
    said("note", std::fs::write(format!("stub-{role}"), text))
}

fn names(dir: &str) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Starts all apps and waits for them; the first status that is not 0.
fn run() -> Result<u8, String> {
    said(
        "pid",
        std::fs::write("pid", format!("{}\n", std::process::id())),
    )?;
    let mut running = Vec::new();
    for app in apps()? {
        let mut command = Command::new("stage1/rootfs/run");
        command
            .arg0("app")
            .arg(root_of(&app.name))
            .args(&app.exec)
            .env_clear()
            .envs(app.env);
        running.push((app.name, said("spawn", command.spawn())?));
    }
    said(
        "ready",
        std::os::unix::fs::symlink("ready", "stage1/rootfs/rkt/supervisor-status"),
    )?;
    let mut first = 0;
    for (name, mut child) in running {
        let status = said("wait", child.wait())?.code().unwrap_or(1);
        let path = format!("stage1/rootfs/rkt/status/{name}");
        said(&path, std::fs::write(&path, format!("{status}\n")))?;
        first = if first == 0 {
            u8::try_from(status).unwrap_or(254)
        } else {
            first
        };
    }
    Ok(first)
}

struct App {
    name: String,
    exec: Vec<String>,
    env: Vec<(String, String)>,
}

fn apps() -> Result<Vec<App>, String> {
    let pod = json(Path::new("pod"))?;
    let mut apps = Vec::new();
    for runtime in pod["apps"].as_array().into_iter().flatten() {
        let name = runtime["name"].as_str().unwrap_or_default().to_owned();
        let image = json(&Path::new("appsinfo").join(&name).join("manifest"))?;
        let app = if runtime["app"].is_object() {
            &runtime["app"]
        } else {
            &image["app"]
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let env = app["environment"].as_array().into_iter().flatten();
        apps.push(App {
            name,
            exec: app["exec"]
                .as_array()
                .into_iter()
                .flatten()
                .map(text)
                .collect(),
            env: env
                .map(|pair| (text(&pair["name"]), text(&pair["value"])))
                .collect(),
        });
    }
    Ok(apps)
}

fn json(path: &Path) -> Result<Value, String> {
    let bytes = said(&path.display().to_string(), std::fs::read(path))?;
    serde_json::from_slice(&bytes).map_err(|e| format!("{}: {e}", path.display()))
}

fn root_of(app: &str) -> PathBuf {
    Path::new("stage1/rootfs/opt/stage2")
        .join(app)
        .join("rootfs")
}

/// `app ROOT PROGRAM ARGS…`: dies with its parent.
fn become_app(words: &[String]) -> String {
    let [_, root, program, args @ ..] = words else {
        return "app: ROOT PROGRAM ARGS…".to_owned();
    };
    if let Err(e) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return format!("parent: {e}");
    }
    chroot_and_exec(Path::new(root), program, args)
}

/// `enter --pid=PID --appname=APP -- PROGRAM ARGS…`
fn enter(words: &[String]) -> String {
    let [_, pid, app, dashes, program, args @ ..] = words else {
        return format!("enter: words {words:?}");
    };
    match (pid.strip_prefix("--pid="), app.strip_prefix("--appname=")) {
        (Some(_), Some(app)) if dashes == "--" => chroot_and_exec(&root_of(app), program, args),
        _ => format!("enter: words {words:?}"),
    }
}

fn chroot_and_exec(root: &Path, program: &str, args: &[String]) -> String {
    if let Err(e) = std::os::unix::fs::chroot(root).and_then(|()| std::env::set_current_dir("/")) {
        return format!("{}: {e}", root.display());
    }
    format!("{program}: {}", Command::new(program).args(args).exec())
}

fn stop(force: bool) -> Result<u8, String> {
    let text = said("pid", std::fs::read_to_string("pid"))?;
    let pid = text
        .trim()
        .parse()
        .ok()
        .and_then(Pid::from_raw)
        .ok_or("pid: no number")?;
    let signal = if force { Signal::KILL } else { Signal::TERM };
    said(
        "kill",
        kill_process(pid, signal).map_err(std::io::Error::from),
    )
    .map(|()| 0)
}

fn said<T>(what: &str, result: std::io::Result<T>) -> Result<T, String> {
    result.map_err(|e| format!("{what}: {e}"))
}
