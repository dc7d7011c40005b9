//! What every init's files must hold, read by the programs that would read them where these are at hand.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::cmd::service::detect::NAMES;
use crate::cmd::service::quote::tests::HOSTILE;
use crate::cmd::service::request::User;
use stage0::stage1_image::Flavor;
use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

fn request(arguments: &[&str]) -> Request {
    let mut words = vec![
        "--net=host".to_string(),
        "docker://redis:7".to_string(),
        "--".to_string(),
    ];
    words.extend(arguments.iter().map(|word| word.to_string()));
    Request {
        name: "redis".to_string(),
        title: "docker://redis:7".to_string(),
        rkt: vec!["/usr/bin/rkt".to_string(), "--dir=/srv/my data".to_string()],
        words,
        uuid_file: "/run/rkt-services/redis.uuid".to_string(),
        user: None,
        stage1: Some(Flavor::Native),
        network: true,
        manifest: None,
    }
}

fn user() -> User {
    User {
        name: "ann".to_string(),
        uid: 1000,
        gid: 100,
        home: "/home/ann".to_string(),
    }
}

/// Those that OpenRC can hold, too.
fn one_line() -> Vec<&'static str> {
    let all = HOSTILE.iter().copied();
    all.filter(|word| !word.contains('\n')).collect()
}

fn is_script(file: &File) -> bool {
    file.text.starts_with("#!")
}

fn check_syntax(file: &File) {
    let mut shell = Command::new("/bin/sh")
        .arg("-n")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = shell.stdin.take().unwrap();
    stdin.write_all(file.text.as_bytes()).unwrap();
    drop(stdin);
    assert!(shell.wait().unwrap().success(), "{}", file.text);
}

#[test]
fn every_init_gets_files_that_a_shell_can_read() {
    for (name, init) in NAMES {
        for user in [None, Some(user())] {
            for stage1 in [Some(Flavor::Native), Some(Flavor::Fly), None] {
                if *init == Init::Sysvinit && stage1 != Some(Flavor::Native) {
                    continue;
                }
                let mut request = request(&one_line());
                (request.user, request.stage1) = (user.clone(), stage1);
                let unit = make(*init, request, place(*init)).unwrap();
                for file in &unit.files {
                    assert!(file.path.starts_with(place(*init)), "{name}: {}", file.path);
                    assert!(file.text.ends_with('\n'), "{name}: {}", file.path);
                    assert_eq!(
                        is_script(file),
                        file.mode == SCRIPT,
                        "{name}: {}",
                        file.path
                    );
                    if is_script(file) {
                        check_syntax(file);
                    }
                }
                assert!(!unit.enable.is_empty());
            }
        }
    }
}

/// Executes what stands behind `exec` or `start`, with `rkt` and what becomes a user replaced by a program that
/// prints its words.
fn executed(text: &str, from: &str) -> Vec<String> {
    let at = text.find(from).unwrap();
    let line = text[at..].replacen("/usr/bin/rkt", "/tmp/no-rkt", 1);
    let line = line.replacen("exec ", "printf '%s\\000' ", 1);
    let output = Command::new("/bin/sh")
        .args(["-c", &line])
        .output()
        .unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .split_terminator('\0')
        .map(str::to_string)
        .collect()
}

#[test]
fn a_script_executes_the_very_words() {
    for init in [Init::Runit, Init::S6, Init::Dinit] {
        let unit = make(init, request(HOSTILE), place(init)).unwrap();
        let run = unit.files.iter().find(|file| {
            is_script(file)
                && (file.path.ends_with("/run") || file.path.ends_with(".run"))
                && !file.path.contains("/log/")
        });
        let words = executed(&run.unwrap().text, "exec /usr/bin/rkt");
        assert_eq!(words[..3], ["/tmp/no-rkt", "--dir=/srv/my data", "run"]);
        assert_eq!(words[words.len() - HOSTILE.len()..], *HOSTILE);
    }
}

