//! The service's beginning and end, and the pods that rkt itself registers.

use crate::{PORT, SOCKET, alive, mds_test, register_pod, said, service};
use rustix::process::Signal;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tests::{Aci, Rkt, Scratch, proc::eventually};

const END: Duration = Duration::from_secs(30);

mds_test! {
    fn a_signal_ends_it_in_order() {
        for signal in [Signal::TERM, Signal::INT] {
            let running = service();
            let meta = std::fs::metadata(SOCKET).expect("the socket is there");
            assert!(meta.file_type().is_socket());
            assert_eq!(meta.permissions().mode() & 0o7777, 0o660);
            running.signal(signal);
            let out = running.wait(END).ok();
            assert_eq!(
                out.stderr,
                "metadata-service: metadata service starting...\nmetadata-service: metadata service running...\n\
                 metadata-service: metadata service exiting...\n"
            );
            assert!(!Path::new(SOCKET).exists());
        }
    }
}

mds_test! {
    fn a_socket_left_by_a_killed_service_is_replaced() {
        let running = service();
        running.signal(Signal::KILL);
        running.wait(END).code(137);
        assert!(Path::new(SOCKET).exists());
        let _running = service();
        register_pod();
        alive();
    }
}

mds_test! {
    fn a_second_service_leaves_the_first_alone() {
        let _first = service();
        register_pod();
        let call = |port: u16| {
            Rkt::plain().args(["metadata-service".to_owned(), format!("--listen-port={port}")]).run().code(254)
        };
        call(PORT).stderr_has("metadata-service: error listening on port 18112: listen tcp4 0.0.0.0:18112: ");
        call(PORT + 1).stderr_has(&format!("metadata-service: listen unix {SOCKET}: bind: "));
        alive();
        for port in ["0", "65536", "x", ""] {
            Rkt::plain().args(["metadata-service".to_owned(), format!("--listen-port={port}")]).run().code(254);
        }
    }
}

/// The call with a socket as fd 3, as a service manager does it.
fn activated(socket: OwnedFd, pid: &str) -> std::process::Child {
    let script =
        format!("exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID={pid} exec \"$0\" metadata-service");
    Command::new("sh")
        .args(["-c", &script])
        .arg(tests::rkt::binary())
        .stdin(Stdio::from(socket))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("`sh` is there")
}

mds_test! {
    fn a_socket_from_the_service_manager() {
        std::fs::create_dir("/run/rkt").expect("a fresh /run");
        let socket = UnixListener::bind(SOCKET).expect("a fresh /run");
        let mut child = activated(socket.into(), "$$");
        register_pod();
        eventually("the service answers", || std::net::TcpStream::connect(("127.0.0.1", PORT)).ok());
        alive();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, Signal::TERM).expect("our own child");
        assert!(child.wait().expect("our own child").success());
        // It is the service manager's to remove.
        assert!(Path::new(SOCKET).exists());
        // What is meant for another process is not taken.
        std::fs::remove_file(SOCKET).expect("we made it");
        let other = UnixListener::bind("/run/other").expect("a fresh /run");
        let mut child = activated(other.into(), "1");
        eventually("a socket of its own", || Path::new(SOCKET).exists().then_some(()));
        child.kill().and_then(|()| child.wait()).expect("our own child");
        // A pod could reach this one.
        let tcp = TcpListener::bind("127.0.0.1:0").expect("the loopback is up");
        let mut child = activated(tcp.into(), "$$");
        assert_eq!(child.wait().expect("our own child").code(), Some(254));
    }
}

mds_test! {
    fn pods_are_registered_by_run_and_forgotten_by_gc() {
        let s = Scratch::new("mds");
        let image = Aci::probe("example.com/probe").write(s.path());
        let run = |net: &str| Rkt::new(&s).args(["run", "--mds-register", net]).arg(&image).args(["--", "echo", "x"]);
        run("--net=none").run().code(254).stderr_has(
            "--mds-register flag does not work with --net=none. Please use 'host', 'default' or an equivalent network",
        );
        run("--net=host").run().code(254).stderr_has("run: could not reach the metadata service.");
        let pods = s.data().join("pods/run");
        let none = std::fs::read_dir(&pods).map_or(0, Iterator::count);
        assert_eq!(none, 0, "a pod was made for nothing");
        let uuid = Rkt::new(&s).arg("prepare").arg(&image).args(["--", "echo", "x"]).run().ok();
        let uuid = uuid.stdout.trim().to_owned();
        let second = || Rkt::new(&s).args(["run-prepared", "--net=host", "--mds-register", &uuid]);
        second().run().code(254).stderr_has("could not reach the metadata service.");
        let running = service();
        second().run().ok();
        said(&running, &format!("metadata-service: PUT /pods/{uuid}?token="));
        said(&running, &format!("metadata-service: PUT /pods/{uuid}/probe - 200\n"));
        assert!(pods.join(&uuid).join("mds-registered").exists());
        let out = Rkt::new(&s).args(["run", "--rm", "--mds-register", "--net=host"]).arg(&image).args(["--", "echo", "x"]).run().ok();
        assert_eq!(out.app_lines(), ["x"]);
        assert_eq!(running.stderr().matches("DELETE /pods/").count(), 1, "{}", running.stderr());
        let gc = || Rkt::new(&s).args(["gc", "--grace-period=0s"]).run().ok();
        let out = gc();
        said(&running, &format!("metadata-service: DELETE /pods/{uuid} - 200\n"));
        assert!(!out.stderr.contains("metadata"), "{out}");
        // Without the service the pod goes all the same.
        run("--net=host").run().ok();
        drop(running);
        gc().stderr_has("from the metadata service: could not reach the metadata service.");
        assert_eq!(std::fs::read_dir(&pods).map_or(0, Iterator::count), 0);
    }
}
