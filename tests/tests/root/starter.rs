//! What passes between a pod and whoever started it: readiness, sockets, and nothing by accident.

use crate::{call, probe};
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tests::proc::eventually;
use tests::{Output, Rkt, Scratch, root_test};

/// An init's notify socket.
fn init(s: &Scratch) -> (UnixDatagram, String) {
    let path = s.at("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket in the scratch directory");
    socket.set_nonblocking(true).expect("a socket of ours");
    (socket, path.display().to_string())
}

fn heard(socket: &UnixDatagram) -> Option<String> {
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// A volume through which the test says when.
fn shared(s: &Scratch) -> (String, String) {
    let shelf = s.mkdir("shared");
    let volume = format!("--volume=v,kind=host,source={}", shelf.display());
    (volume, shelf.join("go").display().to_string())
}

root_test! {
    fn readiness_goes_from_the_app_to_the_init(s) {
        let (socket, address) = init(s);
        let (volume, go) = shared(s);
        let save = s.at("uuid");
        let pod = Rkt::new(s)
            .env("NOTIFY_SOCKET", &address)
            .args(["run", "--net=none", &volume, "--mount=volume=v,target=/v"])
            .arg(format!("--uuid-file-save={}", save.display()))
            .arg(probe(s))
            .args(["--readiness=notify", "--", "await", "/v/go", "then"])
            .args(["notify", "STATUS=nearly READY=1", "then", "notify", "STATUS=up\\nREADY=1", "then", "forever"])
            .spawn();
        let uuid = eventually("the pod has a process", || {
            let uuid = std::fs::read_to_string(&save).ok()?;
            call(s, &["status", &uuid]).stdout.contains("pid=").then_some(uuid)
        });
        call(s, &["status", "--wait-ready=200ms", &uuid]).code(254).stderr_has("error waiting for pod readiness");
        assert_eq!(heard(&socket), None);

        std::fs::write(&go, "").expect("the volume is ours");
        call(s, &["status", "--wait-ready=30s", &uuid]).ok().stdout_has("state=running");
        let told = eventually("the init is told", || heard(&socket));
        assert!(told.starts_with("READY=1\nSTATUS=pod "), "{told}");
        call(s, &["stop", &uuid]).ok();
        pod.end();
        assert_eq!(heard(&socket), None, "it was told once");
    }
}

root_test! {
    fn a_signal_to_rkt_is_told_as_stopping(s) {
        let (socket, address) = init(s);
        let mut pod = Rkt::new(s)
            .env("NOTIFY_SOCKET", &address)
            .args(["run", "--net=none"])
            .arg(probe(s))
            .args(["--", "echo", "up", "then", "forever"])
            .spawn();
        pod.until("up");
        let told = eventually("the init is told", || heard(&socket));
        assert!(told.starts_with("READY=1\n"), "{told}");
        pod.signal(rustix::process::Signal::TERM);
        let told = eventually("the init is told", || heard(&socket));
        assert!(told.starts_with("STOPPING=1\n"), "{told}");
        pod.wait(Duration::from_secs(30)).ok();
    }
}

root_test! {
    fn a_detached_pod_names_its_process(s) {
        let (socket, address) = init(s);
        let uuid = Rkt::new(s)
            .env("NOTIFY_SOCKET", &address)
            .args(["run", "--detach", "--net=none"])
            .arg(probe(s))
            .args(["--readiness=fd:7", "--", "ready-fd", "7", "then", "forever"])
            .run()
            .ok();
        let uuid = uuid.stdout.trim();
        let told = heard(&socket).expect("rkt returns when the pod is ready");
        let pid = crate::status(s, uuid, "pid").expect("a pod that runs");
        assert!(told.starts_with(&format!("MAINPID={pid}\nREADY=1\n")), "{told}");
        call(s, &["status", "--wait-ready=0", uuid]).code(0);
        call(s, &["stop", uuid]).ok();
        call(s, &["gc", "--grace-period=0s"]).ok();
    }
}

root_test! {
    fn an_app_that_ends_without_a_word_is_no_detached_pod(s) {
        let out = Rkt::new(s)
            .args(["run", "--detach", "--net=none"])
            .arg(probe(s))
            .args(["--readiness=notify", "--", "notify", "READY=0", "then", "exit", "5"])
            .run()
            .code(5);
        assert_eq!(out.stdout, "");
        call(s, &["gc", "--grace-period=0s"]).ok();
    }
}

root_test! {
    fn an_app_that_ends_well_without_a_word_is_no_detached_pod(s) {
        let out = Rkt::new(s)
            .args(["run", "--detach", "--net=none"])
            .arg(probe(s))
            .args(["--readiness=notify", "--", "exit", "0"])
            .run()
            .code(254)
            .stderr_has("the pod ended before it was ready");
        assert_eq!(out.stdout, "");
        // By default an app is ready when it runs, however short that is.
        Rkt::new(s).args(["run", "--detach", "--net=none"]).arg(probe(s)).args(["--", "exit", "0"]).run().ok();
        eventually("both are over", || {
            (!call(s, &["list", "--no-legend"]).ok().stdout.contains("running")).then_some(())
        });
        call(s, &["gc", "--grace-period=0s"]).ok();
    }
}

root_test! {
    fn what_an_app_sends_along_holds_nobody_up(s) {
        // PID 1 has room for all that comes with a message, and then for less than that.
        for limit in [1024, 200] {
            let words = ["/bin/sh", "-c", &format!("ulimit -S -n {limit}; exec \"$0\" \"$@\"")];
            let uuid = Rkt::new(s)
                .through(&words, &tests::rkt::binary())
                .args(["run", "--detach", "--net=none"])
                .arg(probe(s))
                .args(["--readiness=notify", "--", "notify-lingering", "STATUS=nearly", "then"])
                .args(["notify-lingering", "READY=1", "then", "notify-lingering", "STATUS=up", "then", "forever"])
                .run()
                .ok();
            let uuid = uuid.stdout.trim();
            call(s, &["status", uuid]).ok().stdout_has("state=running");
            call(s, &["stop", uuid]).ok();
            // It could still write how the app ended.
            call(s, &["status", uuid]).stdout_has("app-probe=");
        }
        // One that never says the word, and ends with a message in the queue.
        Rkt::new(s)
            .args(["run", "--net=none"])
            .arg(probe(s))
            .args(["--readiness=notify", "--", "notify-lingering", "STATUS=over"])
            .run()
            .ok();
        call(s, &["gc", "--grace-period=0s"]).ok();
    }
}

root_test! {
    fn who_ignores_children_is_told_of_the_end_all_the_same(s) {
        let words = ["/bin/sh", "-c", "trap '' CHLD; exec \"$0\" \"$@\""];
        Rkt::new(s)
            .through(&words, &tests::rkt::binary())
            .args(["run", "--net=none"])
            .arg(probe(s))
            .args(["--", "orphan", "exit", "0", "then", "exit", "7"])
            .run()
            .code(7);
        call(s, &["gc", "--grace-period=0s"]).ok();
    }
}

root_test! {
    fn the_first_process_of_a_machine_may_have_no_streams(s) {
        // No /dev/null, either.
        let root = s.mkdir("root");
        std::fs::copy(tests::rkt::binary(), root.join("rkt")).expect("a copy of rkt");
        let inner = "exec chroot \"$0\" /rkt version <&- >&- 2>&-";
        let ended = std::process::Command::new("unshare")
            .args(["--pid", "--fork", "sh", "-c", inner])
            .arg(&root)
            .status()
            .expect("unshare is there");
        assert_eq!(ended.code(), Some(0), "{ended}");
    }
}

root_test! {
    fn a_line_on_the_starters_descriptor(s) {
        let line = s.at("line");
        let words = ["/bin/sh", "-c", &format!("exec \"$0\" \"$@\" 9>{}", line.display())];
        let image = probe(s);
        let pod = Rkt::new(s)
            .through(&words, &tests::rkt::binary())
            .args(["run", "--net=none", "--notify-fd=9"])
            .arg(&image)
            .args(["--name=one", "--readiness=fd:3", "--", "facts", "then", "ready-fd", "3", "then", "forever", "---"])
            .arg(&image)
            .args(["--name=two", "--", "forever"])
            .spawn();
        eventually("the line", || (std::fs::read(&line).ok()? == b"\n").then_some(()));
        let list = call(s, &["list", "--no-legend", "--full"]).ok().stdout;
        let uuid = list.split_whitespace().next().expect("a pod that runs");
        call(s, &["stop", uuid]).ok();
        pod.end();
        Rkt::new(s).args(["run", "--net=none", "--notify-fd=9"]).arg(&image).args(["--", "exit", "0"]).run()
            .code(254).stderr_has("--notify-fd=9: no such descriptor is open");
        Rkt::new(s).args(["run", "--net=none"]).arg(&image).args(["--readiness=fd:2", "--", "exit", "0"]).run()
            .code(254).stderr_has("invalid readiness");
    }
}

/// `rkt run` as an init with a socket starts it: the listener as descriptor 3, and the variables that say so.
fn activated(
    s: &Scratch,
    socket: OwnedFd,
    args: &[&str],
    image: &Path,
    then: &[&str],
) -> std::process::Child {
    let shell =
        "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web exec \"$0\" \"$@\"";
    let mut command = Rkt::new(s)
        .through(&["/bin/sh", "-c", shell], &tests::rkt::binary())
        .args(["run", "--net=none"])
        .args(args)
        .arg(image)
        .args(then)
        .command();
    let child = command
        .stdin(socket)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    child.expect("a shell")
}

fn end(child: std::process::Child) -> Output {
    Output::of(
        "rkt run".into(),
        &child.wait_with_output().expect("our child"),
    )
}

root_test! {
    fn a_socket_of_the_host_reaches_its_app(s) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback");
        let at = listener.local_addr().expect("it is bound");
        let socket = || OwnedFd::from(listener.try_clone().expect("a copy"));
        let image = probe(s);
        // The pod has no network, its app answers on the host's.
        let pod = activated(s, socket(), &[], &image, &["--", "answer-sockets", "then", "facts"]);
        let mut said = String::new();
        TcpStream::connect(at).and_then(|mut stream| stream.read_to_string(&mut said)).expect("an answer");
        let out = end(pod).ok();
        assert_eq!(said, "3");
        assert_eq!(out.fact("listen.fds"), "1");
        assert_eq!(out.fact("listen.names"), "web");
        assert_eq!(out.fact("listen.pid-is-mine"), "true");

        // Of two apps the one whose port it is; the other sees nothing of it.
        let port = serde_json::json!([{"name": "http", "protocol": "tcp", "port": at.port(), "socketActivated": true}]);
        let web = tests::Aci::probe("example.com/web").app("ports", port).write(s.path());
        let web = web.display().to_string();
        let pod = activated(s, socket(), &[], &image,
            &["--name=other", "--", "env", "then", "facts", "---", &web, "--name=web", "--", "answer-sockets"]);
        said.clear();
        TcpStream::connect(at).and_then(|mut stream| stream.read_to_string(&mut said)).expect("an answer");
        let out = end(pod).ok();
        assert_eq!(said, "3");
        assert_eq!(out.fact("listen.names"), "web");
        assert_eq!(out.facts("LISTEN_FDS"), Vec::<String>::new());
        assert!(out.facts("fd").iter().all(|fd| !fd.contains("socket:")), "{out}");
    }
}

