//! What a network costs: what ptp and bridge add to a start without one, a start with the default network against
//! podman's, and how much goes through a forwarded port from another host, again against podman's.
//!
//! The bench starts itself again in mount and network namespaces of its own, with a namespace `far` as the other host.
//! No packet leaves them. podman runs on the same tree (`--rootfs`), with its own default network.

use crate::clock::{self, Peer};
use crate::start;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tests::tar::Entry;
use tests::{Aci, Rkt, Scratch, isolated};

const PORT: u16 = 15201;
const TURNS: u32 = 3;

/// The host's surroundings: `/run` of its own, and another host behind `up0`.
const SURROUNDINGS: &str = "
    mount -t tmpfs run /run && mkdir -p /run/lock /run/netns &&
    mount -t tmpfs leases /var/lib/cni 2>/dev/null || { mkdir -p /var/lib/cni && mount -t tmpfs leases /var/lib/cni; }
    ip link set lo up &&
    ip netns add far && ip link add up0 type veth peer name up1 netns far &&
    ip addr add 192.0.2.1/24 dev up0 && ip link set up0 up &&
    ip -n far addr add 192.0.2.2/24 dev up1 && ip -n far link set up1 up && ip -n far link set lo up &&
    ip route add default via 192.0.2.2 &&
    exec \"$0\" network";

pub(crate) fn network(scratch: &Scratch) {
    if std::env::var_os("RKT_BENCH_NETWORK").is_none() {
        let status = Command::new("unshare")
            .args([
                "--mount",
                "--net",
                "--propagation",
                "private",
                "sh",
                "-c",
                SURROUNDINGS,
            ])
            .arg(std::env::current_exe().expect("/proc/self/exe is readable"))
            .env("RKT_BENCH_NETWORK", "1")
            .status();
        if !status.is_ok_and(|status| status.success()) {
            println!(
                "missing: `unshare --mount --net` with `ip netns` (Debian: util-linux iproute2)"
            );
        }
        return;
    }
    starts(scratch);
    throughput(scratch);
}

fn starts(scratch: &Scratch) {
    let (id, rootfs) = start::stored_and_rendered(scratch);
    scratch.mkdir("etc/net.d");
    scratch.write(
        "etc/net.d/10-lan.conf",
        json!({"name": "lan", "type": "bridge", "bridge": "lan0", "isGateway": true, "ipMasq": true,
            "ipam": {"type": "host-local", "subnet": "10.77.0.0/16", "routes": [{"dst": "0.0.0.0/0"}]}})
        .to_string(),
    );
    let own = |name: &'static str, net: &'static str| {
        let (data, local, id) = (scratch.data(), scratch.at("etc"), id.clone());
        Peer {
            name,
            command: Box::new(move |_| {
                let mut command = Command::new(tests::rkt::binary());
                command.arg(format!("--dir={}", data.display()));
                command.arg(format!("--local-config={}", local.display()));
                command.args(["run", net, &id, "--", "exit", "0"]);
                command
            }),
        }
    };
    let peers = [
        own("none", "--net=none"),
        own("ptp", "--net=default"),
        own("bridge", "--net=lan"),
    ];
    // Back to back each start meets the kernel still busy with the namespace of the one before.
    for (how, blocks, block, pause) in [
        ("back to back, median of 60", 6, 10, Duration::ZERO),
        ("once a second, median of 12", 4, 3, Duration::from_secs(1)),
    ] {
        let added = clock::medians(&peers, blocks, block, pause);
        clock::print(
            &format!("a network's part in a start, {how}"),
            &peers,
            &added,
        );
        if let [Some(none), Some(ptp), Some(bridge)] = added[..] {
            let more = |took| clock::ms(took) - clock::ms(none);
            println!(
                "  ptp adds {:.2} ms, bridge {:.2} ms (goal 6)",
                more(ptp),
                more(bridge)
            );
        }
    }
    start::sweep(scratch);
    let Some(podman) = podman(scratch) else {
        return;
    };
    let peers = [
        own("rkt", "--net=default"),
        Peer {
            name: "podman",
            command: Box::new(move |_| {
                let mut command = podman(&["run", "--rm", "--rootfs"]);
                command.arg(&rootfs).args(["/probe", "exit", "0"]);
                command
            }),
        },
    ];
    let medians = clock::medians(&peers, 3, 3, Duration::ZERO);
    clock::print(
        "start to exit with the default network, median of 9 (goal 0.10)",
        &peers,
        &medians,
    );
    start::sweep(scratch);
}

