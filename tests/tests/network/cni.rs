//! CNI programs: what they are told, in what order, what their answers become, and that none of their misdeeds (errors,
//! garbage, floods, hanging) costs more than the pod that asked for them.
//!
//! The programs are shell scripts in `net.d`, where rkt looks first; each writes what it was told into the scratch
//! directory.

use crate::{APP, Pod, call, leases, network, network_text, reach_from_far, run};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tests::host::Traces;
use tests::lab::{FAR4, HOST4, Lab, tool};
use tests::proc::eventually;
use tests::talk::Protocol;
use tests::{isolated, net_test};

const RESULT: &str =
    r#"{"cniVersion": "0.4.0", "ips": [{"version": "4", "address": "10.61.0.2/24"}], "dns": {}}"#;

/// A program `net.d/<name>`: notes its command, keeps its input and environment, then does `body`.
pub(crate) fn program(lab: &Lab, name: &str, body: &str) -> PathBuf {
    lab.scratch.mkdir("etc/net.d");
    let path = lab.scratch.at("etc/net.d").join(name);
    write_program(lab, &path, name, body);
    path
}

fn write_program(lab: &Lab, path: &Path, name: &str, body: &str) {
    let dir = lab.path().display();
    let script = format!(
        "#!/bin/sh\n\
         echo \"$CNI_COMMAND {name}\" >>{dir}/calls\n\
         cat >{dir}/$CNI_COMMAND-{name}.json\n\
         env >{dir}/$CNI_COMMAND-{name}.env\n\
         {body}\n"
    );
    std::fs::write(path, script).expect("a program in the scratch directory");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(path, mode).expect("our own file");
}

/// Answers ADD with this, and DEL with nothing.
pub(crate) fn answers(result: &str) -> String {
    format!("if [ $CNI_COMMAND = ADD ]; then cat <<'END'\n{result}\nEND\nfi")
}

fn calls(lab: &Lab) -> Vec<String> {
    let text = std::fs::read_to_string(lab.scratch.at("calls")).unwrap_or_default();
    text.lines()
        .filter(|l| !l.starts_with("VERSION"))
        .map(str::to_owned)
        .collect()
}

/// As `calls`, each once: a DEL may be repeated, it says nothing new.
pub(crate) fn tried(lab: &Lab) -> Vec<String> {
    let mut all = calls(lab);
    let mut seen = Vec::new();
    all.retain(|c| {
        !seen.contains(c) && {
            seen.push(c.clone());
            true
        }
    });
    all
}

fn forget_calls(lab: &Lab) {
    let _ = std::fs::remove_file(lab.scratch.at("calls"));
}

#[track_caller]
fn input(lab: &Lab, call: &str) -> Value {
    let text = std::fs::read_to_string(lab.scratch.at(&format!("{call}.json")))
        .unwrap_or_else(|e| panic!("the program was not called with {call}: {e}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{call}: {e}\n{text}"))
}

#[track_caller]
fn variable(lab: &Lab, call: &str, name: &str) -> String {
    let text = std::fs::read_to_string(lab.scratch.at(&format!("{call}.env")))
        .unwrap_or_else(|e| panic!("the program was not called with {call}: {e}"));
    let start = format!("{name}=");
    let found = text.lines().find_map(|l| l.strip_prefix(&start));
    found
        .unwrap_or_else(|| panic!("no {name} in\n{text}"))
        .to_owned()
}

