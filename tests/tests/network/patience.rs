//! What never answers costs a minute, and not for ever: a CNI program that hangs, a DHCP server that says only rubbish.
//!
//! The limits are a minute each, which this test has to wait for; for both at once.

use crate::cni::{answers, program, tried};
use crate::{image, network};
use serde_json::json;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tests::host::Traces;
use tests::lab::Lab;
use tests::{Rkt, net_test};

/// Answers every DISCOVER on the far side with rubbish until told to stop; returns how often it was asked.
fn rubbish(lab: &Lab, over: Arc<AtomicBool>) -> std::thread::JoinHandle<u32> {
    let socket = lab.far(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 67)));
    let socket = socket.expect("a port on the far side");
    socket.set_broadcast(true).expect("a socket option");
    let short = Some(Duration::from_millis(100));
    socket
        .set_read_timeout(short)
        .expect("a timeout that is not zero");
    std::thread::spawn(move || {
        let mut asked = 0;
        let mut buffer = [0; 1500];
        while !over.load(Ordering::Relaxed) {
            let Ok((len, _)) = socket.recv_from(&mut buffer) else {
                continue;
            };
            asked += 1;
            for answer in rubbish_for(&buffer[..len]) {
                let _ = socket.send_to(&answer, (Ipv4Addr::BROADCAST, 68));
            }
        }
        asked
    })
}

/// Cut at every kind of place, options that run beyond the end, an address that is nobody's to give.
fn rubbish_for(question: &[u8]) -> Vec<Vec<u8>> {
    let mut offer = question.to_vec();
    offer[0] = 2;
    let cut = |at: usize| offer[..at.min(offer.len())].to_vec();
    let mut all: Vec<Vec<u8>> = [0, 1, 100, 239, 240, 241, 243].map(cut).to_vec();
    let with = |options: &[u8]| [&cut(240)[..], options].concat();
    all.push(with(&[53, 1, 2, 1, 255, 255]));
    let mut loopback = with(&[
        53, 1, 2, 54, 4, 192, 0, 2, 2, 1, 4, 255, 0, 255, 0, 51, 4, 0, 0, 0, 0, 3, 3, 1, 2, 3, 255,
    ]);
    loopback[16..20].copy_from_slice(&[127, 0, 0, 1]);
    all.push(loopback);
    all
}

net_test! {
    fn what_never_answers(lab) {
        network(lab, "10-c.conf", &json!({"cniVersion": "0.4.0", "name": "c", "type": "crook"}));
        crate::dhcp::configure(lab);
        program(lab, "crook", &format!("[ $CNI_COMMAND = DEL ] || exec sleep 1000\n{}", answers("")));
        let before = Traces::now(lab.path());
        let over = Arc::new(AtomicBool::new(false));
        let server = rubbish(lab, over.clone());
        let image = image(lab);
        let waiting = ["--net=c", "--net=default,d"].map(|net| {
            Rkt::new(&lab.scratch).args(["run", net]).arg(&image).args(["--", "echo", "the-app-ran"]).spawn()
        });
        let ended = waiting.map(|pod| pod.wait(Duration::from_secs(200)).code(254));
        over.store(true, Ordering::Relaxed);
        assert!(server.join().expect("the thread that answers") > 0, "nobody asked for an address");
        for out in &ended {
            assert!(!out.stdout.contains("the-app-ran"), "{out}");
        }
        let [program, dhcp] = ended;
        program.stderr_has("crook");
        assert!(dhcp.stderr.to_lowercase().contains("dhcp"), "{dhcp}");
        assert_eq!(tried(lab), ["ADD crook", "DEL crook"]);
        tests::host::assert_nothing_left(&before, lab.path());
    }
}
