//! A network over a pod's life: prepared, detached, entered, stopped, killed, collected; a reboot; other programs' rules.

use crate::{
    APP, Pod, address, call, image, ip, leases, reach, reach_from_far, silent, status, stored,
};
use rustix::process::{Pid, Signal, kill_process};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use tests::host::Traces;
use tests::isolated::{Mode, find};
use tests::lab::{FAR4, HOST4, Lab, tool, within};
use tests::proc::eventually;
use tests::talk::{Protocol, ask, serve_everywhere};
use tests::{Rkt, net_test, skip};

/// A detached pod on the default network whose app answers; its UUID.
#[track_caller]
fn detached(lab: &Lab, flags: &[&str]) -> String {
    let save = lab.scratch.at("uuid");
    let _ = std::fs::remove_file(&save);
    Rkt::new(&lab.scratch)
        .args(["run", "--detach"])
        .args(flags)
        .arg(format!("--uuid-file-save={}", save.display()))
        .arg(stored(lab))
        .args(["--", "serve", &APP.to_string(), "then", "forever"])
        .run()
        .ok();
    let uuid = std::fs::read_to_string(&save).expect("--uuid-file-save wrote the file");
    let own = address(lab, &uuid, "default", "ip4");
    eventually("the app answers", || {
        ask(Protocol::Tcp, (own, APP).into()).ok()
    });
    uuid
}

fn netns(lab: &Lab, uuid: &str) -> PathBuf {
    let file = lab.scratch.data().join("pods/run").join(uuid).join("netns");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{file:?}: {e}"));
    PathBuf::from(text.trim())
}

/// Pid 1 of the pod as the host numbers it.
fn init(lab: &Lab, uuid: &str) -> i32 {
    eventually("status knows the pid", || {
        status(lab, uuid, "pid").parse().ok().filter(|p| *p > 1)
    })
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).expect("a pid"), Signal::KILL)
        .expect("the process was alive a moment ago");
}

fn our_tables() -> Vec<String> {
    tests::host::tables()
        .into_iter()
        .filter(|t| t.contains("rkt-"))
        .collect()
}

net_test! {
    fn detached_and_stopped(lab) {
        let uuid = detached(lab, &["--port=http:18000"]);
        reach_from_far(lab, Protocol::Tcp, HOST4, 18000);
        let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 18000)).map(drop);
        assert!(taken.is_err(), "the port of a detached pod is not reserved");
        call(lab, &["stop", &uuid]).ok();
        silent(Protocol::Tcp, HOST4, 18000);
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, 18000)).expect("the port is free after the pod");
        call(lab, &["gc", "--grace-period=0s"]).ok();
        assert_eq!(leases("default"), [""; 0]);
    }
}

net_test! {
    in &Mode::ALL,
    fn the_rules_of_a_detached_pod_go_with_its_first_process(lab) {
        if find("nft").is_none() {
            skip!("needs `nft` (Debian: nftables)");
        }
        let uuid = detached(lab, &["--port=http:18000"]);
        assert_eq!(our_tables().len(), 2, "one for each family: {:?}", our_tables());
        reach_from_far(lab, Protocol::Tcp, HOST4, 18000);
        kill(init(lab, &uuid));
        eventually("the rules are gone", || our_tables().is_empty().then_some(()));
        eventually("the port is free", || TcpListener::bind((Ipv4Addr::UNSPECIFIED, 18000)).ok());
        // The rest waits for gc; that the address is still taken keeps it from another pod meanwhile.
        assert_eq!(leases("default").len(), 2);
        eventually("the pod counts as exited", || (status(lab, &uuid, "state") == "exited").then_some(()));
        let file = netns(lab, &uuid);
        assert!(file.exists());
        call(lab, &["rm", &uuid]).ok();
        assert_eq!(leases("default"), [""; 0]);
        assert!(!file.exists());
    }
}

