//! Who is asked: the probe's report from a pod started in each way that rkt has, and from the containers of other
//! runtimes, over the same tree, without a network.
//!
//! A peer that is not installed, or that cannot run here, is a reason and not a failure; a way of rkt's own that fails
//! is a failure.

use crate::report::Report;
use serde_json::{Value, json};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tests::rkt::{Output, Running};
use tests::{Aci, Rkt, Scratch, isolated};

/// One column of the table.
pub(crate) struct Column {
    pub(crate) title: &'static str,
    /// As a reader would type it.
    pub(crate) command: &'static str,
    pub(crate) ours: bool,
    ask: fn(&Place) -> Result<Report, String>,
}

impl Column {
    pub(crate) fn report(&self, place: &Place) -> Result<Report, String> {
        (self.ask)(place).map(|report| report.whole(self.command))
    }
}

pub(crate) const COLUMNS: &[Column] = &[
    Column {
        title: "rkt",
        command: "rkt run IMAGE",
        ours: true,
        ask: run,
    },
    Column {
        title: "rkt, own users",
        command: "rkt run --private-users IMAGE",
        ours: true,
        ask: private_users,
    },
    Column {
        title: "rkt, not root",
        command: "rkt run IMAGE, by an ordinary user with a range in /etc/subuid and /etc/subgid",
        ours: true,
        ask: ordinary_user,
    },
    Column {
        title: "rkt enter",
        command: "rkt enter UUID, into the first one",
        ours: true,
        ask: enter,
    },
    Column {
        title: "crun",
        command: "crun spec && crun run, with `terminal` off and the program's name changed",
        ours: false,
        ask: crun,
    },
    Column {
        title: "podman",
        command: "podman run --rootfs",
        ours: false,
        ask: podman,
    },
];

/// What all of them run: the probe in the same tree, as an image and as a directory.
pub(crate) struct Place<'s> {
    pub(crate) scratch: &'s Scratch,
    pub(crate) image: PathBuf,
    tree: PathBuf,
    words: Vec<String>,
}

