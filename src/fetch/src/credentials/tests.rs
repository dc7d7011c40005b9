use super::*;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

/// A directory that goes with the test.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        let base = std::env::temp_dir();
        for n in 0.. {
            let path = base.join(format!("rkt-test-credentials-{}-{n}", std::process::id()));
            match std::fs::create_dir(&path) {
                Ok(()) => return Dir(path),
                Err(err) if err.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(err) => panic!("mkdir {}: {err}", path.display()),
            }
        }
        unreachable!("one of the names is free")
    }

    fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }

    fn program(&self, suffix: &str, script: &str) {
        let path = self.put(
            &format!("docker-credential-{suffix}"),
            &format!("#!/bin/sh\n{script}\n"),
        );
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn basic(user: &str, password: &str) -> Login {
    Login::Basic(BasicCredentials {
        user: user.into(),
        password: Secret::new(password),
    })
}

fn auth(user: &str, password: &str) -> String {
    base64::encode(format!("{user}:{password}").as_bytes())
}

fn logins(config: &Config, places: Places) -> Logins {
    Logins::new(config, places)
}

#[test]
fn the_strongest_source_and_the_most_specific_entry_win() {
    let dir = Dir::new();
    let containers = format!(
        r#"{{"auths":{{"quay.io/team/app":{{"auth":"{}"}},"quay.io":{{"auth":"{}"}},"h:5000":{{}}}}}}"#,
        auth("app", "1"),
        auth("quay", "2:3")
    );
    let docker = format!(
        r#"{{"HttpHeaders":{{"a":"b"}},"auths":{{"https://index.docker.io/v1/":{{"auth":"{}"}},
           "quay.io":{{"auth":"{}"}},"i.test":{{"identitytoken":"it"}},
           "r.test":{{"registrytoken":"rt"}},"h:5000":{{"username":"u","password":"p"}}}}}}"#,
        auth("hub", "4"),
        auth("weaker", "5")
    );
    let config = Config {
        docker_auth: vec![
            ("own.test".into(), own("all")),
            ("own.test/ns".into(), own("ns")),
        ],
        ..Config::default()
    };
    let logins = logins(
        &config,
        Places {
            containers: vec![dir.0.join("none"), dir.put("auth.json", &containers)],
            docker: Some(dir.put("config.json", &docker)),
            ..Places::default()
        },
    );
    for (host, path, want) in [
        ("quay.io", "team/app", Some(basic("app", "1"))),
        ("quay.io", "team/app/sub", Some(basic("app", "1"))),
        ("quay.io", "team/apple", Some(basic("quay", "2:3"))),
        ("quay.io:444", "team/app", None),
        ("registry-1.docker.io", "library/x", Some(basic("hub", "4"))),
        ("h:5000", "x", Some(basic("u", "p"))),
        ("i.test", "x", Some(Login::Identity(Secret::new("it")))),
        ("r.test", "x", Some(Login::Token(Secret::new("rt")))),
        ("own.test", "x", Some(basic("all", "s"))),
        ("own.test", "ns/x", Some(basic("ns", "s"))),
        ("other.test", "x", None),
    ] {
        let found = logins.for_repository(host, path).expect("a look-up");
        assert_eq!(found, want, "{host}/{path}");
    }
}

fn own(user: &str) -> BasicCredentials {
    BasicCredentials {
        user: user.into(),
        password: Secret::new("s"),
    }
}

#[test]
fn docker_auth_config_is_stronger_than_the_file() {
    let dir = Dir::new();
    let file = format!(
        r#"{{"auths":{{"a.test":{{"auth":"{}"}}}}}}"#,
        auth("f", "1")
    );
    let text = format!(
        r#"{{"auths":{{"a.test":{{"auth":"{}"}}}}}}"#,
        auth("v", "2")
    );
    let logins = logins(
        &Config::default(),
        Places {
            docker_text: Some(Secret::new(text)),
            docker: Some(dir.put("config.json", &file)),
            ..Places::default()
        },
    );
    let found = logins.for_repository("a.test", "x").expect("a look-up");
    assert_eq!(found, Some(basic("v", "2")));
}