net_test! {
    fn another_programs_flush_spares_them(lab) {
        if find("nft").is_none() {
            skip!("needs `nft` (Debian: nftables)");
        }
        lab.far(|| serve_everywhere(7000)).expect("a server on the far side");
        let pod = Pod::start(lab, &["--port=http:18000"]);
        tool("nft", &["add table ip other"]);
        tool("nft", &["flush", "ruleset"]);
        assert_eq!(our_tables().len(), 2, "{:?}", tests::host::tables());
        assert!(!tests::host::tables().contains("ip other"), "the flush did its work");
        reach_from_far(lab, Protocol::Tcp, HOST4, 18000);
        assert_eq!(pod.ask(Protocol::Tcp, FAR4, 7000), HOST4);
        pod.end(lab);
    }
}

net_test! {
    fn a_signal_to_the_foreground_takes_it_all_down(lab) {
        for signal in [Signal::TERM, Signal::INT] {
            let before = Traces::now(lab.path());
            let pod = Pod::start(lab, &["--port=http:18000"]);
            let file = pod.netns();
            pod.running.signal(signal);
            pod.running.end();
            assert!(!file.exists());
            assert_eq!(leases("default"), [""; 0]);
            tests::host::assert_nothing_left(&before, lab.path());
        }
    }
}

net_test! {
    fn the_foreground_process_killed(lab) {
        let pod = Pod::start(lab, &["--port=http:18000"]);
        pod.running.signal(Signal::KILL);
        pod.running.end();
        eventually("the pod stops in order", || (status(lab, &pod.uuid, "state") == "exited").then_some(()));
        eventually("the port is free", || TcpListener::bind((Ipv4Addr::UNSPECIFIED, 18000)).ok());
        eventually("the rules are gone", || our_tables().is_empty().then_some(()));
        call(lab, &["rm", &pod.uuid]).ok();
        assert_eq!(leases("default"), [""; 0]);
    }
}

net_test! {
    fn gc_spares_the_networks_of_running_pods(lab) {
        let stays = Pod::start(lab, &["--port=http:18000"]);
        let goes = detached(lab, &[]);
        kill(init(lab, &goes));
        eventually("the pod counts as exited", || (status(lab, &goes, "state") == "exited").then_some(()));
        call(lab, &["gc", "--grace-period=0s"]).ok();
        assert_eq!(leases("default").len(), 2);
        reach_from_far(lab, Protocol::Tcp, HOST4, 18000);
        stays.end(lab);
    }
}

net_test! {
    /// After a reboot the leases are there, the namespaces and their files are not.
    fn what_a_reboot_left_is_freed_by_gc(lab) {
        let uuids: Vec<String> = (0..3).map(|_| detached(lab, &[])).collect();
        for uuid in &uuids {
            kill(init(lab, uuid));
            eventually("the pod counts as exited", || (status(lab, uuid, "state") == "exited").then_some(()));
        }
        let files: Vec<PathBuf> = uuids.iter().map(|uuid| netns(lab, uuid)).collect();
        for file in &files {
            rustix::mount::unmount(file, rustix::mount::UnmountFlags::empty()).expect("a mount of this test's own");
        }
        // One file is still there and no mount, one is gone, and of one a stranger took the name.
        std::fs::remove_file(&files[1]).expect("the file is there");
        std::fs::write(&files[2], "a stranger's").expect("the file is there");
        assert_eq!(leases("default").len(), 6);
        call(lab, &["gc", "--grace-period=0s"]).ok();
        call(lab, &["gc", "--grace-period=0s"]).ok();
        assert_eq!(leases("default"), [""; 0]);
        for file in &files {
            let _ = std::fs::remove_file(file);
        }
        Pod::start(lab, &[]).end(lab);
    }
}

net_test! {
    fn the_directory_of_leases_is_gone(lab) {
        let uuid = detached(lab, &[]);
        kill(init(lab, &uuid));
        eventually("the pod counts as exited", || (status(lab, &uuid, "state") == "exited").then_some(()));
        std::fs::remove_dir_all("/var/lib/cni").expect("the leases are this test's own");
        call(lab, &["rm", &uuid]).ok();
        Pod::start(lab, &[]).end(lab);
    }
}

