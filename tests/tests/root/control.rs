//! The control socket of a mutable pod, spoken to in frames made here by hand: apps come, start, stop and go while the
//! pod runs; what is malformed, forbidden or from a stranger is refused and disturbs nobody.
//!
//! No verb makes a mutable pod, so the tests do stage0's part: prepare, move the pod to `run` under its lock, and start
//! stage1 in the pod's directory.

use crate::{call, probe, start, status};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Child;
use std::time::Duration;
use tests::proc::{eventually, namespace};
use tests::{Aci, Rkt, Scratch, root_test};

const ADD: u8 = 1;
const START: u8 = 2;
const STOP: u8 = 3;
const REMOVE: u8 = 4;
const LIST: u8 = 5;
const STOP_POD: u8 = 7;

/// One app of a list: its name, its state's code, its pid in the pod, its exit status.
type Row = (String, u8, Option<i32>, Option<i32>);

#[derive(Debug, PartialEq, Eq)]
enum Reply {
    Done,
    Error(String),
    Apps(Vec<Row>),
    /// Hung up without an answer.
    Closed,
}

/// A connection to a pod's supervisor.
struct Peer(UnixStream);

impl Peer {
    fn to(pod: &Path) -> Peer {
        let socket = eventually("the supervisor takes orders", || {
            UnixStream::connect(pod.join("control")).ok()
        });
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a timeout that is not zero");
        Peer(socket)
    }

    fn bytes(&mut self, bytes: &[u8]) {
        // A supervisor that has hung up already is seen in the reply.
        let _ = self.0.write_all(bytes);
    }

    fn frame(&mut self, body: &[u8]) -> Reply {
        let len = u32::try_from(body.len()).expect("short frames");
        self.bytes(&[&len.to_be_bytes()[..], body].concat());
        self.reply()
    }

    fn reply(&mut self) -> Reply {
        let mut len = [0; 4];
        if let Err(e) = self.0.read_exact(&mut len) {
            assert!(e.kind() != std::io::ErrorKind::WouldBlock, "no answer");
            return Reply::Closed;
        }
        let mut body = vec![0; u32::from_be_bytes(len) as usize];
        self.0.read_exact(&mut body).expect("the whole frame");
        let mut rest = &body[1..];
        match body[0] {
            1 => Reply::Done,
            2 => Reply::Error(text(&mut rest)),
            3 => {
                let count = number(&mut rest, 2);
                Reply::Apps((0..count).map(|_| row(&mut rest)).collect())
            }
            other => panic!("unknown reply {other}"),
        }
    }

    /// An order about one app; the bytes behind its name are the order's switches.
    fn order(&mut self, what: u8, app: &str, switches: &[u8]) -> Reply {
        let len = u16::try_from(app.len()).expect("short names");
        self.frame(&[&[what][..], &len.to_be_bytes(), app.as_bytes(), switches].concat())
    }

    #[track_caller]
    fn list(&mut self) -> Vec<Row> {
        match self.frame(&[LIST]) {
            Reply::Apps(apps) => apps,
            other => panic!("no list: {other:?}"),
        }
    }

    /// State of an app: 0 not started, 1 running, 2 ended.
    fn state(&mut self, app: &str) -> Option<u8> {
        self.list().into_iter().find(|r| r.0 == app).map(|r| r.1)
    }

    fn until(&mut self, app: &str, state: u8) {
        eventually(&format!("{app} is in state {state}"), || {
            (self.state(app) == Some(state)).then_some(())
        });
    }
}

fn number(rest: &mut &[u8], len: usize) -> u32 {
    let (taken, after) = rest.split_at(len);
    *rest = after;
    taken.iter().fold(0, |n, b| n << 8 | u32::from(*b))
}

fn text(rest: &mut &[u8]) -> String {
    let len = number(rest, 2) as usize;
    let (taken, after) = rest.split_at(len);
    *rest = after;
    String::from_utf8(taken.to_vec()).expect("texts are UTF-8")
}

fn row(rest: &mut &[u8]) -> Row {
    let name = text(rest);
    let state = u8::try_from(number(rest, 1)).expect("one byte");
    let mut optional = || (number(rest, 1) == 1).then(|| number(rest, 4).cast_signed());
    let (pid, exit) = (optional(), optional());
    (name, state, pid, exit)
}

#[track_caller]
fn refused(reply: Reply, why: &str) {
    match reply {
        Reply::Error(text) => assert!(text.contains(why), "{text:?} lacks {why:?}"),
        other => panic!("not refused: {other:?}"),
    }
}

/// `rkt prepare`; the pod's UUID.
fn prepare(s: &Scratch, image: &Path, then: &[&str]) -> String {
    let out = Rkt::new(s)
        .arg("prepare")
        .arg(image)
        .arg("--")
        .args(then)
        .run()
        .ok();
    out.stdout.trim().to_owned()
}

