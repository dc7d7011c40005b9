//! The network of an ordinary user's pod, carried by pasta or slirp4netns: who reaches whom, and that nothing stays.
//!
//! The test's network namespace is the host, as in the network suite ([`tests::lab`]); the device of tun is the test's
//! own, open to everybody as on any host. A program is taken away by an empty file over it.

use crate::account::{Account, Accounts, Ranges, pods, set_mode};
use crate::{missing, needs, readable};
use rustix::fs::{CWD, FileType, Mode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use tests::lab::{FAR4, FAR6, HOST4, HOST6, Lab, within};
use tests::rkt::Running;
use tests::talk::{Protocol, ask, ask_briefly, serve, serve_everywhere};
use tests::{Aci, isolated, net_test, proc};

const APP: u16 = 8000;
const OUTSIDE: u16 = 7000;
const FORWARDED: u16 = 18000;
/// What only the host's own processes are to reach.
const PRIVATE: u16 = 7001;

const PROGRAMS: [&str; 2] = ["pasta", "slirp4netns"];

/// Skips where none of the programs can be had.
macro_rules! needs_network {
    () => {
        needs!();
        if !PROGRAMS.iter().any(|name| isolated::find(name).is_some()) {
            tests::skip!("needs pasta or slirp4netns (Debian: passt, slirp4netns)");
        }
        if !Path::new("/dev/net/tun").exists() {
            tests::skip!("this kernel has no tun");
        }
    };
}

/// What a test has put over the host's files, in its own mount namespace.
struct Covers {
    paths: Vec<PathBuf>,
    _accounts: Accounts,
}

impl Covers {
    /// Nobody finds the program any more.
    fn hide(&mut self, name: &str) {
        while let Some(path) = isolated::find(name).filter(|path| path.is_file()) {
            rustix::mount::mount_bind("/dev/null", &path).expect("root may");
            self.paths.push(path);
        }
    }
}

impl Drop for Covers {
    fn drop(&mut self) {
        for path in self.paths.drain(..).rev() {
            let _ = rustix::mount::unmount(&path, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

/// A host with a resolver on its loopback, and joe's account, with ids of his own where there is newuidmap; the image's
/// ID in his store.
fn host(lab: &Lab) -> (Covers, Account, PathBuf) {
    use rustix::mount::{MountFlags, mount};
    mount("tmpfs", "/dev/net", "tmpfs", MountFlags::empty(), None).expect("root may");
    let device = rustix::fs::makedev(10, 200);
    rustix::fs::mknodat(
        CWD,
        "/dev/net/tun",
        FileType::CharacterDevice,
        Mode::empty(),
        device,
    )
    .expect("root may");
    set_mode(Path::new("/dev/net/tun"), 0o666);
    let ranges = match missing(true) {
        None => Ranges::Some,
        Some(_) => Ranges::None,
    };
    let (mut accounts, joe, _) = Accounts::new(&lab.scratch, ranges);
    accounts.replace(
        &lab.scratch,
        "/etc/resolv.conf",
        "nameserver 127.0.0.53\nsearch lan\n",
    );
    let image = Aci::probe("example.com/probe")
        .app(
            "ports",
            json!([
                {"name": "http", "protocol": "tcp", "port": APP},
                {"name": "query", "protocol": "udp", "port": APP},
            ]),
        )
        .write(lab.path());
    let covers = Covers {
        paths: vec!["/dev/net".into()],
        _accounts: accounts,
    };
    let fetched = joe
        .rkt()
        .args(["fetch", "--full"])
        .arg(readable(image))
        .run()
        .ok();
    (covers, joe, fetched.stdout.trim().into())
}

/// A pod that answers on `APP`.
struct Pod {
    running: Running,
    uuid: String,
    init: i32,
}

impl Pod {
    #[track_caller]
    fn start(joe: &Account, image: &Path, flags: &[&str]) -> Pod {
        let save = joe.home.join("uuid");
        let _ = std::fs::remove_file(&save);
        let mut running = joe
            .rkt()
            .arg("run")
            .args(flags)
            .arg(format!("--uuid-file-save={}", save.display()))
            .arg(image)
            .args(["--", "serve", &APP.to_string(), "then", "forever"])
            .spawn();
        running.until("serving");
        let uuid = std::fs::read_to_string(&save).expect("--uuid-file-save wrote the file");
        let init = init(joe, &uuid);
        Pod {
            running,
            uuid,
            init,
        }
    }

    fn netns(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.init))
    }

    #[track_caller]
    fn ask(&self, protocol: Protocol, ip: IpAddr, port: u16) -> IpAddr {
        within(&self.netns(), || ask(protocol, (ip, port).into()))
            .unwrap_or_else(|e| panic!("no answer over {protocol} from {ip} port {port}: {e}"))
    }

    #[track_caller]
    fn end(self, joe: &Account) {
        joe.call(&["stop", "--force", &self.uuid]).ok();
        self.running.end();
        nobody_attends();
    }
}

fn init(joe: &Account, uuid: &str) -> i32 {
    joe.call(&["status", uuid])
        .ok()
        .fact("pid")
        .parse()
        .expect("a pid")
}

/// The programs that run here: the test has a pid namespace of its own.
fn programs() -> Vec<i32> {
    let mut found = proc::with_cmdline("/proc/self/fd/0");
    found.retain(|pid| proc::status(*pid, "State").is_some_and(|state| !state.starts_with('Z')));
    found
}

#[track_caller]
fn nobody_attends() {
    proc::eventually("the end of the pod's network", || {
        programs().is_empty().then_some(())
    });
}

/// The far side answers; what answers on the host's loopback is not for pods.
fn serve_all(lab: &Lab) {
    lab.far(|| serve_everywhere(OUTSIDE))
        .expect("a server on the far side");
    for ip in [
        IpAddr::from(Ipv4Addr::LOCALHOST),
        Ipv6Addr::LOCALHOST.into(),
    ] {
        serve((ip, PRIVATE).into()).expect("a server on the host's loopback");
    }
    serve(([127, 0, 0, 53], 53).into()).expect("the host's resolver");
}

#[track_caller]
fn packets_pass(lab: &Lab, joe: &Account, image: &Path) {
    let pod = Pod::start(joe, image, &["--port=http:18000", "--port=query:18000"]);
    assert_eq!(programs().len(), 1);
    let status = joe.call(&["status", &pod.uuid]).ok();
    let networks = status.fact("networks");
    assert!(
        networks.starts_with("default:ip4=172.16.28.100, default:ip6=fd"),
        "{networks}"
    );
    joe.call(&["list", "--full", "--no-legend"])
        .ok()
        .stdout_has(&networks);
    for protocol in Protocol::ALL {
        assert_eq!(pod.ask(protocol, FAR4, OUTSIDE), HOST4);
        assert_eq!(pod.ask(protocol, FAR6, OUTSIDE), HOST6);
        // The host's ports lead to the app, from everywhere.
        for ip in [HOST4, HOST6] {
            let seen = lab.far(|| ask(protocol, (ip, FORWARDED).into()));
            assert!(seen.is_ok(), "{protocol} {ip}: {seen:?}");
        }
        for ip in [
            HOST4,
            IpAddr::from(Ipv4Addr::LOCALHOST),
            Ipv6Addr::LOCALHOST.into(),
        ] {
            let seen = ask(protocol, (ip, FORWARDED).into());
            assert!(seen.is_ok(), "{protocol} {ip}: {seen:?}");
        }
        for ip in [
            "127.0.0.1",
            "::1",
            "172.16.28.2",
            "172.16.28.3",
            "127.0.0.53",
        ] {
            let ip: IpAddr = ip.parse().expect("an address written here");
            let seen = within(&pod.netns(), || ask_briefly(protocol, (ip, PRIVATE).into()));
            assert!(seen.is_err(), "{protocol} {ip}: {seen:?}");
        }
    }
    let conf = joe
        .call(&["enter", &pod.uuid, "/probe", "cat", "/etc/resolv.conf"])
        .ok();
    conf.stdout_has("nameserver 172.16.28.3")
        .stdout_has("search lan");
    let server = Ipv4Addr::new(172, 16, 28, 3).into();
    assert_eq!(pod.ask(Protocol::Udp, server, 53), Ipv4Addr::LOCALHOST);
    pod.end(joe);
}

net_test! {
    fn each_program_carries_packets(lab) {
        needs_network!();
        let (mut covers, joe, image) = host(lab);
        serve_all(lab);
        for name in PROGRAMS {
            if isolated::find(name).is_some() {
                packets_pass(lab, &joe, &image);
                covers.hide(name);
            }
        }
        joe.sweep();
        // Without either there is no pod, nor one with loopback alone.
        let out = joe.rkt().arg("run").arg(&image).args(["--", "exit", "0"]).run().code(254);
        for part in ["pasta", "slirp4netns", "--net=host", "--net=none", "passt"] {
            assert!(out.stderr.contains(part), "{out}");
        }
        assert!(pods(&joe.data()).is_empty());
        joe.call(&["run", "--net=none", &image.display().to_string(), "--", "exit", "4"]).code(4);
        joe.sweep();
        drop(covers);
    }
}

net_test! {
    fn it_ends_with_the_pod_however_that_ends(lab) {
        needs_network!();
        let (mut covers, joe, image) = host(lab);
        for name in PROGRAMS.into_iter().filter(|name| isolated::find(name).is_some()) {
            let pod = Pod::start(&joe, &image, &[]);
            joe.call(&["stop", &pod.uuid]).ok();
            pod.running.end();
            nobody_attends();
            // What was started is killed, then the pod's first process.
            let pod = Pod::start(&joe, &image, &[]);
            kill(pod.running.pid());
            pod.running.end();
            nobody_attends();
            let pod = Pod::start(&joe, &image, &[]);
            kill(pod.init);
            pod.running.end();
            nobody_attends();
            // Detached: nobody but the pod is left, and its network with it.
            let out = joe.rkt().args(["run", "--detach"]).arg(&image).args(["--", "forever"]).run().ok();
            let uuid = out.stdout.trim().to_owned();
            assert_eq!(programs().len(), 1);
            joe.call(&["stop", &uuid]).ok();
            nobody_attends();
            let out = joe.rkt().args(["run", "--detach"]).arg(&image).args(["--", "forever"]).run().ok();
            kill(init(&joe, out.stdout.trim()));
            nobody_attends();
            joe.sweep();
            covers.hide(name);
        }
        drop(covers);
    }
}

fn kill(pid: i32) {
    let pid = Pid::from_raw(pid).expect("a pid of this test's");
    kill_process(pid, Signal::KILL).expect("it runs");
}

net_test! {
    fn what_takes_root_or_is_taken_is_refused(lab) {
        needs_network!();
        let (covers, joe, image) = host(lab);
        let refused = |flags: &[&str]| {
            let out = joe.rkt().arg("run").args(flags).arg(&image).args(["--", "exit", "0"]).run().code(254);
            out.stderr
        };
        for (flag, why) in [
            ("--net=db", "network \"db\" needs root"),
            ("--net=all", "network \"all\" needs root"),
            ("--net=default-restricted", "network \"default-restricted\" needs root"),
            ("--net=default:IP=172.16.28.9", "arguments for network \"default\" need root"),
            ("--mds-register", "the metadata service cannot be reached"),
        ] {
            let said = refused(&[flag]);
            assert!(said.contains(why), "{flag}: {said}");
        }
        assert!(pods(&joe.data()).is_empty(), "refused before there is a pod");
        serve((HOST4, FORWARDED).into()).expect("a server on the host");
        let said = refused(&["--port=http:18000"]);
        assert!(said.contains("port 18000/tcp of the host is taken"), "{said}");
        let said = refused(&["--port=http:80"]);
        assert!(said.contains("port 80/tcp of the host is privileged"), "{said}");
        // A device that this user may not open.
        set_mode(Path::new("/dev/net/tun"), 0o600);
        let said = refused(&[]);
        assert!(said.contains("/dev/net/tun") && said.contains("0666"), "{said}");
        nobody_attends();
        joe.sweep();
        drop(covers);
    }
}
