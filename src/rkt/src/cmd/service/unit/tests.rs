//! What every init's files must hold, read by the programs that would read them where these are at hand.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::cmd::service::detect::NAMES;
use crate::cmd::service::quote::tests::HOSTILE;
use crate::cmd::service::request::User;
use std::io::Write;
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
        built_in: true,
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
            for built_in in [true, false] {
                let mut request = request(&one_line());
                (request.user, request.built_in) = (user.clone(), built_in);
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

/// One that is not ours knows neither `--rm` nor how to say that it is ready.
#[test]
fn a_stage1_from_outside_is_asked_for_less() {
    for (name, init) in NAMES {
        let mut request = request(&[]);
        request.built_in = false;
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