/// Puts the only app of a prepared pod into another pod's directory, as stage0 would.
fn graft(s: &Scratch, from: &str, name: &str, pod: &Path) {
    let from = s.data().join("pods/prepared").join(from);
    copy(
        &from.join("appsinfo").join(name),
        &pod.join("appsinfo").join(name),
    );
    for (part, below) in [
        ("overlay", "overlay"),
        ("stage1/rootfs/opt", "stage1/rootfs/opt"),
    ] {
        if from.join(part).exists() {
            copy(&from.join(part), &pod.join(below));
        }
    }
    let read = |dir: &Path| -> Value {
        let bytes = fs::read(dir.join("pod")).expect("a pod manifest");
        serde_json::from_slice(&bytes).expect("JSON")
    };
    let app = read(&from)["apps"][0].clone();
    let mut manifest = read(pod);
    manifest["apps"].as_array_mut().expect("a list").push(app);
    fs::write(pod.join("pod.new"), manifest.to_string()).expect("the pod is ours");
    fs::rename(pod.join("pod.new"), pod.join("pod")).expect("the pod is ours");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory in the pod");
    for entry in fs::read_dir(from)
        .expect("a directory of the pod")
        .flatten()
    {
        let target = to.join(entry.file_name());
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).expect("a small file");
        }
    }
}

