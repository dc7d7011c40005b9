//! A mutable pod on the default network: it has its addresses before any app, apps that come later share them.
//!
//! The pod is started as stage0 starts one: prepared, moved to `run` under its lock, then handed to stage1 with
//! `--mutable`. Orders are frames of the control socket, `[what, length of the name, name]`.

use crate::{APP, call, image, leases, reach, status};
use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use tests::lab::{FAR4, HOST4, within};
use tests::net_test;
use tests::proc::eventually;
use tests::talk::{Protocol, ask, serve_everywhere};

const START: u8 = 2;
const STOP: u8 = 3;
const STOP_POD: u8 = 7;
const DONE: u8 = 1;

/// Sends one order; whether it was carried out.
fn order(pod: &Path, body: &[u8]) -> bool {
    let mut socket = eventually("the supervisor takes orders", || {
        UnixStream::connect(pod.join("control")).ok()
    });
    let len = u32::try_from(body.len()).expect("short frames");
    socket
        .write_all(&[&len.to_be_bytes()[..], body].concat())
        .expect("a frame");
    let mut answer = [0; 5];
    socket.read_exact(&mut answer).expect("an answer");
    answer[4] == DONE
}

fn about(what: u8, app: &str, switches: &[u8]) -> Vec<u8> {
    let len = u16::try_from(app.len()).expect("short names");
    [&[what][..], &len.to_be_bytes(), app.as_bytes(), switches].concat()
}

net_test! {
    fn apps_share_it(lab) {
        lab.far(|| serve_everywhere(7000)).expect("a server on the far side");
        let image = image(lab).display().to_string();
        let uuid = call(lab, &["prepare", &image, "--", "serve", &APP.to_string(), "then", "forever"]).ok().stdout;
        let uuid = uuid.trim();
        let (mut child, pod) = tests::mutable::start(&lab.scratch, "--net=default", uuid);
        let own = eventually("the pod has an address", || {
            let networks = status(lab, uuid, "networks");
            let ip4 = networks.split(", ").next()?.strip_prefix("default:ip4=")?;
            ip4.parse::<IpAddr>().ok()
        });
        eventually("the app answers", || ask(Protocol::Tcp, (own, APP).into()).ok());
        // Stopped and started again, the app has the same network.
        assert!(order(&pod, &about(STOP, "probe", &[1])));
        eventually("the app is over", || ask(Protocol::Tcp, (own, APP).into()).is_err().then_some(()));
        let netns = std::fs::read_to_string(pod.join("netns")).expect("the namespace's file");
        let seen = within(Path::new(netns.trim()), || ask(Protocol::Tcp, (FAR4, 7000).into()));
        assert_eq!(seen.ok(), Some(HOST4), "the network outlives its apps");
        eventually("the app starts again", || order(&pod, &about(START, "probe", &[])).then_some(()));
        eventually("the app answers again", || ask(Protocol::Tcp, (own, APP).into()).ok());
        reach(Protocol::Udp, own, APP);
        assert!(order(&pod, &[STOP_POD, 1]));
        eventually("stage1 ends", || child.try_wait().expect("our child"));
        assert_eq!(leases("default"), [""; 0]);
        call(lab, &["rm", uuid]).ok();
    }
}
