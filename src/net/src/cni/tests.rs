//! CNI programs that are shell scripts: what they are given, and what becomes
//! of what they do.
#![expect(clippy::unwrap_used, reason = "tests")]

mod running;

use super::testing::{Bench, ID, network};
use super::*;
use crate::ports::Mapping;
use crate::{Network, Protocol};
use model::{Kind, json};
use std::fs;
use std::time::Duration;

const NONE: Value = Value::Null;

fn value(text: &str) -> Value {
    json::parse(text.as_bytes()).unwrap()
}

fn call<'a>(site: &'a Site<'a>, network: &'a Network) -> Call<'a> {
    Call {
        site,
        network,
        plugin: &network.plugins[0],
        if_name: "eth0",
        previous: None,
    }
}

fn told<'a>(previous: Option<&'a Value>, capabilities: &'a Value) -> Told<'a> {
    Told {
        previous,
        capabilities,
    }
}

fn mappings() -> Vec<Mapping> {
    let mapping = |host_ip: Option<&str>, host_port| Mapping {
        name: "web".into(),
        protocol: Protocol::Tcp,
        host_ip: host_ip.map(|ip| ip.parse().unwrap()),
        host_port,
        pod_port: 80,
    };
    vec![
        mapping(None, 8080),
        mapping(Some("0.0.0.0"), 8081),
        mapping(Some("fd00::1"), 8082),
    ]
}

