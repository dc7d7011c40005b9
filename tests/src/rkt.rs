//! The program under test: finds it, runs it with a deadline, and keeps what it said.
//!
//! `Rkt` gives every call its own data and configuration directories, so nothing of the host's rkt is read or
//! written. A call that outlives its deadline is killed and the test fails: a hang is a bug, never a slow machine.

use crate::scratch::Scratch;
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What Linux 4.4 does not have: the calls for which rkt keeps a classic way.
const MODERN: &str = "?openat2,?clone3,?pidfd_open,?pidfd_send_signal,?pidfd_getfd,?close_range,?open_tree,?move_mount,\
    ?fsopen,?fsconfig,?fsmount,?fspick,?mount_setattr,?faccessat2,?epoll_pwait2,?statx,?copy_file_range";

const DEADLINE: Duration = Duration::from_secs(60);

/// What a finished call left: its streams and its exit code (128 + n after signal n).
#[derive(Clone, Debug)]
pub struct Output {
    pub command: String,
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// What a command left that was not made by `Rkt`.
    pub fn of(command: String, output: &std::process::Output) -> Output {
        use std::os::unix::process::ExitStatusExt;
        let status = output.status;
        Output {
            command,
            code: status
                .code()
                .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Asserts the exit code; on failure everything the call said is shown.
    #[track_caller]
    pub fn code(self, expected: i32) -> Output {
        assert!(self.code == expected, "expected exit {expected}\n{self}");
        self
    }

    #[track_caller]
    pub fn ok(self) -> Output {
        self.code(0)
    }

    #[track_caller]
    pub fn stdout_has(self, part: &str) -> Output {
        assert!(self.stdout.contains(part), "stdout lacks {part:?}\n{self}");
        self
    }

    #[track_caller]
    pub fn stderr_has(self, part: &str) -> Output {
        assert!(self.stderr.contains(part), "stderr lacks {part:?}\n{self}");
        self
    }

    /// The app's own lines on stdout, without rkt's `[time] app[pid]: ` frame where there is one.
    pub fn app_lines(&self) -> Vec<String> {
        self.stdout
            .lines()
            .map(|l| unframed(l).to_owned())
            .collect()
    }

    /// `key=value` facts printed by the probe.
    #[track_caller]
    pub fn fact(&self, key: &str) -> String {
        self.facts(key)
            .into_iter()
            .next()
            .unwrap_or_else(|| panic!("no fact {key:?}\n{self}"))
    }

    pub fn facts(&self, key: &str) -> Vec<String> {
        let start = format!("{key}=");
        self.app_lines()
            .iter()
            .filter_map(|l| l.strip_prefix(&start).map(str::to_owned))
            .collect()
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("stdout is not JSON: {e}\n{self}"))
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "$ {}\n--- stdout\n{}--- stderr\n{}--- exit {}",
            self.command, self.stdout, self.stderr, self.code
        )
    }
}

/// Strips `[ 3057.817151] name[9]: `.
pub fn unframed(line: &str) -> &str {
    let Some(rest) = line.strip_prefix('[') else {
        return line;
    };
    let Some((time, rest)) = rest.split_once("] ") else {
        return line;
    };
    if !time.trim().bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return line;
    }
    let Some((who, text)) = rest.split_once("]: ") else {
        return line;
    };
    if who.contains('[') && !who.contains(' ') {
        text
    } else {
        line
    }
}

/// One call of rkt under construction.
#[derive(Debug)]
pub struct Rkt {
    args: Vec<OsString>,
    stdin: Vec<u8>,
    env: Vec<(OsString, OsString)>,
    bare: bool,
    old_kernel: bool,
    memory: Option<u64>,
    cwd: Option<PathBuf>,
    /// Words of a program that executes another `rkt`.
    through: Option<(Vec<OsString>, PathBuf)>,
    deadline: Duration,
}

impl Rkt {
    /// `rkt --dir=… --local-config=… --system-config=… --insecure-options=image`
    pub fn new(scratch: &Scratch) -> Rkt {
        Rkt::secure(scratch).arg("--insecure-options=image")
    }

    /// As `new`, with signature checks left on.
    pub fn secure(scratch: &Scratch) -> Rkt {
        let mut rkt = Rkt::plain();
        for (flag, path) in [
            ("--dir", scratch.data()),
            ("--local-config", scratch.at("etc")),
            ("--system-config", scratch.at("usr")),
        ] {
            let mut word = OsString::from(flag);
            word.push("=");
            word.push(path);
            rkt.args.push(word);
        }
        rkt
    }

