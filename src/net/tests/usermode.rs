//! Networks of ordinary users with the real programs: a host and a far side in
//! network namespaces of the test's own, a user in a user namespace, and a pod's
//! network namespace made in there.
//!
//! The user's side is forked before the servers' threads are started; it does one
//! thing after another as the test asks for it. A process with threads cannot fork,
//! so these tests have a `main` of their own, which speaks libtest's words.

#![expect(clippy::unwrap_used, reason = "tests")]

use net::usermode::{self, Found, Program, Request};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::mount::{MountFlags, mount, mount_bind};
use rustix::pipe::{PipeFlags, pipe_with};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use sys::clone::{Forked, Namespaces, fork_into};
use sys::{creds, ns, process, signal, userns};
use tests::isolated;
use tests::lab::{FAR4, FAR6, HOST4, HOST6, Lab, ip, within};
use tests::talk::{Protocol, ask, ask_briefly, serve, serve_everywhere};

const USER: u32 = 54321;
const OUTSIDE: u16 = 7000;
/// What only the host's own processes are to reach.
const PRIVATE: u16 = 7001;

const TESTS: [(&str, fn()); 5] = [
    (
        "each_program_leads_out_and_not_to_the_hosts_loopback",
        each_program_leads_out_and_not_to_the_hosts_loopback,
    ),
    ("name_servers_are_the_hosts", name_servers_are_the_hosts),
    (
        "the_network_ends_with_the_pod",
        the_network_ends_with_the_pod,
    ),
    (
        "a_program_that_cannot_start_says_why",
        a_program_that_cannot_start_says_why,
    ),
    ("a_host_of_one_family_or_none", a_host_of_one_family_or_none),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let says = |word: &str| args.iter().any(|arg| arg == word);
    let ignored = says("--ignored");
    // `--list --format terse` lists all of them.
    let wanted = args
        .iter()
        .find(|arg| !arg.starts_with('-') && !says("--list"));
    let matches = |name: &str| match wanted {
        Some(wanted) if says("--exact") => name == wanted,
        Some(wanted) => name.contains(wanted.as_str()),
        None => true,
    };
    let mut passed = 0;
    for (name, body) in TESTS.iter().filter(|(name, _)| !ignored && matches(name)) {
        match says("--list") {
            true => println!("{name}: test"),
            false => {
                println!("test {name} ...");
                body();
                passed += 1;
            }
        }
    }
    if !says("--list") {
        println!("\ntest result: ok. {passed} passed; 0 failed");
    }
}

#[track_caller]
fn alone(test: &str, body: fn()) {
    isolated::isolated_in(&[isolated::Mode::Private], test, body);
}

/// Hosts give everybody the device; this one may not.
fn give_tun() {
    mount("tmpfs", "/dev/net", "tmpfs", MountFlags::empty(), None).unwrap();
    let device = rustix::fs::makedev(10, 200);
    let mode = Mode::from_raw_mode(0o666);
    rustix::fs::mknodat(CWD, "/dev/net/tun", FileType::CharacterDevice, mode, device).unwrap();
    rustix::fs::chmod("/dev/net/tun", mode).unwrap();
}

fn lab(name: &str, resolv_conf: &str) -> Option<(Lab, Vec<Found>)> {
    let found = usermode::find();
    let skipped = |reason: String| -> Option<(Lab, Vec<Found>)> {
        tests::skip::record(&reason);
        None
    };
    if found.is_empty() {
        return skipped("needs pasta or slirp4netns (Debian: passt, slirp4netns)".into());
    }
    if !Path::new("/dev/net/tun").exists() {
        return skipped("no /dev/net/tun in this kernel".into());
    }
    let lab = match Lab::new(name) {
        Ok(lab) => lab,
        Err(reason) => return skipped(reason),
    };
    give_tun();
    let file = lab.scratch.write("resolv.conf", resolv_conf);
    mount_bind(&file, "/etc/resolv.conf").unwrap();
    Some((lab, found))
}

/// A user with a pod's network namespace, before and after it got its network.
struct User {
    pid: i32,
    orders: Option<OwnedFd>,
    told: BufReader<File>,
}

/// What `start` gave.
struct Pod {
    init: i32,
    /// The process that attends the program, and the program.
    attending: Vec<i32>,
    addresses: Vec<IpAddr>,
    servers: Vec<IpAddr>,
}

