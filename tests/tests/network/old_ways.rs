//! Kernels that lack something: no nf_tables, no packet filter at all, by a filter that gives the errors of such a kernel.
//!
//! Without nf_tables the rules go into the legacy xtables; without these as well, ports are forwarded by a process, and
//! masquerading is refused with the reason.

use crate::{APP, Pod, call, image, leases, network, reach, reach_from_far, silent};
use serde_json::json;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::{Child, Command, Stdio};
use tests::host::Traces;
use tests::isolated::find;
use tests::lab::{FAR4, FAR6, HOST4, HOST6, Lab, tool, within};
use tests::proc::eventually;
use tests::talk::{Protocol, ask_briefly, serve, serve_everywhere};
use tests::{Output, Rkt, net_test, skip};

const LOCAL: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];
const FORWARDS: [&str; 2] = ["--port=http:18000", "--port=query:18000"];

/// `narrow WITHOUT rkt ARGS…`
fn command(lab: &Lab, without: &str, args: &[&str]) -> Command {
    let rkt = Rkt::new(&lab.scratch).args(args).command();
    let mut command = Command::new(tests::rkt::probe().with_file_name("narrow"));
    command
        .arg(without)
        .arg(rkt.get_program())
        .args(rkt.get_args());
    command.stdin(Stdio::null());
    command
}

#[track_caller]
fn narrow(lab: &Lab, without: &str, args: &[&str]) -> Output {
    let mut command = command(lab, without, args);
    let output = command
        .output()
        .expect("`narrow` is built beside the probe");
    Output::of(format!("{command:?}"), &output)
}

/// A pod started on such a kernel, in the foreground; later calls may have the whole kernel.
struct Narrow {
    child: Child,
    uuid: String,
}

impl Narrow {
    #[track_caller]
    fn start(lab: &Lab, without: &str, flags: &[&str]) -> Narrow {
        let save = lab.scratch.at("uuid");
        let _ = std::fs::remove_file(&save);
        let flag = format!("--uuid-file-save={}", save.display());
        let image = image(lab).display().to_string();
        let port = APP.to_string();
        let args = [
            &["run", &flag][..],
            flags,
            &[
                &image, "--", "serve", &port, "then", "write", "/tmp/up", "x", "then", "forever",
            ],
        ]
        .concat();
        let mut child = command(lab, without, &args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("`narrow` is built beside the probe");
        let uuid = eventually("the app serves", || {
            if let Some(status) = child.try_wait().expect("our child") {
                let mut text = String::new();
                let _ = child.stderr.take().map(|mut e| e.read_to_string(&mut text));
                panic!("the pod did not start: {status}\n{text}");
            }
            let uuid = std::fs::read_to_string(&save)
                .ok()
                .filter(|u| u.len() == 36)?;
            let up = call(lab, &["enter", &uuid, "/probe", "exists", "/tmp/up"]);
            up.stdout.contains("exists=true").then_some(uuid)
        });
        Narrow { child, uuid }
    }

    #[track_caller]
    fn end(mut self, lab: &Lab, without: &str) {
        narrow(lab, without, &["stop", "--force", &self.uuid]).ok();
        eventually("the pod is over", || {
            self.child.try_wait().expect("our child")
        });
    }
}

/// What the legacy tables hold, without counters.
fn legacy() -> Vec<String> {
    let mut all = Vec::new();
    for save in ["iptables-legacy-save", "ip6tables-legacy-save"] {
        all.extend(
            tool(save, &[])
                .lines()
                .filter(|l| l.starts_with("-A") || l.starts_with(":") && l.contains(" - "))
                .map(str::to_owned),
        );
    }
    all
}

fn no_legacy() -> Option<&'static str> {
    if find("iptables-legacy-save").is_none() {
        return Some("needs `iptables-legacy` (Debian: iptables)");
    }
    let known = Command::new("iptables-legacy")
        .args(["-t", "nat", "-S"])
        .output();
    (!known.is_ok_and(|o| o.status.success())).then_some("this kernel has no legacy xtables")
}