net_test! {
    fn what_a_program_is_told(lab) {
        program(lab, "scribe", &answers(RESULT));
        network_text(lab, "10-s.conf", &json!({
            "cniVersion": "0.4.0", "name": "s", "type": "scribe", "deep": {"big": 12345678901234567u64, "list": [1, null, "ü"]},
            "capabilities": {"portMappings": true},
        }).to_string());
        let pod = Pod::start(lab, &["--net=s:IP=10.61.0.2;COLOUR=blue", "--port=http:18000"]);
        let netns = pod.netns().display().to_string();
        for call in ["ADD-scribe", "DEL-scribe"] {
            if call == "DEL-scribe" {
                assert_eq!(pod.address(lab, "s", "ip4").to_string(), "10.61.0.2");
                call_stop(lab, &pod);
                eventually("DEL", || lab.scratch.at("DEL-scribe.env").exists().then_some(()));
            }
            for (name, value) in [
                ("CNI_COMMAND", &call[..3]),
                ("CNI_CONTAINERID", &pod.uuid),
                ("CNI_NETNS", &netns),
                ("CNI_IFNAME", "eth0"),
                ("CNI_ARGS", "IP=10.61.0.2;COLOUR=blue"),
                ("CNI_VERSION", "0.1.0"),
            ] {
                assert_eq!(variable(lab, call, name), value, "{call} {name}");
            }
            let path = variable(lab, call, "CNI_PATH");
            let own = lab.scratch.at("etc/net.d").display().to_string();
            assert!(path.starts_with(&format!("{own}:/usr/lib/rkt/plugins/net")), "{path}");
            let told = input(lab, call);
            assert_eq!(told["deep"], json!({"big": 12345678901234567u64, "list": [1, null, "ü"]}), "{told}");
            assert_eq!((&told["name"], &told["cniVersion"]), (&json!("s"), &json!("0.4.0")));
            let ports = &told["runtimeConfig"]["portMappings"][0];
            assert_eq!((&ports["hostPort"], &ports["containerPort"], &ports["protocol"]), (&json!(18000), &json!(APP), &json!("tcp")));
            assert_eq!(told.get("prevResult").is_some(), call == "DEL-scribe", "{told}");
        }
        assert_eq!(input(lab, "DEL-scribe")["prevResult"]["ips"][0]["address"], "10.61.0.2/24");
        assert_eq!(calls(lab), ["ADD scribe", "DEL scribe"]);
        pod.running.end();
    }
}

fn call_stop(lab: &Lab, pod: &Pod) {
    call(lab, &["stop", "--force", &pod.uuid]).ok();
}