impl User {
    fn new(programs: &[Found]) -> User {
        let (orders, orders_end) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (told, told_end) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        // A thread that was joined is gone a moment later.
        while !sys::clone::single_threaded() {
            std::thread::sleep(Duration::from_millis(1));
        }
        match fork_into(Namespaces::NONE, None).unwrap() {
            Forked::Child => {
                drop((orders_end, told));
                let status = user_side(File::from(orders), File::from(told_end), programs);
                process::exit_now(status)
            }
            Forked::Parent(pid) => User {
                pid,
                orders: Some(orders_end),
                told: BufReader::new(File::from(told)),
            },
        }
    }

    fn order(&self, word: &[u8]) {
        rustix::io::write(self.orders.as_ref().unwrap(), word).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.told.read_line(&mut line).unwrap();
        line.trim_end().to_string()
    }

    fn start(&mut self) -> std::result::Result<Pod, String> {
        self.order(b"s");
        let first = self.line();
        let Some(init) = first.strip_prefix("init ") else {
            return Err(first);
        };
        let list = |text: String| -> Vec<IpAddr> {
            let words = text.split(' ').filter(|word| !word.is_empty());
            words.map(|word| word.parse().unwrap()).collect()
        };
        let (addresses, servers) = (list(self.line()), list(self.line()));
        eprintln!("{}", self.line());
        Ok(Pod {
            init: init.parse().unwrap(),
            attending: attending(self.pid),
            addresses,
            servers,
        })
    }

    /// The user's process ends without a word to anybody, as `kill -9` has it.
    fn vanish(self) {
        signal::send(self.pid, signal::KILL).unwrap();
        process::wait(self.pid).unwrap();
    }
}

impl Pod {
    fn netns(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.init))
    }

    fn asks(&self, protocol: Protocol, ip: IpAddr, port: u16) -> std::io::Result<IpAddr> {
        within(&self.netns(), || ask(protocol, (ip, port).into()))
    }

    fn is_refused(&self, ip: IpAddr, port: u16) {
        for protocol in Protocol::ALL {
            let seen = within(&self.netns(), || ask_briefly(protocol, (ip, port).into()));
            assert!(seen.is_err(), "{protocol} {ip}:{port}: {seen:?}");
        }
    }

    fn kill(&self) {
        signal::send(self.init, signal::KILL).unwrap();
    }

    /// None of the network's processes is left.
    #[track_caller]
    fn is_gone(&self) {
        assert!(!self.attending.is_empty());
        let deadline = Instant::now() + Duration::from_secs(10);
        let alive = || self.attending.iter().any(|pid| is_alive(*pid));
        while alive() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(!alive(), "{:?} are still there", self.attending);
    }
}

fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest.chars().next());
    !matches!(state, None | Some(Some('Z')))
}

/// The processes below the user's that are called `rkt-net`, and theirs.
fn attending(user: i32) -> Vec<i32> {
    let children = |pid: i32| -> Vec<i32> {
        let path = format!("/proc/{pid}/task/{pid}/children");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace()
            .map(|word| word.parse().unwrap())
            .collect()
    };
    let name = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let mut found: Vec<i32> = children(user);
    found.retain(|pid| name(*pid).trim() == "rkt-net");
    let programs: Vec<i32> = found.iter().flat_map(|pid| children(*pid)).collect();
    found.extend(programs);
    found
}

/// What an ordinary user's rkt does around `usermode::start`.
fn user_side(mut orders: File, mut told: File, programs: &[Found]) -> i32 {
    creds::set_groups(USER, &[]).unwrap();
    creds::set_user(USER).unwrap();
    creds::set_dumpable(true).unwrap();
    assert!(!usermode::needed(), "not in a user namespace yet");
    ns::unshare(Namespaces::USER.and(Namespaces::MOUNT)).unwrap();
    userns::map_to_zero(USER, USER).unwrap();
    assert!(usermode::needed());
    let (leash, leash_end) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let (life, life_end) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let init = match fork_into(Namespaces::PID.and(Namespaces::NET), None).unwrap() {
        Forked::Child => {
            drop((leash, life_end, orders, told));
            assert!(!usermode::needed(), "this network namespace is ours");
            sys::net::loopback_up().unwrap();
            let _ = rustix::io::read(&life, &mut [0; 1]);
            drop(leash_end);
            process::exit_now(0)
        }
        Forked::Parent(pid) => pid,
    };
    drop((leash_end, life));
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let netns = rustix::fs::open(format!("/proc/{init}/ns/net"), flags, Mode::empty()).unwrap();
    let request = Request {
        netns: netns.as_fd(),
        leash: leash.as_fd(),
        if_name: "eth0",
        programs,
    };
    let mut word = [0];
    while orders.read(&mut word).unwrap() == 1 {
        begin(&request, init, &mut told);
    }
    drop(life_end);
    0
}