/// ADD by a script with this body.
fn added(bench: &Bench, site: &Site<'_>, body: &str) -> Result<(Outcome, Value)> {
    let program = bench.script("p", body);
    let network = network("0.4.0", &[r#"{"name":"net1","type":"p"}"#]);
    add(&call(site, &network), &program, &told(None, &NONE))
}

fn refused(body: &str) -> Fault {
    let bench = Bench::new();
    let fault = added(&bench, &bench.site(), body).unwrap_err();
    let hint = fault.hint.clone().unwrap();
    assert!(hint.contains("second/p"), "{hint}");
    fault
}

#[test]
fn the_first_regular_file_is_the_plugin() {
    let bench = Bench::new();
    let path = bench.plain("p");
    assert_eq!(find(&bench.dirs, "p"), Some(path.clone()));
    let first = &bench.dirs.plugins[0];
    fs::create_dir(first.join("p")).unwrap();
    assert_eq!(find(&bench.dirs, "p"), Some(path.clone()));
    std::os::unix::fs::symlink(&path, first.join("q")).unwrap();
    assert_eq!(find(&bench.dirs, "q"), Some(first.join("q")));
    for bad in ["", ".", "..", "../second/p", "/bin/sh", "none", "a\0"] {
        assert_eq!(find(&bench.dirs, bad), None, "{bad}");
    }
}

#[test]
fn the_configuration_goes_with_what_only_the_runtime_knows() {
    let bench = Bench::new();
    let maps = mappings();
    let site = Site {
        mappings: &maps,
        ..bench.site()
    };
    let network = network(
        "1.0.0",
        &[
            r#"{"type":"p","odd":{"n":18446744073709551615,"a":[null,1.5,"é"]},"cni.dev/x":1,"cniVersion":"9",
            "capabilities":{"portMappings":true,"mac":true,"ips":false},"prevResult":{},"runtimeConfig":{"mac":"x"},
            "args":{"cni":{"ips":["10.1.0.7"]}}}"#,
        ],
    );
    let capabilities = request::capability_args(&maps);
    let previous = value(r#"{"cniVersion":"1.0.0","ips":[]}"#);
    let call = call(&site, &network);
    let text = |told: &Told<'_>| String::from_utf8(request::input(&call, told)).unwrap();
    let ports = concat!(
        r#"{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"},"#,
        r#"{"hostPort":8081,"containerPort":80,"protocol":"tcp"},"#,
        r#"{"hostPort":8082,"containerPort":80,"protocol":"tcp","hostIP":"fd00::1"}]}"#
    );
    let own = concat!(
        r#"{"cniVersion":"1.0.0","name":"net1","type":"p","odd":{"n":18446744073709551615,"a":[null,1.5,"é"]},"#,
        r#""args":{"cni":{"ips":["10.1.0.7"]}}"#
    );
    assert_eq!(
        text(&told(Some(&previous), &capabilities)),
        format!(
            r#"{own},"runtimeConfig":{ports},"prevResult":{{"cniVersion":"1.0.0","ips":[]}}}}"#
        )
    );
    assert_eq!(text(&told(None, &NONE)), format!("{own}}}"));
    let empty = request::capability_args(&[]);
    assert_eq!(text(&told(None, &empty)), format!("{own}}}"));
}

#[test]
fn an_old_configuration_goes_as_its_file() {
    let bench = Bench::new();
    let site = bench.site();
    let plugin = r#"{"name":"net1","type":"p","capabilities":{"portMappings":true}}"#;
    let mut old = network("0.1.0", &[plugin]);
    let raw =
        b"{ \"type\": \"p\",\n\t\"name\":\"net1\", \"capabilities\":{\"portMappings\":true} }\n";
    old.text = raw.to_vec();
    old.plugins[0].object = json::parse(raw).unwrap();
    let given = |network: &Network, told: &Told<'_>| {
        let input = request::input(&call(&site, network), told);
        String::from_utf8(input).unwrap()
    };
    assert_eq!(given(&old, &told(None, &NONE)).as_bytes(), raw);
    let ports = request::capability_args(&mappings());
    assert!(given(&old, &told(None, &ports)).contains("\"runtimeConfig\":"));
    let previous = value("{}");
    assert!(given(&old, &told(Some(&previous), &NONE)).contains("\"prevResult\":{}"));
    // A file that says something else, and a newer version, are built anew.
    old.text = b"{\"plugins\":[]}".to_vec();
    assert!(given(&old, &told(None, &NONE)).starts_with(r#"{"cniVersion":"0.1.0","#));
    let new = network("0.3.1", &[plugin]);
    assert!(given(&new, &told(None, &NONE)).starts_with(r#"{"cniVersion":"0.3.1","#));
}

#[test]
fn a_program_gets_a_clean_start() {
    let bench = Bench::new();
    // Blocked in this thread only, which ends with the test.
    let signals = [sys::signal::TERM, sys::signal::CHLD];
    let _blocked = sys::signal::Signals::take(&signals).unwrap();
    // By exec: while the shell has a child, it blocks signals itself.
    let body = "pwd >$root/cwd; echo $# $0 >$root/argv
        echo $(cut -d' ' -f1,5 /proc/$$/stat) >$root/group; echo '{\"cniVersion\":\"0.4.0\"}'
        exec grep -E '^Sig(Blk|Ign)' /proc/self/status >$root/status";
    let program = bench.script("p", body);
    let mut network = network("0.4.0", &[r#"{"name":"net1","type":"p"}"#]);
    network.args = "IP=10.1.0.7;K=a b".into();
    let site = bench.site();
    add(&call(&site, &network), &program, &told(None, &NONE)).unwrap();
    assert_eq!(bench.text("cwd"), "/\n");
    let status = bench.text("status");
    assert!(status.contains("SigBlk:\t0000000000000000"), "{status}");
    // 32 and 33 are glibc's own, which it does not let go of.
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:\t"));
    let ignored = u64::from_str_radix(ignored.unwrap(), 16).unwrap();
    assert_eq!(ignored & !0x1_8000_0000, 0, "{status}");
    assert_eq!(bench.text("argv"), format!("0 {}\n", program.display()));
    let group = bench.text("group");
    let (pid, group) = group.trim().split_once(' ').unwrap();
    assert_eq!(pid, group, "a process group of its own");
    let env = bench.text("p.ADD.env");
    let of_cni: Vec<&str> = env.lines().filter(|l| l.starts_with("CNI_")).collect();
    let path = bench
        .dirs
        .plugins
        .iter()
        .map(|dir| dir.display().to_string());
    let path = path.collect::<Vec<_>>().join(":");
    for want in [
        "CNI_VERSION=0.1.0".to_string(),
        "CNI_COMMAND=ADD".to_string(),
        format!("CNI_CONTAINERID={ID}"),
        "CNI_NETNS=/run/netns/x".to_string(),
        "CNI_ARGS=IP=10.1.0.7;K=a b".to_string(),
        "CNI_IFNAME=eth0".to_string(),
        format!("CNI_PATH={path}"),
    ] {
        assert!(of_cni.contains(&want.as_str()), "{want} in {of_cni:?}");
    }
    assert_eq!(of_cni.len(), 7);
    assert!(env.lines().any(|line| line.starts_with("PATH=")));
    network.args = "a\0".into();
    let fault = add(&call(&site, &network), &program, &told(None, &NONE)).unwrap_err();
    assert_eq!(fault.cause, "CNI_ARGS must not contain a NUL character");
}

#[test]
fn results_of_other_versions_are_converted() {
    let bench = Bench::new();
    let site = bench.site();
    let old = r#"echo '{"ip4":{"ip":"10.1.0.5/16","gateway":"10.1.0.1"}}'"#;
    let (outcome, result) = added(&bench, &site, old).unwrap();
    assert_eq!(outcome.ips[0].address.to_string(), "10.1.0.5/16");
    assert_eq!(
        json::to_compact(&result),
        r#"{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.1.0.5/16","gateway":"10.1.0.1"}],"dns":{}}"#
    );
    assert!(site.notes.borrow()[0].contains("converted"));
    // Of the version asked for it stays as it is, unknown fields included.
    let same = r#"{"cniVersion":"0.4.0","interfaces":[{"name":"a","pciID":"x"}],"odd":1}"#;
    let (_, result) = added(&bench, &site, &format!("echo '{same}'")).unwrap();
    assert_eq!(json::to_compact(&result), same);
}

#[test]
fn failures_are_told() {
    let cases = [
        (
            r#"echo '{"code":11,"msg":"busy","details":"wait"}'; exit 1"#,
            "busy; wait",
        ),
        (
            r#"echo '{"code":7,"msg":"bad","details":""}'; exit 0"#,
            "bad",
        ),
        (
            "echo oops; exit 3",
            r#"netplugin failed but error parsing its diagnostic message "oops""#,
        ),
        (
            "echo why >&2; exit 3",
            r#"netplugin failed: "why" (exit status 3)"#,
        ),
        (
            "kill -9 $$",
            "netplugin failed with no error message: signal 9",
        ),
        (
            "echo garbage",
            r#"error parsing network plugin result: "garbage": line 1, column 1: expected value"#,
        ),
        (
            "true",
            "error parsing network plugin result: it printed nothing",
        ),
        (
            r#"printf %s '{"cniVersion":"0.4.0","dns":{"search":["a\nb"]}}'"#,
            r#"error parsing network plugin result: dns.search[0]: control character in "a\nb""#,
        ),
    ];
    for (body, want) in cases {
        assert_eq!(refused(body).cause, want, "{body}");
    }
    assert_eq!(refused("exit 1").kind, Kind::Refused);
}

#[test]
fn nothing_to_be_undone_is_no_failure() {
    let bench = Bench::new();
    let site = bench.site();
    let network = network("0.4.0", &[r#"{"name":"net1","type":"p"}"#]);
    let gone = |body: &str| {
        let program = bench.script("p", body);
        del(&call(&site, &network), &program, &told(None, &NONE))
    };
    gone("echo 'whatever it prints'").unwrap();
    gone("echo '{\"code\":3,\"msg\":\"unknown container\"}'; exit 1").unwrap();
    assert!(
        site.notes
            .borrow()
            .last()
            .unwrap()
            .contains("does not know")
    );
    assert_eq!(
        gone("echo '{\"code\":11,\"msg\":\"later\"}'; exit 1")
            .unwrap_err()
            .cause,
        "later"
    );
}

#[test]
fn addresses_come_from_a_delegate_that_forgets_after_a_failure() {
    let bench = Bench::new();
    let site = bench.site();
    let network = network(
        "0.4.0",
        &[r#"{"name":"net1","type":"ptp","ipam":{"type":"ipam","odd":1}}"#],
    );
    let call = call(&site, &network);
    let fault = delegate_add(&call, "ipam").unwrap_err();
    assert_eq!(fault.cause, "Could not find plugin \"ipam\"");
    assert!(fault.hint.unwrap().contains("/second"));
    bench.script(
        "ipam",
        r#"[ $CNI_COMMAND = DEL ] || echo '{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.1.0.5/16"}]}'"#,
    );
    let outcome = delegate_add(&call, "ipam").unwrap();
    assert_eq!(outcome.ips[0].address.to_string(), "10.1.0.5/16");
    let previous = Call {
        previous: Some(&outcome),
        ..call
    };
    delegate_del(&previous, "ipam").unwrap();
    assert_eq!(bench.log(), ["ipam ADD", "ipam DEL"]);
    assert_eq!(
        bench.text("ipam.ADD.in"),
        r#"{"cniVersion":"0.4.0","name":"net1","type":"ptp","ipam":{"type":"ipam","odd":1}}"#
    );
    assert!(
        bench
            .text("ipam.DEL.in")
            .contains(r#""prevResult":{"cniVersion":"0.4.0","ips":["#)
    );
    bench.script("ipam", "echo '{\"code\":100,\"msg\":\"full\"}'; exit 1");
    assert_eq!(delegate_add(&call, "ipam").unwrap_err().cause, "full");
    assert_eq!(bench.log()[2..], ["ipam ADD", "ipam DEL"]);
    assert!(
        site.notes
            .borrow()
            .last()
            .unwrap()
            .ends_with("forget what was not given: full")
    );
}

#[test]
fn an_entry_of_the_cache_comes_back_and_only_as_its_own() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    let site = bench.site();
    let mut network = network("0.4.0", &[r#"{"name":"net1","type":"p"}"#]);
    network.args = "IP=10.1.0.7;K=a=b".into();
    assert_eq!(cache::load(&site, &network, "eth0"), None);
    cache::remove(&site, &network, "eth0").unwrap();
    let capabilities = value(r#"{"portMappings":[]}"#);
    let result = value(r#"{"cniVersion":"0.4.0","odd":1}"#);
    cache::save(&site, &network, "eth0", &capabilities, None).unwrap();
    assert_eq!(cache::load(&site, &network, "eth0").unwrap().result, None);
    cache::save(&site, &network, "eth0", &capabilities, Some(&result)).unwrap();
    let entry = cache::load(&site, &network, "eth0").unwrap();
    assert_eq!(entry.config, network.text);
    assert_eq!(entry.args, network.args);
    assert_eq!(
        (entry.capabilities, entry.result),
        (capabilities, Some(result))
    );

    let dir = &bench.dirs.results;
    let name = format!("net1-{ID}-eth0");
    let path = dir.join(&name);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(dir), mode(&path)), (0o700, 0o600));
    assert_eq!(fs::read_dir(dir).unwrap().count(), 1, "no draft is left");
    let good = fs::read_to_string(&path).unwrap();
    let fields = value(&good);
    let keys: Vec<&String> = fields.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "kind",
            "containerId",
            "config",
            "ifName",
            "networkName",
            "netns",
            "cniArgs",
            "capabilityArgs",
            "result"
        ]
    );
    for (bad, want) in [
        ("{}".to_string(), "kind: is missing"),
        ("{".to_string(), "EOF"),
        (
            good.replace("net1\"", "net2\""),
            "networkName: \"net2\" instead of \"net1\"",
        ),
        (good.replace(ID, "other"), "containerId"),
        (good.replace("eth0", "eth1"), "ifName"),
        (good.replace("cniCacheV1", "cniCacheV2"), "kind"),
        (
            good.replace("\"config\":\"", "\"config\":\"!"),
            "malformed base64",
        ),
        (
            good.replace("{\"cniVersion\":\"0.4.0\",\"odd\":1}", "[]"),
            "result: expected an object",
        ),
    ] {
        fs::write(&path, bad).unwrap();
        assert_eq!(cache::load(&site, &network, "eth0"), None);
        let note = site.notes.borrow().last().unwrap().clone();
        assert!(
            note.starts_with("ignoring cached result") && note.contains(want),
            "{note}"
        );
    }
    cache::remove(&site, &network, "eth0").unwrap();
    assert_eq!(fs::read_dir(dir).unwrap().count(), 0);
}