root_test! {
    fn only_sockets_are_handed_on(s) {
        let directory = std::fs::File::open("/").expect("a directory");
        let pod = activated(s, directory.into(), &["--rm"], &probe(s), &["--", "facts"]);
        end(pod).code(254).stderr_has("descriptor 3 of LISTEN_FDS");
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback");
        let pod = activated(s, listener.into(), &["--rm"], &probe(s), &["--readiness=fd:3", "--", "facts"]);
        end(pod).code(254).stderr_has("use --readiness=fd:4");
        // A supervisor that tries again and again must not pile them up.
        assert_eq!(call(s, &["list", "--no-legend"]).ok().stdout, "");
    }
}

root_test! {
    fn fly_is_ready_when_its_app_runs(s) {
        let (socket, address) = init(s);
        let fly = |readiness: &str, verb: &[&str]| {
            Rkt::new(s)
                .env("NOTIFY_SOCKET", &address)
                .args(["run", "--net=host", "--stage1-name=coreos.com/rkt/stage1-fly"])
                .arg(probe(s))
                .args([readiness, "--"])
                .args(verb)
                .run()
        };
        fly("--readiness=exec", &["exit", "0"]).ok();
        let told = heard(&socket).expect("the app was started");
        assert!(told.starts_with("READY=1\n"), "{told}");
        fly("--readiness=notify", &["exit", "0"]).code(254).stderr_has("a fly pod is ready when its app was started");
        call(s, &["gc", "--grace-period=0s"]).ok();
    }
}

root_test! {
    fn an_app_is_not_mistaken_for_rkt(s) {
        let (socket, address) = init(s);
        let out = Rkt::new(s)
            .env("NOTIFY_SOCKET", &address)
            .env("WATCHDOG_USEC", "1000")
            .env("LISTEN_FDS", "1")
            .env("LISTEN_PID", "1")
            .env("MINE", "yes")
            .args(["run", "--inherit-env", "--net=none"])
            .arg(probe(s))
            .args(["--", "env"])
            .run()
            .ok();
        for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID"] {
            assert_eq!(out.facts(name), Vec::<String>::new(), "{name}");
        }
        assert_eq!(out.fact("MINE"), "yes");
        assert!(heard(&socket).is_some());
    }
}