#[test]
fn openrc_hands_the_words_through_two_shells() {
    let words = one_line();
    let unit = make(Init::OpenRc, request(&words), "/etc/init.d").unwrap();
    let text = &unit.files[0].text;
    let pod = text.find("\npod=").unwrap();
    let end = text.find("\ncommand=").unwrap();
    // The value of `pod`, as the supervisor's shell gets it.
    let script = format!("{}\nprintf %s \"$pod\"", &text[pod..end]);
    let output = Command::new("/bin/sh")
        .args(["-c", &script])
        .output()
        .unwrap();
    let inner = String::from_utf8(output.stdout).unwrap();
    assert!(!inner.contains('\n'), "{inner}");
    let said = executed(&inner, "exec /usr/bin/rkt");
    assert_eq!(said[said.len() - words.len()..], *words);
    let fault = make(Init::OpenRc, request(&["a\nb"]), "/etc/init.d")
        .err()
        .unwrap();
    assert!(fault.to_string().contains("several lines"), "{fault}");
}

#[test]
fn the_pod_stops_before_the_init_kills() {
    for (init, file, line) in [
        (Init::OpenRc, "/redis", "retry=SIGTERM/110/SIGKILL/5"),
        (Init::S6, "/timeout-kill", "110000"),
        (Init::Dinit, "/redis", "stop-timeout = 110"),
        (Init::Sysvinit, "/redis", "timeout 110"),
        (Init::Systemd, "/redis.service", "TimeoutStopSec=110"),
    ] {
        let unit = make(init, request(&[]), place(init)).unwrap();
        let found = unit.files.iter().find(|made| made.path.ends_with(file));
        assert!(found.unwrap().text.contains(line), "{init:?}");
    }
}

/// A directory for what a script writes, and for the programs that it calls.
struct Host {
    dir: PathBuf,
}

impl Host {
    fn new(name: &str) -> Host {
        let dir = std::env::temp_dir().join(format!("rkt-test-{name}-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        std::fs::create_dir(dir.join("supervise")).unwrap();
        let host = Host { dir };
        host.program("sleep", "echo slept >>slept");
        host.program("s6-svstat", "grep -q down supervise/stat || echo true");
        host.write("supervise/stat", "run");
        host
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.join(name)).unwrap_or_default()
    }

    fn program(&self, name: &str, text: &str) -> String {
        self.write(name, &format!("#!/bin/sh\n{text}\n"));
        let path = self.dir.join(name);
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        path.to_string_lossy().into_owned()
    }

    /// Whose rkt is the program `rkt` here.
    fn request(&self) -> Request {
        let mut request = request(&[]);
        request.rkt = vec![self.dir.join("rkt").to_string_lossy().into_owned()];
        request.uuid_file = self.dir.join("uuid").to_string_lossy().into_owned();
        request
    }

    /// Whether the shell succeeds with the text and its arguments.
    fn runs(&self, text: &str, arguments: &[&str]) -> bool {
        let path = format!("{}:/usr/bin:/bin", self.dir.display());
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", text]).args(arguments);
        shell.env("PATH", path).current_dir(&self.dir);
        shell.stdout(Stdio::null()).stderr(Stdio::null());
        shell.status().unwrap().success()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn text_of<'a>(unit: &'a Unit, end: &str) -> &'a str {
    let mut files = unit.files.iter();
    let is = |file: &&File| file.path.ends_with(end) && !file.path.contains("/log/");
    &files.find(is).unwrap().text
}

/// The shell would end there, and the supervisor start the pod again at once.
#[test]
fn files_of_nonsense_are_a_pause_of_a_second() {
    for init in [Init::Runit, Init::S6] {
        let host = Host::new(&format!("nonsense-{init:?}"));
        host.program("rkt", "exit 1");
        for (nonsense, pause) in [("ten", "1\n"), ("08", "1\n"), ("", "1\n"), ("4", "8\n")] {
            let unit = make(init, host.request(), "/base").unwrap();
            // It began in what is the future, so that the pause counts.
            host.write("uuid.began", "99999999999");
            host.write("uuid.pause", nonsense);
            assert!(host.runs(text_of(&unit, "/finish"), &["finish", "1", "0"]));
            assert_eq!(host.read("uuid.pause"), pause, "{init:?} {nonsense:?}");
        }
    }
}

/// A supervisor hands 0 over after a restart that was asked for; an app may end with it by itself.
#[test]
fn an_orderly_end_is_a_crash_only_where_the_pod_had_just_begun() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.unwrap().as_secs();
    for init in [Init::Runit, Init::S6] {
        let host = Host::new(&format!("orderly-{init:?}"));
        host.program("rkt", "exit 1");
        for (status, lived, pause) in [
            ("0", 60, "4"),
            ("0", 0, "8\n"),
            ("1", 60, "8\n"),
            ("-1", 60, "8\n"),
            ("1", 400, "1\n"),
        ] {
            let unit = make(init, host.request(), "/base").unwrap();
            host.write("uuid.began", &format!("{}", now - lived));
            host.write("uuid.pause", "4");
            assert!(host.runs(text_of(&unit, "/finish"), &["finish", status, "0"]));
            assert_eq!(host.read("uuid.pause"), pause, "{init:?} {status} {lived}");
        }
    }
}

