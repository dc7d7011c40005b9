//! `ipam: dhcp` against Debian's udhcpd on the far side: the lease becomes the address, is renewed while the pod lives,
//! and released at its end.

use crate::{APP, Pod, network, reach_from_far};
use serde_json::json;
use std::process::{Child, Command, Stdio};
use tests::host::Traces;
use tests::isolated::find;
use tests::lab::{FAR4, Lab};
use tests::proc::eventually;
use tests::talk::Protocol;
use tests::{net_test, skip, view};

/// The server, killed when the test is over; what it says is in a file.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// udhcpd on the far side's end of the cable, or why there is none: addresses from 192.0.2.100 to `last`, for so many
/// seconds each.
fn server(lab: &Lab, last: u8, seconds: u32) -> Result<Server, &'static str> {
    let program = find("udhcpd").ok_or("needs `udhcpd` (Debian: udhcpd)")?;
    let at = |leaf: &str| lab.scratch.at(leaf).display().to_string();
    let conf = lab.scratch.write(
        "udhcpd.conf",
        format!(
            "start 192.0.2.100\nend 192.0.2.{last}\ninterface far0\nmin_lease 1\nmax_leases 6\n\
             lease_file {}\npidfile {}\noption subnet 255.255.255.0\noption router 192.0.2.2\n\
             option dns 192.0.2.53\noption domain dhcp.example\noption lease {seconds}\n",
            lab.scratch.write("udhcpd.leases", "").display(),
            at("udhcpd.pid")
        ),
    );
    let log = std::fs::File::create(lab.scratch.at("udhcpd.log"))
        .expect("a file in the scratch directory");
    let child = lab.far(|| {
        Command::new(program)
            .args(["-f", "-I", "192.0.2.2"])
            .arg(conf)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("an open file"))
            .stderr(log)
            .spawn()
    });
    Ok(Server(child.expect("udhcpd was found")))
}

fn said(lab: &Lab, word: &str) -> usize {
    let text = std::fs::read_to_string(lab.scratch.at("udhcpd.log")).unwrap_or_default();
    text.matches(word).count()
}

pub(crate) fn configure(lab: &Lab) {
    network(
        lab,
        "10-d.conf",
        &json!({
            "cniVersion": "0.4.0", "name": "d", "type": "macvlan", "master": "world", "ipam": {"type": "dhcp"},
        }),
    );
}

net_test! {
    fn a_lease_is_taken_and_renewed(lab) {
        configure(lab);
        let before = Traces::now(lab.path());
        let server = match server(lab, 105, 4) {
            Ok(server) => server,
            Err(reason) => skip!("{reason}"),
        };
        let pod = Pod::start(lab, &["--net=d"]);
        let own = pod.address(lab, "d", "ip4");
        assert!(own.to_string().starts_with("192.0.2.10"), "{own}");
        let lines = view::of(&pod.netns());
        for line in [format!("address eth0 {own}/24 global"), "route default via 192.0.2.2 dev eth0".to_owned()] {
            assert!(lines.iter().any(|l| l.starts_with(&line)), "no {line:?} in {lines:#?}");
        }
        assert_eq!(reach_from_far(lab, Protocol::Tcp, own, APP), FAR4);
        let resolv = crate::call(lab, &["enter", &pod.uuid, "/probe", "cat", "/etc/resolv.conf"]).ok().stdout;
        assert!(resolv.contains("nameserver 192.0.2.53"), "{resolv}");
        eventually("the lease is renewed", || (said(lab, "sending ACK") >= 2).then_some(()));
        // Longer than one lease lasts: without renewal the address would be gone by now.
        eventually("and again", || (said(lab, "sending ACK") >= 4).then_some(()));
        assert_eq!(reach_from_far(lab, Protocol::Tcp, own, APP), FAR4);
        pod.end(lab);
        drop(server);
        tests::host::assert_nothing_left(&before, lab.path());
    }
}

net_test! {
    /// One address, for an hour: the next pod, which is another client, has it only if the one before gave it back.
    fn a_lease_is_released_with_the_pod(lab) {
        configure(lab);
        let server = match server(lab, 100, 3600) {
            Ok(server) => server,
            Err(reason) => skip!("{reason}"),
        };
        for _ in 0..2 {
            let pod = Pod::start(lab, &["--net=d"]);
            assert_eq!(pod.address(lab, "d", "ip4").to_string(), "192.0.2.100");
            pod.end(lab);
        }
        drop(server);
    }
}
