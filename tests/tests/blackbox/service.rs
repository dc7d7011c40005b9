//! `rkt service generate` from outside: files that their readers accept, refusals, a prepared pod as a service, and
//! runit's scripts executed for real.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tests::proc::eventually;
use tests::{Aci, Output, Rkt, Scratch, root_test_once, skip};

const INITS: [&str; 6] = ["openrc", "runit", "s6", "dinit", "sysvinit", "systemd"];
/// What a service must hand to the app as it is.
const WORDS: [&str; 6] = [
    "two words",
    "it's \"so\"",
    "100%",
    "$HOME `id`",
    ";",
    "--flag",
];

fn generate(s: &Scratch, words: &[&str]) -> Output {
    Rkt::new(s).args(["service", "generate"]).args(words).run()
}

/// The files that `--output=DIR` made, by its own word.
fn written(s: &Scratch, init: &str, words: &[&str]) -> Vec<PathBuf> {
    let dir = s.at(init);
    let flags = [
        format!("--init={init}"),
        format!("--output={}", dir.display()),
    ];
    let mut all: Vec<&str> = flags.iter().map(String::as_str).collect();
    all.extend(words);
    let out = generate(s, &all).ok().stderr_has("to enable the service:");
    out.stdout.lines().map(PathBuf::from).collect()
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a file of the service")
}

#[test]
fn a_shell_accepts_every_script() {
    let s = Scratch::new("service-syntax");
    for init in INITS {
        let mut words = vec!["--net=host", "docker://redis:7", "--memory=64M", "--"];
        words.extend(WORDS);
        let files = written(&s, init, &words);
        assert!(!files.is_empty(), "{init}");
        for file in files {
            let script = text(&file).starts_with("#!");
            let mode = file.metadata().expect("just written").permissions().mode() & 0o777;
            assert_eq!(
                mode,
                if script { 0o755 } else { 0o644 },
                "{}",
                file.display()
            );
            if script {
                let shell = Command::new("/bin/sh").arg("-n").arg(&file).output();
                let shell = shell.expect("there is a shell");
                let said = String::from_utf8_lossy(&shell.stderr);
                assert!(shell.status.success(), "{}: {said}", file.display());
            }
        }
    }
}

#[test]
fn systemd_accepts_its_unit() {
    let Some(verify) = tests::isolated::find("systemd-analyze") else {
        skip!("needs systemd-analyze (Debian: systemd)");
    };
    let s = Scratch::new("service-systemd");
    let mut words = vec!["docker://redis:7", "--"];
    words.extend(WORDS);
    let files = written(&s, "systemd", &words);
    let out = Command::new(verify)
        .arg("verify")
        .args(&files)
        .output()
        .expect("it was found");
    let said = String::from_utf8_lossy(&out.stderr);
    // Its remarks on other units of this machine are no concern of ours, nor are keys that it is too old for.
    let unit = files[0]
        .file_name()
        .and_then(|name| name.to_str())
        .expect("a name");
    let ours = said.lines().filter(|line| {
        line.contains(unit) && !(line.contains("Unknown key") && line.contains("'Restart"))
    });
    assert_eq!(ours.collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn files_that_are_there_stay() {
    let s = Scratch::new("service-overwrite");
    let run = s.at("runit/web/run");
    written(&s, "runit", &["--name=web", "docker://redis"]);
    let before = text(&run);
    let output = format!("--output={}", s.at("runit").display());
    let again = ["--init=runit", &output, "--name=web", "docker://nginx"];
    generate(&s, &again)
        .code(254)
        .stderr_has("exists")
        .stderr_has("--overwrite");
    assert_eq!(text(&run), before);
    written(
        &s,
        "runit",
        &["--overwrite", "--name=web", "docker://nginx"],
    );
    assert!(text(&run).contains("docker://nginx"));
    let left = std::fs::read_dir(s.at("runit/web"))
        .expect("the service's directory")
        .count();
    assert_eq!(left, 4, "run, check, finish and log");
}

#[test]
fn mistakes_are_told_now() {
    let s = Scratch::new("service-mistakes");
    let long = "a".repeat(65);
    let cases: &[(&[&str], &str)] = &[
        (
            &["--init=upstart", "docker://redis"],
            "there is no init system \"upstart\"",
        ),
        (
            &["--init=runit"],
            "must provide a pod's UUID, at least one image or the pod manifest",
        ),
        (
            &["--init=runit", "--name=a b", "docker://redis"],
            "\"a b\" cannot name a service",
        ),
        (
            &["--init=runit", "--name=../x", "docker://redis"],
            "cannot name a service",
        ),
        (
            &["--init=runit", &format!("--name={long}"), "docker://redis"],
            "cannot name a service",
        ),
        (
            &["--init=runit", "--output=/a b", "docker://redis"],
            "cannot stand in \"/a b\"",
        ),
        (
            &[
                "--init=runit",
                "docker://redis",
                "--mount=volume=v,target=/v",
            ],
            "volume \"v\" not found",
        ),
        (
            &["--init=runit", "docker://redis", "--bogus"],
            "unknown flag: --bogus",
        ),
        (
            &["--init=runit", "--interactive", "docker://redis"],
            "a service has no terminal",
        ),
        (
            &["--init=openrc", "docker://redis", "--", "a\nb"],
            "argument of several lines",
        ),
        (
            &["--init=runit", "00000000-0000-4000-8000-000000000000"],
            "problem retrieving pod",
        ),
    ];
    for (words, why) in cases {
        let out = generate(&s, words).code(254).stderr_has(why);
        assert!(!out.stdout.contains("#!"), "{out}");
    }
    generate(&s, &["--init=runit", "--rm", "docker://redis"])
        .ok()
        .stderr_has("--rm is left out");
}

#[test]
fn several_files_are_printed_under_their_paths() {
    let s = Scratch::new("service-print");
    let out = generate(&s, &["--init=s6", "docker://redis"]).ok();
    for file in ["type", "timeout-kill", "notification-fd", "finish", "run"] {
        out.clone()
            .stdout_has(&format!("# file: /etc/s6/sv/redis/{file}\n"));
    }
    let out = generate(&s, &["--init=systemd", "docker://redis"]).ok();
    assert!(
        out.stdout.contains("[Service]") && !out.stdout.contains("# file:"),
        "{out}"
    );
    out.stderr_has("systemctl enable --now redis.service");
}

/// Children of runsv's kind: they are signalled and waited for.
struct Supervised(Child);

impl Supervised {
    fn run(dir: &Path) -> Supervised {
        let child = Command::new(dir.join("run"))
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        Supervised(child.expect("the script is executable"))
    }

    fn signal(mut self, signal: rustix::process::Signal) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, signal).expect("it runs");
        self.0.wait().expect("it is our child").code()
    }
}