net_test! {
    fn without_nf_tables_by_xtables(lab) {
        if let Some(reason) = no_legacy() {
            skip!("{reason}");
        }
        lab.far(|| serve_everywhere(7000)).expect("a server on the far side");
        let before = legacy();
        let pod = Narrow::start(lab, "nf_tables", &FORWARDS);
        let rules = legacy();
        assert!(rules.len() > before.len() && rules.iter().any(|r| r.contains("MASQUERADE")), "{rules:#?}");
        assert!(!tests::host::tables().iter().any(|t| t.contains("rkt-")), "{:?}", tests::host::tables());
        for protocol in Protocol::ALL {
            for (host, far) in [(HOST4, FAR4), (HOST6, FAR6)] {
                assert_eq!(reach_from_far(lab, protocol, host, 18000), far, "{protocol}");
                reach(protocol, host, 18000);
                let at = std::net::SocketAddr::from((far, 7000)).to_string();
                let out = call(lab, &["enter", &pod.uuid, "/probe", "ask", &protocol.to_string(), &at]).ok();
                assert_eq!(out.fact("seen"), host.to_string(), "masqueraded");
                let at = std::net::SocketAddr::from((host, 18000)).to_string();
                let out = call(lab, &["enter", &pod.uuid, "/probe", "ask", &protocol.to_string(), &at]).ok();
                assert!(out.fact("seen").parse::<IpAddr>().is_ok(), "hairpin\n{out}");
            }
            for local in LOCAL {
                reach(protocol, local, 18000);
            }
        }
        pod.end(lab, "nf_tables");
        assert_eq!(legacy(), before, "rules are left");
        silent(Protocol::Tcp, HOST4, 18000);
    }
}

net_test! {
    fn a_bridge_by_xtables(lab) {
        if let Some(reason) = no_legacy() {
            skip!("{reason}");
        }
        network(lab, "10-ring.conf", &json!({
            "name": "ring", "type": "bridge", "bridge": "ring0", "isGateway": true, "ipMasq": true,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.94.0.0/24"}], [{"subnet": "fd00:94::/64"}]],
                     "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]},
        }));
        let flags = [&FORWARDS[..], &["--net=ring"]].concat();
        let one = Narrow::start(lab, "nf_tables", &flags);
        let two = Narrow::start(lab, "nf_tables", &["--net=ring"]);
        for (protocol, filtered) in Protocol::ALL.into_iter().flat_map(|p| [(p, true), (p, false)]) {
            crate::reach::filter_bridged(filtered);
            for host in [HOST4, HOST6] {
                for (pod, who) in [(&two, "the neighbour"), (&one, "the pod itself")] {
                    let at = std::net::SocketAddr::from((host, 18000)).to_string();
                    let out = call(lab, &["enter", &pod.uuid, "/probe", "ask", &protocol.to_string(), &at]).ok();
                    let seen = out.fact("seen");
                    assert!(seen.parse::<IpAddr>().is_ok(), "{who}, {protocol}, {host}, filtered: {filtered}: {seen}");
                }
            }
        }
        one.end(lab, "nf_tables");
        two.end(lab, "nf_tables");
    }
}

net_test! {
    fn xtables_rules_of_killed_pods_are_removed_by_gc(lab) {
        if let Some(reason) = no_legacy() {
            skip!("{reason}");
        }
        // Somebody else's rules stand before and after ours, and stay as they are.
        tool("iptables-legacy", &["-t", "nat", "-A", "POSTROUTING", "-s", "203.0.113.0/24", "-j", "MASQUERADE"]);
        tool("iptables-legacy", &["-t", "nat", "-N", "OTHERS"]);
        let before = legacy();
        let mut pods: Vec<Narrow> = (0..3).map(|i| {
            let flag = format!("--port=http:{}", 18000 + i);
            Narrow::start(lab, "nf_tables", &[&flag])
        }).collect();
        tool("iptables-legacy", &["-t", "nat", "-A", "OTHERS", "-j", "RETURN"]);
        for pod in &mut pods {
            let init: i32 = crate::status(lab, &pod.uuid, "pid").parse().expect("status knows the pid");
            pod.child.kill().expect("our child");
            tests::proc::eventually("the pod is over", || pod.child.try_wait().expect("our child"));
            let _ = rustix::process::kill_process(rustix::process::Pid::from_raw(init).expect("a pid"), rustix::process::Signal::KILL);
            eventually("it counts as exited", || (crate::status(lab, &pod.uuid, "state") == "exited").then_some(()));
        }
        // gc may well run on the whole kernel: it takes away what it finds, whichever way it was made.
        call(lab, &["gc", "--grace-period=0s"]).ok();
        call(lab, &["gc", "--grace-period=0s"]).ok();
        let mut left = legacy();
        left.retain(|l| l != "-A OTHERS -j RETURN");
        assert_eq!(left, before);
        assert_eq!(leases("default"), [""; 0]);
    }
}