fn log(pod: &Path, app: &str) -> String {
    let bytes = fs::read(pod.join("log").join(app)).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Value of the probe's `key=value` in an app's log.
fn logged(pod: &Path, app: &str, key: &str) -> String {
    eventually(&format!("{app} tells {key}"), || {
        let text = log(pod, app);
        let (_, rest) = text.split_once(&format!("{key}="))?;
        let (value, _) = rest.split_once('\n')?;
        Some(value.to_owned())
    })
}

#[track_caller]
fn ended(s: &Scratch, child: &mut Child) -> i32 {
    let status = eventually("stage1 ends", || child.try_wait().expect("our child"));
    let told = fs::read_to_string(s.at("stage1.log")).unwrap_or_default();
    status.code().unwrap_or_else(|| panic!("{status}\n{told}"))
}

root_test! {
    fn grows(s) {
        let one = Aci::probe("example.com/one").write(s.path());
        let two = Aci::probe("example.com/two").write(s.path());
        let first = prepare(s, &one, &["facts", "then", "forever"]);
        let second = prepare(s, &two, &["echo", "two-says", "then", "facts", "then", "cat", "/which", "then", "echo", "", "then", "forever"]);
        let (mut child, pod) = tests::mutable::start(s, "--net=none", &first);
        let mut peer = Peer::to(&pod);
        peer.until("one", 1);
        assert_eq!(peer.list().len(), 1);

        refused(peer.order(ADD, "two", &[]), "nonexistent app");
        graft(s, &second, "two", &pod);
        assert_eq!(peer.order(ADD, "two", &[]), Reply::Done);
        refused(peer.order(ADD, "two", &[]), "already");
        assert_eq!(peer.state("two"), Some(0));
        assert_eq!(log(&pod, "two"), "", "added is not started");
        assert_eq!(peer.order(START, "two", &[]), Reply::Done);
        peer.until("two", 1);
        eventually("the second app's output is in its log", || log(&pod, "two").contains("two-says").then_some(()));
        eventually("it has its own root", || log(&pod, "two").contains("example.com/two").then_some(()));
        for kind in ["pid", "ipc", "uts", "net"] {
            let key = format!("ns.{kind}");
            assert_eq!(logged(&pod, "one", &key), logged(&pod, "two", &key), "{kind} is not shared");
        }
        assert_ne!(logged(&pod, "one", "ns.mnt"), logged(&pod, "two", "ns.mnt"));

        refused(peer.order(REMOVE, "two", &[]), "still running");
        assert_eq!(peer.state("two"), Some(1));
        assert_eq!(peer.order(STOP, "two", &[0]), Reply::Done);
        peer.until("two", 2);
        assert_eq!(peer.state("one"), Some(1), "the pod goes on without it");
        assert_eq!(peer.order(REMOVE, "two", &[]), Reply::Done);
        assert_eq!(peer.state("two"), None);
        refused(peer.order(START, "two", &[]), "nonexistent app");
        // And again under the same name.
        assert_eq!(peer.order(ADD, "two", &[]), Reply::Done);
        assert_eq!(peer.order(START, "two", &[]), Reply::Done);
        peer.until("two", 1);
        assert_eq!(peer.order(STOP, "two", &[1]), Reply::Done);
        peer.until("two", 2);

        assert_eq!(peer.frame(&[STOP_POD, 0]), Reply::Done);
        ended(s, &mut child);
        assert_eq!(status(s, &first, "state").as_deref(), Some("exited"));
        call(s, &["rm", &first, &second]).ok();
    }
}

root_test! {
    fn outlives_its_apps(s) {
        let image = probe(s);
        let uuid = prepare(s, &image, &["exit", "5"]);
        let (mut child, pod) = tests::mutable::start(s, "--net=none", &uuid);
        let mut peer = Peer::to(&pod);
        peer.until("probe", 2);
        assert_eq!(peer.list()[0].3, Some(5));
        assert_eq!(peer.order(REMOVE, "probe", &[]), Reply::Done);
        assert_eq!(peer.list(), []);
        assert_eq!(peer.frame(&[STOP_POD, 1]), Reply::Done);
        ended(s, &mut child);
        call(s, &["rm", &uuid]).ok();
    }
}

root_test! {
    fn malformed(s) {
        let uuid = prepare(s, &probe(s), &["forever"]);
        let (mut child, pod) = tests::mutable::start(s, "--net=none", &uuid);
        Peer::to(&pod).until("probe", 1);
        // Half a frame, held open all the while: nobody waits for it.
        let mut half = Peer::to(&pod);
        half.bytes(&[0, 0, 0, 9, ADD]);
        for body in [
            &[][..],
            &[0],
            &[99],
            &[LIST, 0],
            &[ADD],
            &[ADD, 0, 200, b'x'],
            &[ADD, 0, 4, b'.', b'.', b'/', b'x'],
            &[ADD, 0, 1, 0xff],
            &[STOP, 0, 5, b'p', b'r', b'o', b'b', b'e', 7],
            &[STOP_POD, 2],
        ] {
            let reply = Peer::to(&pod).frame(body);
            assert!(matches!(reply, Reply::Closed | Reply::Error(_)), "{body:?}: {reply:?}");
        }
        let mut huge = Peer::to(&pod);
        huge.bytes(&[0xff, 0xff, 0xff, 0xff, LIST]);
        assert_eq!(huge.reply(), Reply::Closed);
        // More connections than are served at once, silent and gone again.
        let crowd: Vec<Peer> = (0..60).map(|_| Peer::to(&pod)).collect();
        drop(crowd);
        // One frame in single bytes.
        let mut slow = eventually("a place is free again", || {
            let mut peer = Peer::to(&pod);
            (peer.frame(&[LIST]) != Reply::Closed).then_some(peer)
        });
        for byte in [0, 0, 0, 1, LIST] {
            slow.bytes(&[byte]);
        }
        assert!(matches!(slow.reply(), Reply::Apps(apps) if apps.len() == 1));
        assert_eq!(slow.state("probe"), Some(1), "the app did not notice");
        assert_eq!(slow.frame(&[STOP_POD, 0]), Reply::Done);
        ended(s, &mut child);
        drop(half);
        call(s, &["rm", &uuid]).ok();
    }
}

root_test! {
    fn strangers(s) {
        let uuid = prepare(s, &probe(s), &["forever"]);
        let (mut child, pod) = tests::mutable::start(s, "--net=none", &uuid);
        let mut ours = Peer::to(&pod);
        ours.until("probe", 1);
        let socket = pod.join("control");
        let mode = |path: &Path| fs::metadata(path).expect("the pod runs").permissions().mode() & 0o777;
        assert_eq!(mode(&socket), 0o600);
        assert_eq!(mode(&pod) & 0o007, 0, "others see into the pod");
        // Even where every door stands open, the kernel tells who knocks.
        let mut doors: Vec<&Path> = pod.ancestors().take_while(|d| d.starts_with(s.path())).collect();
        doors.push(&socket);
        for door in doors {
            fs::set_permissions(door, fs::Permissions::from_mode(0o777)).expect("our own directory");
        }
        let answer = std::thread::scope(|scope| {
            let stranger = scope.spawn(|| {
                let nobody = rustix::process::Uid::from_raw(65534);
                // The call changes this thread only.
                rustix::thread::set_thread_res_uid(nobody, nobody, nobody).expect("root may");
                Peer::to(&pod).frame(&[STOP_POD, 1])
            });
            stranger.join().expect("the stranger got an answer")
        });
        refused(answer, "permission denied");
        assert_eq!(ours.state("probe"), Some(1));
        assert_eq!(ours.frame(&[STOP_POD, 0]), Reply::Done);
        ended(s, &mut child);
        // Root works on no data directory that everybody may write to.
        fs::set_permissions(s.data(), fs::Permissions::from_mode(0o755)).expect("our own directory");
        call(s, &["rm", &uuid]).ok();
    }
}

root_test! {
    fn immutable(s) {
        let (pod, uuid) = start(s, &probe(s), &[], &["forever"]);
        let dir = s.data().join("pods/run").join(&uuid);
        let mut peer = Peer::to(&dir);
        for (what, switches) in [(ADD, &[][..]), (START, &[]), (STOP, &[0]), (REMOVE, &[])] {
            refused(peer.order(what, "probe", switches), "immutable pod");
        }
        let [(name, 1, Some(_), None)] = &peer.list()[..] else {
            panic!("one running app: {:?}", peer.list());
        };
        assert_eq!(name, "probe");
        let init = status(s, &uuid, "pid").and_then(|pid| pid.parse().ok()).expect("the pod runs");
        assert_ne!(namespace(init, "pid"), namespace(pod.pid(), "pid"));
        assert_eq!(peer.frame(&[STOP_POD, 0]), Reply::Done);
        pod.end();
    }
}