impl<'s> Place<'s> {
    pub(crate) fn new(scratch: &'s Scratch) -> Place<'s> {
        let image = Aci::probe("example.com/probe").write(scratch.path());
        let tree = scratch.mkdir("tree");
        for dir in ["etc", "work", "tmp"] {
            std::fs::create_dir_all(tree.join(dir)).expect("the scratch directory is ours");
        }
        for (leaf, content) in [
            ("etc/passwd", &b"root:x:0:0::/root:/probe\n"[..]),
            ("etc/group", b"root:x:0:\n"),
        ] {
            std::fs::write(tree.join(leaf), content).expect("the scratch directory is ours");
        }
        std::fs::copy(tests::rkt::probe(), tree.join("probe")).expect("the probe is built");
        let mut words = vec![
            "report".to_owned(),
            "word=/rkt-test-".to_owned(),
            "env=RKT_TEST_INSIDE".to_owned(),
        ];
        for entry in std::fs::read_dir("/proc/self/ns")
            .expect("every kernel has namespaces")
            .flatten()
        {
            let kind = entry.file_name().to_string_lossy().into_owned();
            if let Ok(link) = std::fs::read_link(entry.path()) {
                words.push(format!("ns.{kind}={}", link.display()));
            }
        }
        Place {
            scratch,
            image,
            tree,
            words,
        }
    }

    /// The probe's words, for a pod or a container.
    pub(crate) fn words(&self) -> &[String] {
        &self.words
    }

    /// `rkt run` with these flags, to its end.
    #[track_caller]
    pub(crate) fn run(&self, global: &[&str], flags: &[&str]) -> Report {
        let output = Rkt::secure(self.scratch)
            .args(if global.is_empty() {
                &["--insecure-options=image"][..]
            } else {
                global
            })
            .args(["run", "--net=none"])
            .arg(&self.image)
            .args(flags)
            .arg("--")
            .args(self.words())
            .run()
            .ok();
        Report::parse(output.stdout.lines()).whole(&output.command)
    }

    /// A pod in the background that has made its report, its UUID, and the report.
    #[track_caller]
    pub(crate) fn background(&self, flags: &[&str]) -> (Running, String, Report) {
        let save = self.scratch.at("uuid");
        let mut pod = Rkt::new(self.scratch)
            .args(["run", "--net=none"])
            .arg(format!("--uuid-file-save={}", save.display()))
            .arg(&self.image)
            .args(flags)
            .arg("--")
            .args(self.words())
            .args(["then", "echo", "report-over", "then", "forever"])
            .spawn();
        pod.until("report-over");
        let uuid = std::fs::read_to_string(&save).expect("written before the app ran");
        let report = Report::parse(pod.stdout().lines()).whole("the app");
        (pod, uuid, report)
    }

    #[track_caller]
    pub(crate) fn enter(&self, uuid: &str) -> Report {
        let output = Rkt::new(self.scratch)
            .args(["enter", uuid, "/probe"])
            .args(self.words())
            .run()
            .ok();
        Report::parse(output.stdout.lines()).whole(&output.command)
    }

    #[track_caller]
    pub(crate) fn stop(&self, uuid: &str, pod: Running) {
        Rkt::new(self.scratch)
            .args(["stop", "--force", uuid])
            .run()
            .ok();
        pod.end();
    }
}

fn run(place: &Place) -> Result<Report, String> {
    Ok(place.run(&[], &[]))
}

fn private_users(place: &Place) -> Result<Report, String> {
    Ok(place.run(&[], &["--private-users"]))
}

fn enter(place: &Place) -> Result<Report, String> {
    let (pod, uuid, _) = place.background(&[]);
    let report = place.enter(&uuid);
    place.stop(&uuid, pod);
    Ok(report)
}

/// An account that only this test's mount namespace knows.
const ORDINARY: u32 = 60_123;

fn ordinary_user(place: &Place) -> Result<Report, String> {
    for tool in ["newuidmap", "newgidmap"] {
        if isolated::find(tool).is_none() {
            return Err(format!("needs `{tool}` (Debian: uidmap)"));
        }
    }
    let scratch = place.scratch;
    let home = scratch.mkdir("home");
    let (image, program) = (home.join("probe.aci"), home.join("rkt"));
    std::fs::copy(&place.image, &image).expect("the scratch directory is ours");
    std::fs::copy(tests::rkt::binary(), &program).expect("the scratch directory is ours");
    let run = scratch.mkdir("home/run");
    for path in [&home, &image, &run] {
        std::os::unix::fs::chown(path, Some(ORDINARY), Some(ORDINARY)).expect("root may");
    }
    let account = format!(
        "root:x:0:0::/root:/bin/sh\nordinary:x:{ORDINARY}:{ORDINARY}::{}:/bin/sh\n",
        home.display()
    );
    let files = [
        ("passwd", account),
        ("group", format!("root:x:0:\nordinary:x:{ORDINARY}:\n")),
        ("subuid", "ordinary:500000:65536\n".to_owned()),
        ("subgid", "ordinary:500000:65536\n".to_owned()),
    ];
    let mut binds = String::from("set -e; ");
    for (name, content) in &files {
        let own = scratch.write(&format!("own-{name}"), content);
        binds += &format!("mount --bind {} /etc/{name}; ", own.display());
    }
    let script = format!(
        "{binds} exec setpriv --reuid={ORDINARY} --regid={ORDINARY} --clear-groups --inh-caps=-all -- \"$@\""
    );
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--", "sh", "-c", &script, "sh"])
        .arg(&program)
        .args(["--insecure-options=image", "run", "--net=none"])
        .arg(&image)
        .arg("--")
        .args(place.words())
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("RKT_TEST_INSIDE", "1")
        .env("HOME", &home)
        .env("XDG_DATA_HOME", home.join("data"))
        .env("XDG_RUNTIME_DIR", &run)
        .current_dir(&home);
    Ok(Report::parse(output(&mut command).ok().stdout.lines()))
}

/// The peers keep their state below `/run`, and Debian's crun does not run beside a second hierarchy of cgroups: a
/// mount namespace of their own hides it.
const SURROUNDINGS: &str = "mount -t tmpfs run /run
    mountpoint -q /sys/fs/cgroup/unified && umount /sys/fs/cgroup/unified
    exec \"$@\"";

fn peer(program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--", "sh", "-c", SURROUNDINGS, "sh"])
        .arg(program);
    command
}

fn installed(name: &str) -> Result<PathBuf, String> {
    isolated::find(name).ok_or_else(|| format!("needs `{name}` (Debian: {name})"))
}

fn crun(place: &Place) -> Result<Report, String> {
    let program = installed("crun")?;
    let bundle = place.scratch.mkdir("bundle");
    let spec = Command::new(&program)
        .arg("spec")
        .current_dir(&bundle)
        .output();
    spec.ok()
        .filter(|o| o.status.success())
        .ok_or("`crun spec` fails")?;
    let path = bundle.join("config.json");
    let text = std::fs::read(&path).map_err(|e| e.to_string())?;
    let mut config: Value = serde_json::from_slice(&text).map_err(|e| e.to_string())?;
    config["process"]["terminal"] = json!(false);
    let words = place.words().iter().map(String::as_str);
    config["process"]["args"] = json!(["/probe"].into_iter().chain(words).collect::<Vec<_>>());
    config["root"]["path"] = json!(place.tree);
    std::fs::write(&path, config.to_string()).map_err(|e| e.to_string())?;
    let mut command = peer(&program);
    command.args(["--root=/run/crun", "run", "--bundle"]);
    command
        .arg(&bundle)
        .arg(format!("rkt-test-{}", std::process::id()));
    answered(&mut command)
}

fn podman(place: &Place) -> Result<Report, String> {
    let program = installed("podman")?;
    // Its defaults ask for more than a machine may give.
    let conf = place.scratch.write(
        "containers.conf",
        "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n",
    );
    let mut command = peer(&program);
    command
        .env("CONTAINERS_CONF", conf)
        .arg("--root")
        .arg(place.scratch.mkdir("podman"))
        .args(["--runroot=/run/podman", "--tmpdir=/run/podman-tmp"])
        .args(["--storage-driver=overlay", "--cgroup-manager=cgroupfs"])
        .args(["run", "--rm", "--network=none", "--rootfs"])
        .arg(&place.tree)
        .arg("/probe")
        .args(place.words());
    let report = answered(&mut command);
    remove_cgroups("libpod_parent");
    report
}

/// What a peer leaves for its next container, which is none of ours. Its monitor is in there for a moment longer; where
/// somebody else's is, they stay.
fn remove_cgroups(name: &str) {
    let below = |dir: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|e| e.path()).filter(|p| p.is_dir()).collect()
    };
    let root = Path::new("/sys/fs/cgroup");
    let mut dirs = below(root);
    dirs.push(root.to_owned());
    let dirs: Vec<PathBuf> = dirs.into_iter().map(|d| d.join(name)).collect();
    for _ in 0..100 {
        for dir in &dirs {
            for child in below(dir) {
                let _ = std::fs::remove_dir(child);
            }
            let _ = std::fs::remove_dir(dir);
        }
        if !dirs.iter().any(|d| d.exists()) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn answered(command: &mut Command) -> Result<Report, String> {
    let output = output(command);
    match output.code {
        0 => Ok(Report::parse(output.stdout.lines())),
        _ => Err(format!(
            "cannot run here: {}",
            output.stderr.trim().lines().last().unwrap_or_default()
        )),
    }
}

fn output(command: &mut Command) -> Output {
    let shown = format!("{command:?}");
    command.stdin(Stdio::null()).process_group(0);
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("cannot start {shown}: {e}"));
    Output::of(shown, &output)
}

/// What the kernel has, asked outside any pod.
pub(crate) fn kernel() -> Report {
    let output = output(Command::new(tests::rkt::probe()).args(["report", "calls"])).ok();
    Report::parse(output.stdout.lines())
}

/// Whose columns a document is about: `crun 1.8.1, podman 4.3.1, cgroup v1, x86_64`.
pub(crate) fn surroundings() -> String {
    let version = |name: &str| {
        let out = isolated::find(name).and_then(|p| Command::new(p).arg("--version").output().ok());
        let text = out.map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
        let line = text.as_deref().and_then(|t| t.lines().next()).unwrap_or("");
        format!(
            "{name} {}",
            line.split(' ')
                .next_back()
                .filter(|v| !v.is_empty())
                .unwrap_or("not there")
        )
    };
    let cgroups = match Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        true => "cgroup v2",
        false => "cgroup v1",
    };
    format!(
        "{}, {}, {cgroups}, {}",
        version("crun"),
        version("podman"),
        std::env::consts::ARCH
    )
}