    /// No argument at all.
    pub fn plain() -> Rkt {
        Rkt {
            args: Vec::new(),
            stdin: Vec::new(),
            env: Vec::new(),
            bare: std::env::var_os("RKT_TEST_BARE").is_some(),
            old_kernel: false,
            memory: None,
            cwd: None,
            through: None,
            deadline: DEADLINE,
        }
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Rkt {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Rkt {
        self.args
            .extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    pub fn stdin(mut self, bytes: impl AsRef<[u8]>) -> Rkt {
        self.stdin = bytes.as_ref().to_vec();
        self
    }

    pub fn env(mut self, key: &str, value: &str) -> Rkt {
        self.env.push((key.into(), value.into()));
        self
    }

    /// As under `env -i`: no variable, no PATH.
    pub fn bare(mut self) -> Rkt {
        self.bare = true;
        self
    }

    /// As on a kernel of 2016: strace answers ENOSYS to every modern call, in rkt and in all that it starts.
    pub fn old_kernel(mut self) -> Rkt {
        self.old_kernel = true;
        self
    }

    /// With no more address space than so many bytes (RLIMIT_AS): who asks for more dies.
    pub fn memory(mut self, bytes: u64) -> Rkt {
        self.memory = Some(bytes);
        self
    }

    /// `WORDS binary …` instead of the binary under test: as another user, say, with a copy that this one can execute.
    pub fn through<S: AsRef<OsStr>>(mut self, words: &[S], binary: &Path) -> Rkt {
        let words = words.iter().map(|word| word.as_ref().to_owned()).collect();
        self.through = Some((words, binary.to_owned()));
        self
    }

    pub fn cwd(mut self, dir: &Path) -> Rkt {
        self.cwd = Some(dir.to_owned());
        self
    }

    pub fn deadline(mut self, deadline: Duration) -> Rkt {
        self.deadline = deadline;
        self
    }

    /// The call as a `Command`, for a test that needs more than `run` and `spawn`.
    pub fn command(&self) -> Command {
        let mut command = if self.old_kernel {
            let mut strace =
                Command::new(crate::isolated::find("strace").unwrap_or_else(|| "strace".into()));
            let inject = format!("inject={MODERN}:error=ENOSYS");
            strace.args([
                "-f",
                "-qqq",
                "-o",
                "/dev/null",
                "-e",
                &format!("trace={MODERN}"),
                "-e",
                &inject,
            ]);
            strace.arg(binary());
            strace
        } else if let Some(bytes) = self.memory {
            let mut prlimit =
                Command::new(crate::isolated::find("prlimit").unwrap_or_else(|| "prlimit".into()));
            prlimit.arg(format!("--as={bytes}")).arg(binary());
            prlimit
        } else if let Some((words, binary)) = &self.through {
            let mut through = Command::new(words.first().expect("a program"));
            through.args(&words[1..]).arg(binary);
            through
        } else {
            Command::new(binary())
        };
        command.args(&self.args);
        if self.bare {
            command.env_clear();
        }
        command.envs(self.env.iter().map(|(k, v)| (k, v)));
        if let Some(cwd) = &self.cwd {
            command.current_dir(cwd);
        }
        command
    }

    /// Runs to the end.
    #[track_caller]
    pub fn run(self) -> Output {
        let deadline = self.deadline;
        self.spawn().wait(deadline)
    }

    /// Starts in the background; dropping the result kills it.
    #[track_caller]
    pub fn spawn(self) -> Running {
        let mut command = self.command();
        let shown = format!("{command:?}");
        command.stdin(if self.stdin.is_empty() {
            Stdio::null()
        } else {
            Stdio::piped()
        });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {shown}: {e}"));
        if let Some(mut pipe) = child.stdin.take() {
            let bytes = self.stdin.clone();
            std::thread::spawn(move || pipe.write_all(&bytes));
        }
        let data = self
            .args
            .iter()
            .find_map(|a| a.to_str()?.strip_prefix("--dir=").map(PathBuf::from));
        let stdout = Tail::follow(child.stdout.take().expect("stdout was piped above"));
        let stderr = Tail::follow(child.stderr.take().expect("stderr was piped above"));
        Running {
            data,
            child,
            command: shown,
            stdout,
            stderr,
        }
    }
}

/// Collects a pipe in the background, so that a chatty child never blocks. A detached pod may hold the pipe open
/// after its starter ended; waiting is for the process, never for the end of the pipe.
#[derive(Debug)]
struct Tail(std::sync::Arc<std::sync::Mutex<(Vec<u8>, bool)>>);

impl Tail {
    fn follow(mut pipe: impl Read + Send + 'static) -> Tail {
        let shared = std::sync::Arc::new(std::sync::Mutex::new((Vec::new(), false)));
        let ours = shared.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 65536];
            loop {
                let n = pipe.read(&mut buffer).unwrap_or(0);
                let mut held = ours
                    .lock()
                    .expect("no thread panics while it holds this lock");
                if n == 0 {
                    held.1 = true;
                    return;
                }
                held.0.extend_from_slice(&buffer[..n]);
            }
        });
        Tail(shared)
    }