net_test! {
    /// As with nf_tables (CVE-2020-8558): what listens on the host's loopback stays out of a pod's reach.
    fn xtables_guard_the_hosts_loopback(lab) {
        if let Some(reason) = no_legacy() {
            skip!("{reason}");
        }
        serve((LOCAL[0], 7000).into()).expect("a server on the host's loopback");
        let pod = Narrow::start(lab, "nf_tables", &FORWARDS);
        let netns = format!("/proc/{}/ns/net", crate::status(lab, &pod.uuid, "pid"));
        let netns = std::path::Path::new(&netns);
        within(netns, || {
            tool("ip", &["addr", "del", "127.0.0.1/8", "dev", "lo"]);
            tool("ip", &["route", "add", "127.0.0.0/8", "via", "172.16.28.1", "dev", "eth0"]);
            std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1").expect("a setting of the pod's network");
        });
        for protocol in Protocol::ALL {
            let got = within(netns, || ask_briefly(protocol, (LOCAL[0], 7000).into()));
            assert!(got.is_err(), "the host's loopback answers {protocol}: {got:?}");
        }
        pod.end(lab, "nf_tables");
    }
}

net_test! {
    fn without_any_filter_ports_go_by_a_process(lab) {
        network(lab, "10-n.conf", &json!({
            "cniVersion": "0.4.0", "name": "n", "type": "ptp", "ipam": {"type": "host-local",
                "ranges": [[{"subnet": "10.93.0.0/24"}], [{"subnet": "fd00:93::/64"}]], "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]},
        }));
        let flags = [&FORWARDS[..], &["--net=n"]].concat();
        let pod = Narrow::start(lab, "netfilter", &flags);
        for protocol in Protocol::ALL {
            for host in [HOST4, HOST6] {
                reach_from_far(lab, protocol, host, 18000);
                reach(protocol, host, 18000);
                let at = std::net::SocketAddr::from((host, 18000)).to_string();
                let out = call(lab, &["enter", &pod.uuid, "/probe", "ask", &protocol.to_string(), &at]).ok();
                assert!(out.fact("seen").parse::<IpAddr>().is_ok(), "hairpin\n{out}");
            }
            for local in LOCAL {
                reach(protocol, local, 18000);
            }
        }
        pod.end(lab, "netfilter");
        silent(Protocol::Tcp, HOST4, 18000);
        assert_eq!(leases("n"), [""; 0]);
    }
}

net_test! {
    fn without_any_filter_masquerading_is_refused(lab) {
        let image = image(lab).display().to_string();
        let before = Traces::now(lab.path());
        let out = narrow(lab, "netfilter", &["run", &image, "--", "echo", "the-app-ran"]).code(254);
        assert!(!out.stdout.contains("the-app-ran"), "{out}");
        out.stderr_has("masquerad").stderr_has("nf_tables").stderr_has("xtables");
        tests::host::assert_nothing_left(&before, lab.path());
        // A network that needs none works.
        narrow(lab, "netfilter", &["run", "--net=default-restricted", &image, "--", "echo", "x"]).ok();
    }
}

net_test! {
    fn doctor_tells_which_way_is_taken(lab) {
        let told = |without: &str| {
            let out = if without.is_empty() { call(lab, &["doctor"]) } else { narrow(lab, without, &["doctor"]) };
            format!("{}{}", out.stdout, out.stderr)
        };
        let whole = told("");
        let lines = |text: &str| text.lines().filter(|l| l.contains("nf_tables") || l.contains("xtables") || l.contains("proxy")).map(str::to_owned).collect::<Vec<_>>();
        assert!(!lines(&whole).is_empty(), "{whole}");
        for without in ["nf_tables", "netfilter"] {
            assert_ne!(lines(&whole), lines(&told(without)), "doctor does not tell a kernel without {without}\n{whole}");
        }
    }
}

net_test! {
    fn a_pod_of_the_whole_kernel_beside_one_of_the_old(lab) {
        if let Some(reason) = no_legacy() {
            skip!("{reason}");
        }
        let old = Narrow::start(lab, "nf_tables", &["--port=http:18000"]);
        let new = Pod::start(lab, &["--port=http:18001"]);
        for port in [18000, 18001] {
            for local in LOCAL {
                reach(Protocol::Tcp, local, port);
            }
            assert_eq!(reach_from_far(lab, Protocol::Tcp, HOST4, port), FAR4);
        }
        new.end(lab);
        reach(Protocol::Tcp, HOST4, 18000);
        old.end(lab, "nf_tables");
    }
}