/// podman, with all that it keeps in the scratch directory.
fn podman(scratch: &Scratch) -> Option<impl Fn(&[&str]) -> Command + use<>> {
    let Some(program) = isolated::find("podman") else {
        println!("missing peer: podman (Debian: podman)");
        return None;
    };
    let conf = scratch.write(
        "containers.conf",
        "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n",
    );
    let root = scratch.mkdir("podman");
    Some(move |words: &[&str]| {
        let mut command = Command::new(&program);
        command
            .env("CONTAINERS_CONF", &conf)
            .arg("--root")
            .arg(&root);
        command.args([
            "--runroot=/run/podman",
            "--tmpdir=/run/podman-tmp",
            "--storage-driver=overlay",
        ]);
        command.arg("--cgroup-manager=cgroupfs").args(words);
        command
    })
}

fn throughput(scratch: &Scratch) {
    let Some(iperf) = isolated::find("iperf3") else {
        return println!("missing peer: iperf3 (Debian: iperf3)");
    };
    let files = with_libraries(&iperf);
    let mut image = Aci::new("example.com/iperf", &["/usr/bin/iperf3", "-s", "-1"]).app(
        "ports",
        json!([{"name": "iperf", "protocol": "tcp", "port": 5201}]),
    );
    let tree = scratch.mkdir("iperf-tree");
    for dir in ["tmp", "etc"] {
        std::fs::create_dir_all(tree.join(dir)).expect("a directory below the scratch directory");
        image = image.with(Entry::dir(&format!("rootfs/{dir}")));
    }
    for file in &files {
        let bytes = std::fs::read(file).expect("a library that the loader finds");
        let inside = file.strip_prefix("/").expect("ldd prints absolute paths");
        let target = tree.join(inside);
        std::fs::create_dir_all(target.parent().expect("it has a file name"))
            .expect("a directory of ours");
        std::fs::copy(file, &target).expect("a copy below the scratch directory");
        image = image.with(Entry::program(
            &format!("rootfs/{}", inside.display()),
            bytes,
        ));
    }
    let image = image.write(scratch.path());
    Rkt::new(scratch).args(["fetch"]).arg(&image).run().ok();
    let data = scratch.data();
    let rkt = move || {
        let mut command = Command::new(tests::rkt::binary());
        command.arg(format!("--dir={}", data.display()));
        command.args([
            "--insecure-options=image",
            "run",
            &format!("--port=iperf:{PORT}"),
            "example.com/iperf",
        ]);
        command
    };
    println!(
        "\nTCP through a forwarded port from another host, best of {TURNS} runs of 5 s (goal 0.95 of podman)"
    );
    let mut best: Vec<(&str, f64, String)> = Vec::new();
    let peer = podman(scratch).map(|podman| {
        move || {
            let mut command = podman(&["run", "--rm", &format!("-p={PORT}:5201"), "--rootfs"]);
            command.arg(&tree).args(["/usr/bin/iperf3", "-s", "-1"]);
            command
        }
    });
    for _ in 0..TURNS {
        note(&mut best, "rkt", rkt());
        if let Some(peer) = &peer {
            note(&mut best, "podman", peer());
        }
    }
    let own = best.first().map_or(0.0, |(_, rate, _)| *rate);
    for (name, rate, shown) in &best {
        println!(
            "  {name:12} {:9.2} Gbit/s  rkt/{name:<8} {:6.2}   {shown}",
            rate / 1e9,
            own / rate
        );
    }
    start::sweep(scratch);
}

fn note(best: &mut Vec<(&'static str, f64, String)>, name: &'static str, server: Command) {
    let words = std::iter::once(server.get_program()).chain(server.get_args());
    let shown = words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ");
    let Some(rate) = transfer(server) else {
        return println!("  {name} failed: {shown}");
    };
    match best.iter_mut().find(|(known, ..)| *known == name) {
        Some((_, known, _)) => *known = known.max(rate),
        None => best.push((name, rate, shown)),
    }
}

/// Bits per second that the server got.
fn transfer(mut server: Command) -> Option<f64> {
    let mut running = server
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let end = Instant::now() + Duration::from_secs(20);
    let mut rate = None;
    while rate.is_none() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(300));
        let client = Command::new("ip")
            .args([
                "netns",
                "exec",
                "far",
                "iperf3",
                "-J",
                "-t",
                "5",
                "-c",
                "192.0.2.1",
                "-p",
            ])
            .arg(PORT.to_string())
            .output()
            .ok()?;
        let said: Value = serde_json::from_slice(&client.stdout).unwrap_or_default();
        rate = said["end"]["sum_received"]["bits_per_second"].as_f64();
    }
    wait(&mut running);
    rate
}

/// A server of one run ends by itself; one that was never reached is killed.
fn wait(running: &mut Child) {
    for _ in 0..50 {
        if let Ok(Some(_)) = running.try_wait() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let _ = running.kill();
    let _ = running.wait();
}

/// The program and what the loader wants for it.
fn with_libraries(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd")
        .arg(program)
        .output()
        .expect("ldd is a part of libc-bin");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = said
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from);
    std::iter::once(program.to_path_buf())
        .chain(found)
        .collect()
}