    fn text(&self) -> String {
        let held = self
            .0
            .lock()
            .expect("no thread panics while it holds this lock");
        String::from_utf8_lossy(&held.0).into_owned()
    }

    fn closed(&self) -> bool {
        self.0
            .lock()
            .expect("no thread panics while it holds this lock")
            .1
    }
}

/// A call that is still going on.
#[derive(Debug)]
pub struct Running {
    data: Option<PathBuf>,
    child: Child,
    command: String,
    stdout: Tail,
    stderr: Tail,
}

impl Running {
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("pids fit an i32")
    }

    /// What stdout holds so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    pub fn alive(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    /// Waits until stdout holds `part`.
    #[track_caller]
    pub fn until(&mut self, part: &str) -> &mut Running {
        let end = Instant::now() + DEADLINE;
        while !self.stdout().contains(part) {
            let over = !self.alive();
            if (over && !self.stdout().contains(part)) || Instant::now() > end {
                panic!(
                    "{part:?} never came\n$ {}\n--- stdout\n{}--- stderr\n{}",
                    self.command,
                    self.stdout(),
                    self.stderr()
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.pid()) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    #[track_caller]
    pub fn end(self) -> Output {
        self.wait(DEADLINE)
    }

    #[track_caller]
    pub fn wait(mut self, deadline: Duration) -> Output {
        use std::os::unix::process::ExitStatusExt;
        let end = Instant::now() + deadline;
        let mut pause = Duration::from_micros(200);
        let status = loop {
            match self
                .child
                .try_wait()
                .expect("the child is ours to wait for")
            {
                Some(status) => break status,
                None if Instant::now() > end => {
                    let _ = self.child.kill();
                    panic!(
                        "still running after {deadline:?}, killed\n$ {}\n--- stdout\n{}--- stderr\n{}",
                        self.command,
                        self.stdout(),
                        self.stderr()
                    );
                }
                None => std::thread::sleep(pause),
            }
            pause = (pause * 2).min(Duration::from_millis(20));
        };
        // The last bytes are in the pipes when the process is gone; a detached child that kept them open does not
        // hold the test up for longer than this.
        let drained = Instant::now() + Duration::from_millis(300);
        while !(self.stdout.closed() && self.stderr.closed()) && Instant::now() < drained {
            std::thread::sleep(Duration::from_millis(1));
        }
        if let Some(data) = &self.data {
            crate::host::note_pods(data);
        }
        let code = status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        Output {
            command: self.command.clone(),
            code,
            stdout: self.stdout(),
            stderr: self.stderr(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.alive() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// The built `rkt`: `RKT_BIN`, else the newest release build below the target directory.
pub fn binary() -> PathBuf {
    built("RKT_BIN", "rkt")
}

/// The static probe: `RKT_PROBE`, else beside the built `rkt`.
pub fn probe() -> PathBuf {
    built("RKT_PROBE", "probe")
}

/// A stage1 image's program: `RKT_STAGE1_STUB`, else beside the built `rkt`.
pub fn stage1_stub() -> PathBuf {
    built("RKT_STAGE1_STUB", "stage1_stub")
}

fn built(variable: &str, name: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return std::path::absolute(PathBuf::from(path))
            .expect("the working directory is readable");
    }
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace().join("target"), PathBuf::from);
    let arch = std::env::consts::ARCH;
    ["musl", "gnu"]
        .iter()
        .map(|libc| target.join(format!("{arch}-unknown-linux-{libc}/release/{name}")))
        .find(|p| p.exists())
        .unwrap_or_else(|| {
            panic!(
                "no built {name} in {}: run `make all`, or set {variable}",
                target.display()
            )
        })
}

/// The folder with the root Cargo.toml.
pub fn workspace() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .expect("the tests package lies inside the workspace")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::unframed;

    #[test]
    fn frames_are_stripped_and_nothing_else() {
        assert_eq!(
            unframed("[ 3057.817151] busybox[9]: hello [x]: y"),
            "hello [x]: y"
        );
        assert_eq!(unframed("[note] a[1]: b"), "[note] a[1]: b");
        assert_eq!(unframed("plain"), "plain");
    }
}
