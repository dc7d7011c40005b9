//! An account of the test's own: in the test's mount namespace, `/etc/passwd`, `group`, `subuid` and `subgid` are the
//! test's, and gone again when the account is. Its home and runtime directory lie in the scratch directory, with a copy of
//! rkt that it can execute.

use std::path::{Path, PathBuf};
use tests::rkt::Running;
use tests::{Output, Rkt, Scratch, isolated};

/// The ids that the pods of an account with ranges have on the host: 0 is the account, N is this plus N - 1.
pub const SUB: u32 = 700_000;
/// The same for the second account.
pub const OTHER_SUB: u32 = 900_000;

/// What `/etc/subuid` and `/etc/subgid` say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranges {
    None,
    /// Root's alone, which may then hand out its own ids.
    Roots,
    Some,
}

/// The accounts `joe` and `ann`.
pub struct Accounts {
    bound: Vec<&'static str>,
}

#[derive(Clone, Debug)]
pub struct Account {
    pub name: &'static str,
    pub uid: u32,
    pub home: PathBuf,
    pub runtime: PathBuf,
    pub binary: PathBuf,
    pub scratch: PathBuf,
}

impl Accounts {
    pub fn new(s: &Scratch, ranges: Ranges) -> (Accounts, Account, Account) {
        reachable(s.path());
        let subs = match ranges {
            Ranges::None => "# nobody\n".to_owned(),
            // For newuidmap root is one like any other.
            Ranges::Roots => "root:0:100000\n".to_owned(),
            // By name and by number, with a crooked line between.
            Ranges::Some => format!(
                "joe:{SUB}:60000\nann:x:y\n5151:{}:5537\nann:{OTHER_SUB}:65536\n",
                SUB + 60000
            ),
        };
        let joe = Account::new(s, "joe", 5151);
        let ann = Account::new(s, "ann", 5252);
        let line = |a: &Account| {
            format!(
                "{}:x:{1}:{1}::{2}:/bin/sh\n",
                a.name,
                a.uid,
                a.home.display()
            )
        };
        let files = [
            (
                "/etc/passwd",
                format!("root:x:0:0::/root:/bin/sh\n{}{}", line(&joe), line(&ann)),
            ),
            (
                "/etc/group",
                "root:x:0:\njoe:x:5151:\nann:x:5252:\n".to_owned(),
            ),
            ("/etc/subuid", subs.clone()),
            ("/etc/subgid", subs),
        ];
        let mut accounts = Accounts { bound: Vec::new() };
        for (path, content) in files {
            accounts.replace(s, path, &content);
        }
        (accounts, joe, ann)
    }

    /// Puts another file over one of the host's, for this mount namespace.
    pub fn replace(&mut self, s: &Scratch, path: &'static str, content: &str) {
        let own = s.write(
            &format!("own-{}-{}", self.bound.len(), path.replace('/', "-")),
            content,
        );
        set_mode(&own, 0o644);
        if !Path::new(path).exists() {
            std::fs::write(path, "").expect("root may");
        }
        rustix::mount::mount_bind(&own, path).expect("root in a mount namespace of its own");
        self.bound.push(path);
    }
}

impl Accounts {
    /// What was replaced last can be executed.
    pub fn executable(&self, s: &Scratch) {
        let path = self.bound.last().expect("something was replaced");
        let own = s.at(&format!(
            "own-{}-{}",
            self.bound.len() - 1,
            path.replace('/', "-")
        ));
        set_mode(&own, 0o755);
    }
}

impl Drop for Accounts {
    fn drop(&mut self) {
        for path in self.bound.drain(..).rev() {
            let _ = rustix::mount::unmount(path, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

impl Account {
    fn new(s: &Scratch, name: &'static str, uid: u32) -> Account {
        let binary = s.at("rkt");
        if !binary.exists() {
            std::fs::copy(tests::rkt::binary(), &binary)
                .expect("the binary under test is readable");
            set_mode(&binary, 0o755);
        }
        let (home, runtime) = (
            s.mkdir(&format!("home-{name}")),
            s.mkdir(&format!("runtime-{name}")),
        );
        for dir in [&home, &runtime] {
            std::os::unix::fs::chown(dir, Some(uid), Some(uid)).expect("root may");
            set_mode(dir, 0o700);
        }
        Account {
            name,
            uid,
            home,
            runtime,
            binary,
            scratch: s.path().to_owned(),
        }
    }

    /// `rkt --insecure-options=image --local-config=… --system-config=…`, with HOME and XDG_RUNTIME_DIR, without `--dir`.
    pub fn rkt(&self) -> Rkt {
        self.bare()
            .env("HOME", &self.home.display().to_string())
            .env("XDG_RUNTIME_DIR", &self.runtime.display().to_string())
    }

    /// The same without any variable.
    pub fn bare(&self) -> Rkt {
        let config = |name: &str| self.scratch.join(name).display().to_string();
        Rkt::plain()
            .through(&self.words(), &self.binary)
            .bare()
            .arg("--insecure-options=image")
            .arg(format!("--local-config={}", config("etc")))
            .arg(format!("--system-config={}", config("usr")))
    }

    /// What gives a program this account's ids.
    pub fn words(&self) -> Vec<String> {
        let setpriv = isolated::find("setpriv").expect("looked for before");
        [
            setpriv.display().to_string(),
            format!("--reuid={}", self.uid),
            format!("--regid={}", self.uid),
            "--clear-groups".to_owned(),
            "--inh-caps=-all".to_owned(),
        ]
        .to_vec()
    }

    /// Where its pods and images are by default.
    pub fn data(&self) -> PathBuf {
        self.home.join(".local/share/rkt")
    }

    #[track_caller]
    pub fn call(&self, args: &[&str]) -> Output {
        self.rkt().args(args).run()
    }

    /// A pod in the background, and its UUID once its app has said `ready`.
    #[track_caller]
    pub fn start(&self, image: &Path, flags: &[&str], then: &[&str]) -> (Running, String) {
        let save = self.home.join(format!("uuid-{}", then.len() + flags.len()));
        let mut pod = self
            .rkt()
            .args(["run", "--net=none"])
            .arg(format!("--uuid-file-save={}", save.display()))
            .arg(image)
            .args(flags)
            .args(["--", "echo", "ready", "then"])
            .args(then)
            .spawn();
        pod.until("ready");
        let uuid = std::fs::read_to_string(&save)
            .expect("--uuid-file-save wrote the file before the app ran");
        (pod, uuid)
    }

    /// Collects all pods of this account; nothing of them may stay.
    #[track_caller]
    pub fn sweep(&self) {
        self.call(&["gc", "--grace-period=0s", "--expire-prepared=0s"])
            .ok();
        let left = pods(&self.data());
        assert!(left.is_empty(), "gc left {left:?}");
    }
}

/// The pods of a data directory, wherever they lie.
pub fn pods(data: &Path) -> Vec<PathBuf> {
    let below = |dir: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(dir)
            .map_or_else(|_| Vec::new(), |d| d.flatten().map(|e| e.path()).collect())
    };
    below(&data.join("pods"))
        .iter()
        .flat_map(|state| below(state))
        .collect()
}

/// The scratch directory may be passed through by anybody.
fn reachable(dir: &Path) {
    set_mode(dir, 0o755);
}

pub fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("root may");
}