net_test! {
    fn prepared_pods_join_when_they_run(lab) {
        let image = image(lab).display().to_string();
        let out = Rkt::new(&lab.scratch)
            .args(["prepare", "--port=http:18000", &image, "--", "serve", "8000", "then", "forever"])
            .run()
            .ok();
        let uuid = out.stdout.trim().to_owned();
        assert_eq!(leases("default"), [""; 0], "a prepared pod has no address");
        let mut running = Rkt::new(&lab.scratch).args(["run-prepared", "--net=default:IP=172.16.28.99", &uuid]).spawn();
        running.until("serving");
        assert_eq!(address(lab, &uuid, "default", "ip4"), ip("172.16.28.99"));
        reach_from_far(lab, Protocol::Tcp, HOST4, 18000);
        call(lab, &["stop", "--force", &uuid]).ok();
        running.end();
        assert_eq!(leases("default"), [""; 0]);
        assert_eq!(status(lab, &uuid, "state"), "exited");
    }
}

net_test! {
    fn run_prepared_with_what_cannot_be(lab) {
        let image = image(lab).display().to_string();
        let uuid = call(lab, &["prepare", &image, "--", "echo", "x"]).ok().stdout.trim().to_owned();
        call(lab, &["run-prepared", "--net=nosuch", &uuid]).code(254).stderr_has("networks not found: nosuch");
        assert_eq!(tests::host::leases().len(), 0);
        call(lab, &["rm", &uuid]).ok();
    }
}

net_test! {
    in &Mode::ALL,
    fn entering_shares_the_pods_network(lab) {
        lab.far(|| serve_everywhere(7000)).expect("a server on the far side");
        let pod = Pod::start(lab, &[]);
        let out = call(lab, &["enter", &pod.uuid, "/probe", "ask", "tcp", "192.0.2.2:7000", "then", "facts"]).ok();
        assert_eq!(out.fact("seen"), "192.0.2.1");
        let inside = within(&pod.netns(), || std::fs::read_link("/proc/thread-self/ns/net")).expect("a namespace");
        assert_eq!(out.fact("ns.net"), inside.display().to_string());
        let out = call(lab, &["enter", &pod.uuid, "/probe", "ask", "tcp", "127.0.0.1:8000"]).ok();
        assert_eq!(out.fact("seen"), "127.0.0.1");
        pod.end(lab);
    }
}

net_test! {
    fn a_pod_sees_nothing_of_the_hosts_namespace_files(lab) {
        let pod = Pod::start(lab, &[]);
        let out = call(lab, &["enter", &pod.uuid, "/probe", "exists", "/run/netns", "then", "facts"]).ok();
        assert_eq!(out.fact("exists"), "false");
        let seen: Vec<String> = out.facts("mount").into_iter().filter(|m| m.contains("netns") || m.contains("nsfs")).collect();
        assert_eq!(seen, [""; 0]);
        pod.end(lab);
    }
}

net_test! {
    fn list_and_status_after_the_end(lab) {
        let pod = Pod::start(lab, &[]);
        let uuid = pod.uuid.clone();
        let running = status(lab, &uuid, "networks");
        assert!(running.starts_with("default:ip4=172.16.28.2"), "{running}");
        pod.end(lab);
        call(lab, &["status", &uuid]).ok().stdout_has("state=exited");
        call(lab, &["list"]).ok();
    }
}

net_test! {
    fn ip_forwarding_is_switched_on_and_nothing_else(lab) {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let strict = ["all", "default", "world"].map(|link| format!("/proc/sys/net/ipv4/conf/{link}/route_localnet"));
        let pod = Pod::start(lab, &["--port=http:18000"]);
        assert_eq!(read("/proc/sys/net/ipv4/ip_forward"), "1");
        assert_eq!(read("/proc/sys/net/ipv6/conf/all/forwarding"), "1");
        for path in &strict {
            assert_eq!(read(path), "0", "{path}: loopback packets are let in from elsewhere");
        }
        reach(Protocol::Tcp, ip("127.0.0.1"), 18000);
        pod.end(lab);
        assert!(Path::new("/proc/sys/net/ipv4/conf/world").exists());
    }
}