#[test]
fn a_stop_ends_the_pause() {
    for init in [Init::Runit, Init::S6] {
        let host = Host::new(&format!("down-{init:?}"));
        host.program("rkt", "exit 1");
        host.program(
            "sleep",
            "echo slept >>slept; echo 'finish, want down' >supervise/stat",
        );
        let unit = make(init, host.request(), "/base").unwrap();
        host.write("uuid.pause", "30");
        for _ in 0..2 {
            assert!(host.runs(text_of(&unit, "/finish"), &["finish", "1", "0"]));
            assert_eq!(host.read("slept"), "slept\n", "{init:?}");
        }
    }
}

/// Its UUID is all that leads to it, and there must not be another one beside it.
#[test]
fn a_pod_that_goes_on_running_is_not_forgotten() {
    const STUCK: &str =
        "case $1 in status) echo state=running ;; run) echo ran >ran ;; *) exit 1 ;; esac";
    let host = Host::new("stuck");
    let rkt = host.program("rkt", STUCK);
    let uuid_file = host.request().uuid_file;
    host.write("uuid", "one");
    let made = |init| make(init, host.request(), "/base").unwrap();

    for (init, end) in [
        (Init::Runit, "/run"),
        (Init::S6, "/run"),
        (Init::Dinit, ".run"),
    ] {
        let unit = made(init);
        let run = text_of(&unit, end);
        assert!(!host.runs(run, &[]), "{init:?}");
        if init != Init::Dinit {
            assert!(host.runs(text_of(&unit, "/finish"), &["finish", "1", "0"]));
        }
        assert_eq!(host.read("uuid"), "one", "{init:?}");
    }
    let sysvinit = made(Init::Sysvinit);
    assert!(!host.runs(text_of(&sysvinit, "/redis"), &["redis", "stop"]));
    let openrc = made(Init::OpenRc);
    let text = text_of(&openrc, "/redis");
    let pod = &text[text.find("\npod=").unwrap()..text.find("\ncommand=").unwrap()];
    assert!(!host.runs(&format!("{pod}\nexec /bin/sh -c \"$pod\" redis"), &[]));
    assert!(!host.runs(systemd::CLEAN, &[&uuid_file, &rkt]));
    assert_eq!(host.read("uuid"), "one");
    assert_eq!(host.read("ran"), "");

    // One that was removed meanwhile is no reason to stay away.
    host.program("rkt", "case $1 in run) echo ran >ran ;; *) exit 1 ;; esac");
    assert!(host.runs(systemd::CLEAN, &[&uuid_file, &rkt]));
    assert!(host.runs(text_of(&made(Init::Runit), "/run"), &[]));
    assert_eq!(host.read("ran"), "ran\n");
    // One that ends as it is asked is gone, whatever is said of its removal.
    host.program(
        "rkt",
        "case $1 in rm) exit 1 ;; run) echo again >ran ;; esac",
    );
    assert!(host.runs(systemd::CLEAN, &[&uuid_file, &rkt]));
    assert!(host.runs(text_of(&made(Init::S6), "/run"), &[]));
    assert_eq!(host.read("ran"), "again\n");
}

