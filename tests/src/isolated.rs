//! Root tests run themselves again inside namespaces of their own, so that a failed test can neither litter the
//! host nor be disturbed by it.
//!
//! `isolated("name", body)` re-executes the test binary with `NAME --exact` under `unshare` (mount, network and pid
//! namespace, fresh /proc, loopback up), once per [`Mode`]; the inner run calls `body`. When the inner run ends, its
//! pid namespace dies with it and takes along whatever the test left running.
//!
//! The pid namespace's init is a shell that stays: dash and bash reap every orphan, as an init must.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The directories below `pods` that hold pods, one for each state.
pub const POD_PLACES: [&str; 6] = [
    "embryo",
    "prepare",
    "prepared",
    "run",
    "exited-garbage",
    "garbage",
];

/// In what surroundings a test is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `/` is private, as on hosts without systemd.
    Private,
    /// `/` is shared, as systemd leaves it.
    Shared,
    /// `/` is private and rkt starts under `env -i`: no variable, no PATH.
    Bare,
}

impl Mode {
    pub const ALL: [Mode; 3] = [Mode::Private, Mode::Shared, Mode::Bare];

    fn name(self) -> &'static str {
        match self {
            Mode::Private => "private",
            Mode::Shared => "shared",
            Mode::Bare => "bare",
        }
    }
}

/// Whether this process is the inner run.
pub fn inside() -> bool {
    std::env::var_os("RKT_TEST_INSIDE").is_some()
}

/// The mode of the inner run.
pub fn mode() -> Mode {
    let name = std::env::var("RKT_TEST_INSIDE").unwrap_or_default();
    Mode::ALL
        .into_iter()
        .find(|m| m.name() == name)
        .unwrap_or(Mode::Private)
}

/// Why root tests cannot run here, or nothing.
pub fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root (run `make root-test` as root)".to_owned());
    }
    for tool in ["unshare", "mount"] {
        if find(tool).is_none() {
            return Some(format!("needs `{tool}` (Debian: util-linux, mount)"));
        }
    }
    None
}

/// Runs `body` in every mode. Call it as the test's only statement, with the test's own path in the binary.
#[track_caller]
pub fn isolated(test: &str, body: fn()) {
    isolated_in(&Mode::ALL, test, body);
}

/// Runs `body` in the given modes.
#[track_caller]
pub fn isolated_in(modes: &[Mode], test: &str, body: fn()) {
    if inside() {
        return body();
    }
    if let Some(reason) = missing() {
        crate::skip::record(&reason);
        return;
    }
    let only = std::env::var("RKT_TEST_MODE").ok();
    for mode in modes
        .iter()
        .filter(|m| only.as_deref().is_none_or(|o| o == m.name()))
    {
        enter(*mode, test);
    }
}

#[track_caller]
fn enter(mode: Mode, test: &str) {
    let ip = find("ip").map(|p| p.display().to_string());
    let busybox = find("busybox").map(|p| format!("{} ip", p.display()));
    let up = ip
        .or(busybox)
        .map_or_else(String::new, |ip| format!("{ip} link set lo up;"));
    let share = if mode == Mode::Shared {
        "mount --make-rshared / &&"
    } else {
        ""
    };
    // The closing `exit` keeps the shell from exec'ing the test: it has to stay as the namespace's reaper.
    let script = format!("mount -t proc proc /proc && {share} {{ {up} \"$0\" \"$@\"; exit $?; }}");
    let mut command = Command::new("unshare");
    command
        .args([
            "--mount",
            "--net",
            "--pid",
            "--fork",
            "--kill-child",
            "--propagation",
            "private",
        ])
        .args(["sh", "-c", &script])
        .arg(std::env::current_exe().expect("/proc/self/exe is readable"))
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env("RKT_TEST_INSIDE", mode.name())
        .env("RKT_TEST_NAME", format!("{test} ({})", mode.name()))
        .stdin(Stdio::null());
    if mode == Mode::Bare {
        command.env("RKT_TEST_BARE", "1");
    }
    let output = command.output().expect("`unshare` was found above");
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.status.success(),
        "mode {}: {}\n{text}",
        mode.name(),
        output.status
    );
    assert!(
        text.contains("1 passed"),
        "no test is called {test:?}: give `isolated` its full path\n{text}"
    );
    eprint!("{text}");
}

/// Runs a test of this binary once more in network and mount namespaces of its own, with a `/run` that nobody else sees.
/// The inner run finds itself [`inside`].
#[track_caller]
pub fn with_own_run(test: &str) {
    let output = Command::new("unshare")
        .args(["--net", "--mount", "--", "sh", "-ec"])
        .arg("mount -t tmpfs tmpfs /run; ip link set lo up; exec \"$@\"")
        .arg("sh")
        .arg(std::env::current_exe().expect("/proc/self/exe is readable"))
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env("RKT_TEST_INSIDE", "1")
        .env("RKT_TEST_NAME", test)
        .stdin(Stdio::null())
        .output()
        .expect("`unshare` was found by the caller");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success(), "{test}:\n{text}");
    // Nothing is proved by a run of no test.
    assert!(text.contains("1 passed"), "{text}");
    eprint!("{text}");
}

/// A program of the host by its name.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|p| p.is_file())
}

/// A test's path inside its binary, from `module_path!()` and its own name.
pub fn path(module: &str, test: &str) -> String {
    match module.split_once("::") {
        Some((_, inner)) => format!("{inner}::{test}"),
        None => test.to_owned(),
    }
}

/// A root test: repeated in every mode, with a scratch directory, and at its end everything collected and the host
/// compared with what it was.
#[macro_export]
macro_rules! root_test {
    ($(#[$meta:meta])* fn $name:ident($scratch:ident) $body:block) => {
        $crate::root_test_in! { &$crate::isolated::Mode::ALL, $(#[$meta])* fn $name($scratch) $body }
    };
}

/// As `root_test!`, once: for what takes long and does not depend on the surroundings.
#[macro_export]
macro_rules! root_test_once {
    ($(#[$meta:meta])* fn $name:ident($scratch:ident) $body:block) => {
        $crate::root_test_in! { &[$crate::isolated::Mode::Private], $(#[$meta])* fn $name($scratch) $body }
    };
}

/// What both are made of: the modes, and the test.
#[macro_export]
macro_rules! root_test_in {
    ($modes:expr, $(#[$meta:meta])* fn $name:ident($scratch:ident) $body:block) => {
        $(#[$meta])*
        #[test]
        fn $name() {
            fn body($scratch: &$crate::Scratch) $body
            fn inner() {
                let scratch = $crate::Scratch::new(stringify!($name));
                let before = $crate::host::Traces::now(scratch.path());
                body(&scratch);
                $crate::isolated::sweep(&scratch);
                $crate::host::assert_nothing_left(&before, scratch.path());
            }
            let test = $crate::isolated::path(module_path!(), stringify!($name));
            $crate::isolated::isolated_in($modes, &test, inner);
        }
    };
}

/// Collects every pod and checks that the data directory holds none afterwards.
#[track_caller]
pub fn sweep(scratch: &crate::Scratch) {
    let pods = scratch.data().join("pods");
    if !pods.exists() {
        return;
    }
    crate::host::note_pods(&scratch.data());
    crate::Rkt::new(scratch)
        .args(["gc", "--grace-period=0s", "--expire-prepared=0s"])
        .run()
        .ok();
    for state in POD_PLACES {
        let left: Vec<_> = std::fs::read_dir(pods.join(state))
            .map(|d| d.flatten().collect())
            .unwrap_or_default();
        assert!(left.is_empty(), "gc left in {state}: {left:?}");
    }
}