fn check(dir: &Path) -> bool {
    let status = Command::new(dir.join("check")).current_dir(dir).status();
    status.expect("the script is executable").success()
}

/// Pods of the data directory by state.
fn pods(s: &Scratch, state: &str) -> usize {
    let out = Rkt::new(s)
        .args(["list", "--format=json"])
        .run()
        .ok()
        .json();
    let pods = out.as_array().cloned().unwrap_or_default();
    pods.iter().filter(|pod| pod["state"] == state).count()
}

root_test_once! {
    fn runits_scripts_run_the_pod(s) {
        let image = Aci::probe("example.com/probe").write(s.path()).display().to_string();
        let uuid = format!("--uuid-file-save={}", s.at("state/probe.uuid").display());
        let words = ["--name=probe", "--net=none", &uuid, &image, "--", "forever"];
        let dir = s.at("runit/probe");
        written(s, "runit", &words);
        assert!(!check(&dir), "nothing runs yet");
        let first = Supervised::run(&dir);
        eventually("the pod is ready", || check(&dir).then_some(()));
        let began = text(&s.at("state/probe.uuid"));
        // As the kernel's OOM killer would. The next start finds the rest.
        first.signal(rustix::process::Signal::KILL);
        let second = Supervised::run(&dir);
        // Until then the first one may go on, as if nothing had happened.
        eventually("the next pod is there", || {
            let now = std::fs::read_to_string(s.at("state/probe.uuid")).unwrap_or_default();
            (now != began && check(&dir)).then_some(())
        });
        assert_eq!((pods(s, "running"), pods(s, "exited")), (1, 0));
        let code = second.signal(rustix::process::Signal::TERM);
        assert_eq!(code, Some(0), "a stop that was asked for is no failure");
        let finish = Command::new(dir.join("finish")).current_dir(&dir).status().expect("the script is executable");
        assert!(finish.success());
        assert_eq!((pods(s, "running"), pods(s, "exited")), (0, 0));
        assert_eq!(text(&s.at("state/probe.uuid.pause")), "1\n");
    }
}

root_test_once! {
    fn a_prepared_pod_becomes_a_service(s) {
        let image = Aci::probe("example.com/probe").write(s.path()).display().to_string();
        let uuid = Rkt::new(s).args(["prepare", &image, "--", "forever"]).run().ok().stdout;
        let uuid = uuid.trim();
        let state = format!("--uuid-file-save={}", s.at("state/probe.uuid").display());
        Rkt::new(s).args(["service", "generate", "--init=runit", uuid, "--memory=1G"]).run().code(254);
        let files = written(s, "runit", &["--net=none", &state, uuid]);
        let dir = s.at("runit/probe");
        assert!(files.contains(&dir.join("pod-manifest")));
        // Its own run is not needed, nor is it touched.
        for _ in 0..2 {
            let service = Supervised::run(&dir);
            eventually("the pod is ready", || check(&dir).then_some(()));
            service.signal(rustix::process::Signal::TERM);
        }
        assert_eq!(pods(s, "prepared"), 1);
        Rkt::new(s).args(["rm", uuid]).run().ok();
    }
}