#[test]
fn malformed_files_are_named_and_their_secrets_are_not() {
    let dir = Dir::new();
    let secret = "c2VjcmV0LXdpdGhvdXQtY29sb24=";
    for (text, want) in [
        ("{", "EOF while parsing"),
        ("[]", "expected an object"),
        (r#"{"auths":[]}"#, "auths: expected an object"),
        (r#"{"auths":{"a":{"auth":5}}}"#, "expected a string"),
        (
            r#"{"auths":{"a":{"auth":"c2VjcmV0LXdpdGhvdXQtY29sb24="}}}"#,
            "auth is not the base64 of user:password",
        ),
        (r#"{"auths":{"a":{"auth":"!"}}}"#, "auth is not the base64"),
        (
            r#"{"auths":{"a":{"username":"a\nb","password":"c"}}}"#,
            "control character",
        ),
    ] {
        let path = dir.put("config.json", text);
        let places = Places {
            docker: Some(path.clone()),
            ..Places::default()
        };
        let fault = logins(&Config::default(), places)
            .for_repository("a", "b")
            .expect_err(text);
        let shown = format!("{fault} {fault:?}");
        assert!(shown.contains(want), "{shown}");
        assert!(shown.contains(&path.display().to_string()), "{shown}");
        assert!(
            !shown.contains(secret) && !shown.contains("secret-w"),
            "{shown}"
        );
    }
    assert!(!format!("{:?}", basic("user", "hidden")).contains("hidden"));
}

fn ask(dir: &Dir, suffix: &str, seconds: u64) -> Result<Option<Login>> {
    let path = std::env::join_paths([Path::new("relative"), &dir.0]).expect("a PATH");
    program::get(suffix, "h:5000", Some(&path), Duration::from_secs(seconds))
}

#[test]
fn a_helper_is_asked_for_the_server() {
    let dir = Dir::new();
    dir.program(
        "good",
        r#"read -r server; [ "$1" = get ] && printf '{"ServerURL":"%s","Username":"u-%s","Secret":"s"}' "$server" "$server""#,
    );
    dir.program(
        "token",
        r#"cat >/dev/null; echo '{"Username":"<token>","Secret":"t"}'"#,
    );
    dir.program(
        "none",
        "echo 'credentials not found in native keychain'; exit 1",
    );
    dir.program("deaf", r#"exec 0<&-; echo '{"Username":"u","Secret":"s"}'"#);
    assert_eq!(
        ask(&dir, "good", 20).expect("good"),
        Some(basic("u-h:5000", "s"))
    );
    assert_eq!(
        ask(&dir, "token", 20).expect("token"),
        Some(Login::Identity(Secret::new("t")))
    );
    assert_eq!(ask(&dir, "none", 20).expect("none"), None);
    assert_eq!(ask(&dir, "deaf", 20).expect("deaf"), Some(basic("u", "s")));
}

#[test]
fn hostile_helpers_end_in_an_error() {
    let dir = Dir::new();
    dir.program("fails", r"printf 'no\033[1m luck\nmore'; exit 3");
    dir.program(
        "endless",
        "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done",
    );
    dir.program("slow", "exec sleep 1000");
    dir.program("quiet", "exec >&-; exec sleep 1000");
    dir.program("junk", "echo my-secret");
    dir.put("docker-credential-plain", "#!/bin/sh\n");
    for (suffix, want) in [
        (
            "fails",
            r"docker-credential-fails failed (exit status: 3): no\u{1b}[1m luck",
        ),
        ("endless", "wrote more than 65536 bytes"),
        ("slow", "did not answer within 1 s"),
        ("quiet", "did not answer within 1 s"),
        ("junk", "line 1, column 1"),
        ("plain", "not in $PATH"),
        ("absent", "not in $PATH"),
        ("", "cannot be the name"),
        ("../x", "cannot be the name"),
        ("a b", "cannot be the name"),
    ] {
        let seconds = if matches!(suffix, "slow" | "quiet") {
            1
        } else {
            20
        };
        let fault = ask(&dir, suffix, seconds).expect_err(suffix);
        assert!(fault.cause.contains(want), "{suffix}: {}", fault.cause);
        assert!(!fault.cause.contains("my-secret"), "{}", fault.cause);
    }
}

#[test]
fn helpers_and_entries_of_one_file_have_an_order() {
    let dir = Dir::new();
    dir.program(
        "one",
        r#"read -r s; echo '{"Username":"one","Secret":"s"}'"#,
    );
    dir.program(
        "all",
        r#"read -r s; echo '{"Username":"all","Secret":"s"}'"#,
    );
    dir.program(
        "none",
        "echo 'credentials not found in native keychain'; exit 1",
    );
    let text = format!(
        r#"{{"credsStore":"all","credHelpers":{{"a.test":"one","b.test":"none"}},
           "auths":{{"a.test":{{"auth":"{0}"}},"b.test":{{"auth":"{0}"}},"c.test":{{}}}}}}"#,
        auth("file", "s")
    );
    let logins = logins(
        &Config::default(),
        Places {
            docker: Some(dir.put("config.json", &text)),
            programs: Some(dir.0.clone().into_os_string()),
            ..Places::default()
        },
    );
    for (host, want) in [
        ("a.test", "one"),
        ("b.test", "file"),
        ("c.test", "all"),
        ("d.test", "all"),
    ] {
        let found = logins.for_repository(host, "x").expect("a look-up");
        assert_eq!(found, Some(basic(want, "s")), "{host}");
    }
}

#[test]
fn auth_entries_authorise_https_and_nothing_else() {
    let config = Config {
        auth: vec![
            ("a.test".into(), Credentials::Basic(own("u"))),
            (
                "a.test/deep".into(),
                Credentials::OAuth {
                    token: Secret::new("tok"),
                },
            ),
        ],
        ..Config::default()
    };
    let logins = logins(&config, Places::default());
    let header = |path: &str| {
        let found = logins.authorization_for("a.test", path).expect("an entry");
        let headers = found.headers("GET", "https://a.test/", 0).expect("headers");
        (headers[0].0.clone(), headers[0].1.expose().to_string())
    };
    assert_eq!(
        header("/x.aci"),
        ("Authorization".into(), "Basic dTpz".into())
    );
    assert_eq!(
        header("/deep/x.aci"),
        ("Authorization".into(), "Bearer tok".into())
    );
    assert!(logins.authorization_for("a.test:8080", "/").is_none());
    let plain = logins.authorization_for("a.test", "/").expect("an entry");
    assert!(plain.headers("GET", "http://a.test/", 0).is_err());
}