/// A stop between the words of a start would find no pod, and the pod come afterwards.
#[test]
fn sysvinit_starts_and_stops_one_at_a_time() {
    let unit = make(Init::Sysvinit, request(&[]), "/etc/init.d").unwrap();
    let verbs = &unit.files[0].text;
    let verbs = &verbs[verbs.find("case ${1:-} in").unwrap()..];
    let alone: Vec<&str> = verbs
        .split(";;\n")
        .filter(|verb| verb.contains("\n    alone\n"))
        .map(|verb| verb.split(')').next().unwrap_or_default().trim())
        .collect();
    assert_eq!(
        alone,
        [
            "case ${1:-} in\nstart | stop",
            "restart | force-reload",
            "try-restart"
        ]
    );
}

/// One that is not ours knows neither `--rm` nor how to say that it is ready.
#[test]
fn a_stage1_from_outside_is_asked_for_less() {
    let watched = NAMES.iter().filter(|(_, init)| *init != Init::Sysvinit);
    for (name, init) in watched {
        let mut request = request(&[]);
        request.stage1 = None;
        let unit = make(*init, request, place(*init)).unwrap();
        for file in &unit.files {
            for word in [
                "--rm",
                "--notify-fd",
                "Type=notify",
                "pipefd",
                "notification-fd",
            ] {
                let said = file.text.contains(word) || file.path.contains(word);
                assert!(!said, "{name}: {word} in {}", file.path);
            }
        }
    }
}

/// `run --detach` refuses it, and there would be no start that succeeds.
#[test]
fn sysvinit_has_no_service_for_what_does_not_detach() {
    for stage1 in [Some(Flavor::Fly), None] {
        let mut request = request(&[]);
        request.stage1 = stage1;
        let made = make(Init::Sysvinit, request, "/etc/init.d");
        let fault = made.err().unwrap().to_string();
        assert!(fault.contains("in the background"), "{fault}");
    }
}

#[test]
fn a_manifest_is_a_file_of_its_own() {
    for (name, init) in NAMES {
        let mut request = request(&[]);
        request.words = Vec::new();
        request.manifest = Some(b"{}\n".to_vec());
        let unit = make(*init, request, "/base").unwrap();
        let manifest = unit.files.iter().find(|file| file.text == "{}\n").unwrap();
        let flag = format!("--pod-manifest={}", manifest.path);
        assert!(
            unit.files.iter().any(|file| file.text.contains(&flag)),
            "{name}"
        );
    }
}

#[test]
fn systemd_has_one_line_per_setting() {
    let mut asked = request(HOSTILE);
    asked.title = "a\nExecStart=/bin/evil".to_string();
    let unit = make(Init::Systemd, asked, "/etc/systemd/system").unwrap();
    let text = unit.files[0].text.replace("\\\n", "");
    let starts: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("ExecStart="))
        .collect();
    assert_eq!(starts.len(), 1, "{text}");
    assert!(
        starts[0]
            .starts_with("ExecStart=/usr/bin/rkt \"--dir=/srv/my data\" run --uuid-file-save=")
    );
    for line in text.lines() {
        let known = line.is_empty() || line.starts_with(['#', '[']) || line.contains('=');
        assert!(known, "{line}");
    }
}