net_test! {
    fn results_of_every_version(lab) {
        for (version, result) in [
            ("0.1.0", r#"{"ip4": {"ip": "10.62.0.9/24", "gateway": "10.62.0.1", "routes": [{"dst": "0.0.0.0/0"}]}, "dns": {}}"#),
            ("0.2.0", r#"{"cniVersion": "0.2.0", "ip4": {"ip": "10.62.0.9/24"}, "ip6": {"ip": "fd00:62::9/64"}}"#),
            ("0.3.1", r#"{"cniVersion": "0.3.1", "interfaces": [{"name": "eth0", "sandbox": "/x"}], "ips": [{"version": "4", "interface": 0, "address": "10.62.0.9/24"}]}"#),
            ("0.4.0", r#"{"cniVersion": "0.4.0", "ips": [{"version": "4", "address": "10.62.0.9/24"}, {"version": "6", "address": "fd00:62::9/64"}]}"#),
            ("1.0.0", r#"{"cniVersion": "1.0.0", "ips": [{"address": "fd00:62::9/64"}, {"address": "10.62.0.9/24"}], "more": 1}"#),
            ("1.1.0", r#"{"cniVersion": "1.1.0", "interfaces": [{"name": "eth0", "mtu": 1400}], "ips": [{"interface": 0, "address": "10.62.0.9/24"}], "routes": [{"dst": "0.0.0.0/0", "priority": 9}]}"#),
        ] {
            program(lab, "old", &answers(result));
            network(lab, "10-v.conf", &json!({"cniVersion": version, "name": "v", "type": "old"}));
            let pod = Pod::start(lab, &["--net=v"]);
            assert_eq!(pod.address(lab, "v", "ip4").to_string(), "10.62.0.9", "{version}");
            if result.contains("fd00:62::9") {
                assert_eq!(pod.address(lab, "v", "ip6").to_string(), "fd00:62::9", "{version}");
            }
            pod.end(lab);
        }
        // A result without any address is one.
        program(lab, "old", &answers("{\"cniVersion\": \"0.4.0\"}"));
        network(lab, "10-v.conf", &json!({"cniVersion": "0.4.0", "name": "v", "type": "old"}));
        run(lab, &["--net=v"], &["echo", "x"]).ok();
    }
}

net_test! {
    fn where_programs_are_looked_for(lab) {
        // The second place is a directory of the host, so the host's /usr/lib gets a lid for the time of this test.
        let (upper, work) = (lab.scratch.mkdir("upper"), lab.scratch.mkdir("work"));
        let options = format!("lowerdir=/usr/lib,upperdir={},workdir={}", upper.display(), work.display());
        let options = std::ffi::CString::new(options).expect("paths of the scratch directory");
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("overlay", "/usr/lib", "overlay", flags, Some(options.as_c_str())).expect("an overlay");
        let second = Path::new("/usr/lib/rkt/plugins/net");
        std::fs::create_dir_all(second).expect("a directory of the lid");
        write_program(lab, &second.join("ptp"), "second", &answers(RESULT));
        network(lab, "10-p.conf", &json!({"cniVersion": "0.4.0", "name": "p", "type": "ptp"}));
        let pod = Pod::start(lab, &["--net=p"]);
        let told = call(lab, &["status", "--format=json", &pod.uuid]).ok().json();
        assert_eq!(told["networks"][0]["pluginPath"], "/usr/lib/rkt/plugins/net/ptp");
        pod.end(lab);
        let first = program(lab, "first", &answers(RESULT));
        let link = lab.scratch.at("etc/net.d/ptp");
        std::os::unix::fs::symlink(first, link).expect("a symlink to a program counts");
        run(lab, &["--net=p"], &["echo", "x"]).ok();
        assert_eq!(calls(lab), ["ADD second", "DEL second", "ADD first", "DEL first"]);
        // Detached: this very process has libraries open below it.
        rustix::mount::unmount("/usr/lib", rustix::mount::UnmountFlags::DETACH).expect("the lid");
    }
}

#[track_caller]
fn refused(lab: &Lab, parts: &[&str]) {
    let before = Traces::now(lab.path());
    let mut out = run(lab, &["--net=default,c"], &["echo", "the-app-ran"]).code(254);
    assert!(!out.stdout.contains("the-app-ran"), "{out}");
    for part in parts {
        out = out.stderr_has(part);
    }
    assert!(
        out.stderr.len() < 20_000,
        "{} bytes of messages",
        out.stderr.len()
    );
    assert_eq!(leases("default"), [""; 0]);
    tests::host::assert_nothing_left(&before, lab.path());
}

net_test! {
    fn programs_that_fail(lab) {
        network(lab, "10-c.conf", &json!({"cniVersion": "0.4.0", "name": "c", "type": "crook"}));
        let on_add = |body: &str| format!("[ $CNI_COMMAND = ADD ] || exit 0\n{body}");
        let refusal = r#"echo '{"cniVersion": "0.4.0", "code": 11, "msg": "the well is dry", "details": "try again in May"}'; echo chatter >&2; exit 1"#;
        for (body, parts) in [
            (refusal, &["the well is dry; try again in May"][..]),
            ("echo 'this is no JSON'; exit 1", &["crook", "this is no JSON"]),
            ("echo 'only on stderr' >&2; exit 3", &["crook", "only on stderr"]),
            ("exit 7", &["crook"]),
            ("kill -9 $$", &["crook"]),
            ("echo 'this is no JSON'", &["crook", "10-c.conf"]),
            ("", &["crook"]),
            ("echo '[]'", &["crook"]),
            ("echo '{\"cniVersion\": \"9.9.9\"}'", &["crook", "9.9.9"]),
            ("echo '{\"cniVersion\": \"0.4.0\", \"ips\": [{\"version\": \"4\", \"address\": \"10.61.0\"}]}'", &["crook", "10.61.0"]),
            ("echo '{\"cniVersion\": \"0.4.0\", \"ips\": [{\"version\": \"4\", \"interface\": 3, \"address\": \"10.61.0.2/24\"}]}'", &["crook", "interface"]),
            ("yes no | head -c 200000000", &["crook"]),
            ("yes no | head -c 200000000 >&2; exit 1", &["crook"]),
            ("printf '\\033]0;title\\007'; exit 1", &["crook"]),
        ] {
            eprintln!("trying {body}");
            program(lab, "crook", &on_add(body));
            forget_calls(lab);
            refused(lab, parts);
            assert_eq!(tried(lab), ["ADD crook", "DEL crook"], "a DEL follows every ADD, also one that failed: {body}");
        }
        // Control characters of a program do not reach the terminal.
        program(lab, "crook", &on_add("printf '\\033]0;title\\007'; exit 1"));
        let out = run(lab, &["--net=c"], &["echo", "x"]).code(254);
        assert!(!out.stderr.contains('\u{1b}'), "{out}");
        let path = lab.scratch.at("etc/net.d/crook");
        std::fs::write(&path, "neither a script nor a program").expect("our own file");
        refused(lab, &["crook"]);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("our own file");
        refused(lab, &["crook"]);
    }
}

net_test! {
    fn a_child_that_holds_the_programs_output_is_not_waited_for(lab) {
        network(lab, "10-c.conf", &json!({"cniVersion": "0.4.0", "name": "c", "type": "crook"}));
        let dir = lab.path().display().to_string();
        let child = format!("(while [ ! -e {dir}/over ]; do sleep 0.1; done) &");
        program(lab, "crook", &format!("[ $CNI_COMMAND = ADD ] || exit 0\n{child}\n{}", answers(RESULT)));
        let mut pod = Pod::start(lab, &["--net=c"]);
        assert!(pod.running.alive());
        lab.scratch.write("over", "");
        pod.end(lab);
    }
}

/// A list of three programs that pass on what they get.
fn chain(lab: &Lab) {
    for name in ["alpha", "beta", "gamma"] {
        program(lab, name, &answers(RESULT));
    }
    network_text(lab, "10-c.conflist", &json!({
        "cniVersion": "0.4.0", "name": "c", "plugins": [{"type": "alpha"}, {"type": "beta"}, {"type": "gamma"}],
    }).to_string());
}

net_test! {
    fn a_list_goes_forward_and_back(lab) {
        chain(lab);
        run(lab, &["--net=c"], &["echo", "x"]).ok();
        assert_eq!(calls(lab), ["ADD alpha", "ADD beta", "ADD gamma", "DEL gamma", "DEL beta", "DEL alpha"]);
        assert_eq!(input(lab, "ADD-alpha").get("prevResult"), None);
        assert_eq!(input(lab, "ADD-gamma")["prevResult"]["ips"][0]["address"], "10.61.0.2/24");
        assert_eq!(input(lab, "DEL-alpha")["prevResult"]["ips"][0]["address"], "10.61.0.2/24");
    }
}

net_test! {
    fn a_failure_in_the_middle_of_a_list(lab) {
        chain(lab);
        program(lab, "beta", "[ $CNI_COMMAND = ADD ] || exit 0\necho '{\"code\": 100, \"msg\": \"beta is out\"}'; exit 1");
        refused(lab, &["beta is out"]);
        let mut all = tried(lab);
        all.retain(|c| c != "DEL gamma");
        assert_eq!(all, ["ADD alpha", "ADD beta", "DEL beta", "DEL alpha"]);
    }
}

net_test! {
    fn a_failing_del_keeps_no_other_from_its_own(lab) {
        chain(lab);
        program(lab, "beta", &format!("[ $CNI_COMMAND = ADD ] || exit 1\n{}", answers(RESULT)));
        run(lab, &["--net=default,c"], &["echo", "x"]);
        assert!(calls(lab).starts_with(&["ADD alpha", "ADD beta", "ADD gamma", "DEL gamma", "DEL beta", "DEL alpha"].map(str::to_owned)), "{:?}", calls(lab));
        assert_eq!(leases("default"), [""; 0]);
        // What could not be done is done by gc, once the program can.
        program(lab, "beta", &answers(RESULT));
    }
}

net_test! {
    fn del_after_kill_knows_what_add_said(lab) {
        program(lab, "scribe", &answers(RESULT));
        network(lab, "10-s.conf", &json!({
            "cniVersion": "0.4.0", "name": "s", "type": "scribe", "capabilities": {"portMappings": true},
        }));
        let pod = Pod::start(lab, &["--net=s:COLOUR=blue", "--port=http:18000"]);
        kill_all(lab, &pod);
        // The configuration is gone as well; the pod has a copy.
        std::fs::remove_file(lab.scratch.at("etc/net.d/10-s.conf")).expect("the file is there");
        assert_eq!(calls(lab), ["ADD scribe"]);
        call(lab, &["gc", "--grace-period=0s"]).ok();
        call(lab, &["gc", "--grace-period=0s"]).ok();
        assert_eq!(calls(lab), ["ADD scribe", "DEL scribe"]);
        let told = input(lab, "DEL-scribe");
        assert_eq!(told["prevResult"]["ips"][0]["address"], "10.61.0.2/24");
        assert_eq!(told["runtimeConfig"]["portMappings"][0]["hostPort"], 18000);
        assert_eq!(variable(lab, "DEL-scribe", "CNI_ARGS"), "COLOUR=blue");
        assert_eq!(variable(lab, "DEL-scribe", "CNI_CONTAINERID"), pod.uuid);
    }
}

/// `kill -9` for the foreground process and the pod's first one, the former stopped before so that it cannot clean up.
fn kill_all(lab: &Lab, pod: &Pod) {
    let init: i32 = crate::status(lab, &pod.uuid, "pid")
        .parse()
        .expect("status knows the pid");
    pod.running.signal(Signal::STOP);
    let _ = kill_process(Pid::from_raw(init).expect("a pid"), Signal::KILL);
    pod.running.signal(Signal::KILL);
    eventually("the pod's lock is free", || {
        (crate::status(lab, &pod.uuid, "state") == "exited").then_some(())
    });
}

net_test! {
    fn debians_portmap_behind_the_built_in_ptp(lab) {
        let Some(portmap) = debian("portmap") else {
            tests::skip!("needs Debian's containernetworking-plugins");
        };
        if isolated::find("iptables").is_none() {
            tests::skip!("portmap needs `iptables` (Debian: iptables)");
        }
        lab.scratch.mkdir("etc/net.d");
        std::os::unix::fs::symlink(portmap, lab.scratch.at("etc/net.d/portmap")).expect("a symlink");
        network_text(lab, "10-p.conflist", &json!({
            "cniVersion": "1.0.0", "name": "p", "plugins": [
                {"type": "ptp", "ipam": {"type": "host-local", "subnet": "10.63.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]}},
                {"type": "portmap", "capabilities": {"portMappings": true}},
            ],
        }).to_string());
        let pod = Pod::start(lab, &["--net=p", "--port=http:18000"]);
        assert_eq!(reach_from_far(lab, Protocol::Tcp, HOST4, 18000), FAR4);
        assert!(tool("iptables-save", &["-t", "nat"]).contains(&pod.uuid), "portmap did it");
        let uuid = pod.uuid.clone();
        pod.end(lab);
        let left = tool("iptables-save", &["-t", "nat"]);
        assert!(!left.contains(&uuid) && !left.contains("CNI-DN-"), "{left}");
    }
}

/// A program of Debian's package.
pub(crate) fn debian(name: &str) -> Option<PathBuf> {
    let path = Path::new("/usr/lib/cni").join(name);
    path.is_file().then_some(path)
}
