//! Real registries: Debian's docker-registry on the loopback of a network namespace, plain or with TLS and a password,
//! and the real images that are pushed to it.
//!
//! The images are made once by `tests/images/build` out of Debian packages and kept beside the build. Where a tool is
//! missing the test is skipped and says which.

use crate::{Scratch, isolated, rkt};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The OCI layout with the tags `redis` and `python`, and beside it `zstd`, or why there is none.
pub fn images() -> Result<PathBuf, String> {
    static MADE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    MADE.get_or_init(|| {
        let workspace = rkt::workspace();
        let cache = match std::env::var_os("IMAGES_CACHE") {
            Some(dir) => PathBuf::from(dir),
            None => workspace.join("target/images"),
        };
        let built = Command::new(workspace.join("tests/images/build"))
            .arg(&cache)
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("tests/images/build: {e}"))?;
        match built.status.success() {
            true => Ok(cache.join("layout")),
            false => Err(String::from_utf8_lossy(&built.stdout).trim().to_owned()),
        }
    })
    .clone()
}

/// Runs a tool of the host and fails the test with all it said if it fails.
#[track_caller]
pub fn tool(program: &str, args: &[&str]) -> String {
    let path = isolated::find(program).unwrap_or_else(|| panic!("{program} was looked for before"));
    let output = Command::new(path)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(
        output.status.success(),
        "$ {program} {}\n{}{}",
        args.join(" "),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A running docker-registry; ends with the value.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    port: u16,
    requests: PathBuf,
    /// The CA that its certificate is signed by.
    pub ca: Option<PathBuf>,
    /// `user:password`
    login: Option<&'static str>,
}

pub const USER: &str = "alice";
pub const PASSWORD: &str = "s3cret pass:word";
const LOGIN: &str = "alice:s3cret pass:word";

impl Registry {
    /// What is not installed.
    pub fn missing() -> Option<String> {
        ["docker-registry", "skopeo", "umoci", "openssl", "htpasswd"]
            .into_iter()
            .find(|tool| isolated::find(tool).is_none())
            .map(|tool| {
                format!("needs {tool} (Debian: docker-registry skopeo umoci openssl apache2-utils)")
            })
    }

    /// Plain http, open to all.
    pub fn plain(scratch: &Scratch) -> Registry {
        Registry::start(scratch, 5000, false)
    }

    /// https with a certificate for `localhost` of a CA of its own, and a password.
    pub fn tls(scratch: &Scratch) -> Registry {
        Registry::start(scratch, 5443, true)
    }

    fn start(scratch: &Scratch, port: u16, tls: bool) -> Registry {
        let dir = scratch.mkdir(&format!("registry-{port}"));
        let at = |name: &str| dir.join(name).display().to_string();
        let mut http = format!("  addr: 127.0.0.1:{port}\n");
        let mut more = String::new();
        let mut ca = None;
        if tls {
            ca = Some(certificate(&dir));
            http += &format!(
                "  tls:\n    certificate: {}\n    key: {}\n",
                at("server.pem"),
                at("server.key")
            );
            let line = tool("htpasswd", &["-nbB", USER, PASSWORD]);
            scratch.write(&format!("registry-{port}/htpasswd"), line.trim());
            more = format!(
                "auth:\n  htpasswd:\n    realm: test\n    path: {}\n",
                at("htpasswd")
            );
        }
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n{http}{more}",
            at("data")
        );
        std::fs::write(dir.join("config.yml"), config).expect("the scratch directory is writable");
        let program = isolated::find("docker-registry").expect("looked for before");
        let said =
            std::fs::File::create(dir.join("log")).expect("the scratch directory is writable");
        let requests =
            std::fs::File::create(dir.join("requests")).expect("the scratch directory is writable");
        let child = Command::new(program)
            .args(["serve", &at("config.yml")])
            .stdin(Stdio::null())
            .stdout(requests)
            .stderr(said)
            .spawn()
            .expect("docker-registry starts");
        let registry = Registry {
            child,
            port,
            requests: dir.join("requests"),
            ca,
            login: tls.then_some(LOGIN),
        };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "docker-registry does not answer: {}",
                std::fs::read_to_string(dir.join("log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        registry
    }

    /// `127.0.0.1:5000`, or `localhost:5443`.
    pub fn host(&self) -> String {
        match self.ca {
            Some(_) => format!("localhost:{}", self.port),
            None => format!("127.0.0.1:{}", self.port),
        }
    }

    /// `docker://host/name`
    pub fn url(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.host())
    }

    /// Copies an image here with skopeo. `source` is a word of skopeo: `oci:DIR:TAG`, `dir:DIR`.
    #[track_caller]
    pub fn push(&self, source: &str, name: &str) {
        self.push_with(source, name, &[]);
    }

    #[track_caller]
    pub fn push_with(&self, source: &str, name: &str, more: &[&str]) {
        let target = self.url(name);
        let mut args = vec!["copy", "-q", "--insecure-policy", "--dest-tls-verify=false"];
        if let Some(login) = self.login {
            args.extend(["--dest-creds", login]);
        }
        args.extend(more);
        args.extend([source, target.as_str()]);
        tool("skopeo", &args);
    }

    /// The requests so far, as the registry's own access log has them: `GET /v2/…`.
    pub fn requests(&self) -> Vec<String> {
        let log = std::fs::read_to_string(&self.requests).unwrap_or_default();
        log.lines()
            .filter_map(|line| line.split('"').nth(1))
            .map(|request| request.trim_end_matches(" HTTP/1.1").to_owned())
            .collect()
    }

    /// Where the registry keeps its blobs: what a test may damage.
    pub fn data(&self, scratch: &Scratch) -> PathBuf {
        scratch.at(&format!("registry-{}/data", self.port))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes `ca.pem`, `server.pem` and `server.key` in a directory; gives the CA's path.
pub fn certificate(dir: &Path) -> PathBuf {
    let at = |name: &str| dir.join(name).display().to_string();
    std::fs::write(
        dir.join("san"),
        "subjectAltName=DNS:localhost,DNS:example.com,DNS:*.example.com,IP:127.0.0.1,IP:::1\n\
         extendedKeyUsage=serverAuth\n",
    )
    .expect("the directory is writable");
    tool(
        "openssl",
        &[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "30",
            "-subj",
            "/CN=test CA",
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-keyout",
            &at("ca.key"),
            "-out",
            &at("ca.pem"),
        ],
    );
    tool(
        "openssl",
        &[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=localhost",
            "-keyout",
            &at("server.key"),
            "-out",
            &at("server.csr"),
        ],
    );
    tool(
        "openssl",
        &[
            "x509",
            "-req",
            "-in",
            &at("server.csr"),
            "-CA",
            &at("ca.pem"),
            "-CAkey",
            &at("ca.key"),
            "-CAcreateserial",
            "-days",
            "30",
            "-extfile",
            &at("san"),
            "-out",
            &at("server.pem"),
        ],
    );
    dir.join("ca.pem")
}