fn begin(request: &Request<'_>, init: i32, told: &mut File) {
    let before = Instant::now();
    let started = usermode::start(request, &mut |_| {});
    let took = before.elapsed();
    match started {
        Ok(attachment) => {
            let outcome = attachment.added.outcome;
            let ips: Vec<String> = outcome
                .ips
                .iter()
                .map(|ip| ip.address.ip.to_string())
                .collect();
            let program = attachment.plugin_path;
            let text = format!(
                "init {init}\n{}\n{}\n{program}: ready after {took:?}\n",
                ips.join(" "),
                outcome.dns.nameservers.join(" "),
            );
            told.write_all(text.as_bytes()).unwrap();
        }
        Err(fault) => told.write_all(format!("{fault}\n").as_bytes()).unwrap(),
    }
}

fn loopbacks() -> [IpAddr; 2] {
    [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
}

/// Servers everywhere: the far side's answer, the host's loopback is to stay out of reach.
fn serve_all(lab: &Lab) {
    lab.far(|| serve_everywhere(OUTSIDE)).unwrap();
    lab.far(|| serve_everywhere(53)).unwrap();
    for address in loopbacks() {
        serve((address, PRIVATE).into()).unwrap();
    }
    for address in ["127.0.0.53:53", "[::1]:53"] {
        serve(address.parse::<SocketAddr>().unwrap()).unwrap();
    }
}

fn each_program_leads_out_and_not_to_the_hosts_loopback() {
    alone(
        "each_program_leads_out_and_not_to_the_hosts_loopback",
        || {
            let Some((lab, found)) = lab("usermode-reach", "nameserver 127.0.0.53\n") else {
                return;
            };
            let mut users: Vec<(Program, User)> = found
                .iter()
                .map(|found| (found.program, User::new(std::slice::from_ref(found))))
                .collect();
            serve_all(&lab);
            for (program, user) in &mut users {
                let pod = user.start().unwrap();
                let [v4, v6] = pod.addresses[..] else {
                    panic!("{program:?}: {:?}", pod.addresses)
                };
                assert!(v4.is_ipv4() && v6.is_ipv6());
                for protocol in Protocol::ALL {
                    assert_eq!(pod.asks(protocol, FAR4, OUTSIDE).unwrap(), HOST4);
                    assert_eq!(pod.asks(protocol, FAR6, OUTSIDE).unwrap(), HOST6);
                }
                // The stub on the host's loopback answers names, and nothing else does.
                let [server] = pod.servers[..] else {
                    panic!("{program:?}: {:?}", pod.servers)
                };
                let seen = pod.asks(Protocol::Udp, server, 53).unwrap();
                assert!(seen.is_loopback(), "{seen}");
                for ip in loopbacks()
                    .into_iter()
                    .chain(gateways(*program))
                    .chain([server])
                {
                    pod.is_refused(ip, PRIVATE);
                }
                pod.kill();
                pod.is_gone();
            }
        },
    );
}

fn gateways(program: Program) -> [IpAddr; 2] {
    let v6 = match program {
        Program::Pasta => "fd72:6b74:1c::2",
        Program::Slirp4netns => "fd00::2",
    };
    ["172.16.28.2", v6].map(|ip| ip.parse().unwrap())
}

fn name_servers_are_the_hosts() {
    alone("name_servers_are_the_hosts", || {
        let text = "nameserver 192.0.2.2\nnameserver 2001:db8::2\nnameserver ::1\n";
        let Some((lab, found)) = lab("usermode-names", text) else {
            return;
        };
        let mut users: Vec<User> = found
            .iter()
            .map(|found| User::new(std::slice::from_ref(found)))
            .collect();
        serve_all(&lab);
        for user in &mut users {
            let pod = user.start().unwrap();
            assert_eq!(pod.servers, [FAR4, FAR6]);
            for protocol in Protocol::ALL {
                assert_eq!(pod.asks(protocol, FAR4, 53).unwrap(), HOST4);
                assert_eq!(pod.asks(protocol, FAR6, 53).unwrap(), HOST6);
            }
        }
    });
}

/// Whoever goes first, and however: no process stays.
fn the_network_ends_with_the_pod() {
    alone("the_network_ends_with_the_pod", || {
        let Some((_lab, found)) = lab("usermode-end", "") else {
            return;
        };
        for found in &found {
            let programs = std::slice::from_ref(found);
            // The pod is killed under a user's process that follows it.
            let mut user = User::new(programs);
            let pod = user.start().unwrap();
            assert_eq!(pod.servers, [] as [IpAddr; 0]);
            pod.kill();
            pod.is_gone();
            // The user's process is killed and the pod lives on, as a detached one does.
            let mut user = User::new(programs);
            let pod = user.start().unwrap();
            let attending = pod.attending.clone();
            // The pod's init hangs on this process' pipe, so it is stopped meanwhile.
            signal::send(pod.init, libc_stop()).unwrap();
            user.vanish();
            std::thread::sleep(Duration::from_millis(100));
            assert!(attending.iter().all(|pid| is_alive(*pid)));
            pod.kill();
            pod.is_gone();
            // Whoever kills the one that attends kills the program.
            let mut user = User::new(programs);
            let pod = user.start().unwrap();
            signal::send(pod.attending[0], signal::KILL).unwrap();
            pod.is_gone();
        }
    });
}

fn libc_stop() -> i32 {
    rustix::process::Signal::STOP.as_raw()
}

fn a_program_that_cannot_start_says_why() {
    alone("a_program_that_cannot_start_says_why", || {
        let Some((_lab, found)) = lab("usermode-fault", "") else {
            return;
        };
        // On the lab's own tmpfs, where the user may look.
        let script = |name: &str, text: &str| {
            let path = Path::new("/run").join(name);
            std::fs::write(&path, text).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(&path, mode).unwrap();
            Found {
                program: Program::Pasta,
                path,
            }
        };
        let start = |programs: &[Found]| User::new(programs).start().map(|pod| pod.addresses);
        let loud = script(
            "loud",
            "#!/bin/sh\necho 'Failed to send 9 bytes to syslog' >&2\necho no luck >&2\nexit 3\n",
        );
        assert_eq!(
            start(std::slice::from_ref(&loud)).unwrap_err(),
            "pasta: no luck"
        );
        let mute = script("mute", "#!/bin/sh\nexit 3\n");
        assert_eq!(
            start(std::slice::from_ref(&mute)).unwrap_err(),
            "pasta: ended with exit status 3"
        );
        let lying = script("lying", "#!/bin/sh\necho 1\nexec sleep 100\n");
        let fault = start(&[lying]).unwrap_err();
        assert!(
            fault.starts_with("pasta: ") && fault.contains("\"eth0\""),
            "{fault}"
        );
        let absent = Found {
            program: Program::Slirp4netns,
            path: "/run/absent".into(),
        };
        let fault = start(&[mute, absent]).unwrap_err();
        assert!(
            fault.contains("exit status 3; slirp4netns: exec "),
            "{fault}"
        );
        // The next one is tried.
        let good = found[0].clone();
        assert!(start(&[loud, good]).is_ok());
    });
}

fn a_host_of_one_family_or_none() {
    alone("a_host_of_one_family_or_none", || {
        let Some((lab, found)) = lab(
            "usermode-families",
            "nameserver 127.0.0.1\nnameserver ::1\n",
        ) else {
            return;
        };
        ip("-6 route del default").unwrap();
        for found in &found {
            let mut user = User::new(std::slice::from_ref(found));
            let pod = user.start().unwrap();
            let v6 = pod.addresses.iter().filter(|ip| ip.is_ipv6()).count();
            assert_eq!((pod.addresses.len(), v6), (1, 0), "{found:?}");
            assert_eq!(pod.servers.len(), 1);
        }
        ip("-4 route del default").unwrap();
        ip("-6 route add default via 2001:db8::2").unwrap();
        for found in &found {
            let pod = User::new(std::slice::from_ref(found)).start().unwrap();
            assert!(pod.addresses.iter().any(IpAddr::is_ipv6), "{found:?}");
        }
        drop(lab);
    });
}
