//! Whole attachments by scripts: order, what is handed on, and the way back.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::Protocol;
use crate::cni::testing::{Bench, ID, network};
use model::{Kind, json};
use std::fs;

const FIRST: &str = r#"{"cniVersion":"1.0.0","interfaces":[{"name":"br0"},{"name":"eth0","sandbox":"/run/netns/x"}],"ips":[{"interface":1,"address":"10.1.0.5/16"}],"x":1}"#;

fn plugin(kind: &str) -> String {
    format!(r#"{{"type":"{kind}"}}"#)
}

fn list(kinds: &[&str]) -> Network {
    let plugins: Vec<String> = kinds.iter().map(|kind| plugin(kind)).collect();
    let plugins: Vec<&str> = plugins.iter().map(String::as_str).collect();
    network("1.0.0", &plugins)
}

/// Answers ADD with `answer`, an expression of the shell's single quotes.
fn answering(bench: &Bench, name: &str, answer: &str) {
    bench.script(name, &format!("[ $CNI_COMMAND = DEL ] || echo '{answer}'"));
}

/// Passes its prevResult on with `"NAME":1` in it.
fn passing(bench: &Bench, name: &str) {
    let body = format!(
        "[ $CNI_COMMAND = DEL ] || sed 's/.*\"prevResult\":{{/{{\"{name}\":1,/; s/}}$//' $root/{name}.ADD.in"
    );
    bench.script(name, &body);
}

fn input(bench: &Bench, name: &str) -> Value {
    json::parse(bench.text(name).as_bytes()).unwrap()
}

fn mapping() -> Mapping {
    Mapping {
        name: "web".into(),
        protocol: Protocol::Udp,
        host_ip: None,
        host_port: 5353,
        pod_port: 53,
    }
}

fn cached(bench: &Bench) -> std::path::PathBuf {
    bench.dirs.results.join(format!("net1-{ID}-eth0"))
}

#[test]
fn plugins_run_in_order_and_back_in_reverse() {
    let bench = Bench::new();
    answering(&bench, "a", FIRST);
    passing(&bench, "b");
    passing(&bench, "c");
    let site = bench.site();
    let network = list(&["a", "b", "c"]);
    let attachment = add(&site, &network, "eth0").unwrap();
    assert_eq!(
        attachment.plugin_path,
        bench.dirs.plugins[1].join("a").display().to_string()
    );
    assert_eq!(attachment.added.host_end.as_deref(), Some("br0"));
    assert_eq!(attachment.added.outcome.ips.len(), 1);
    assert!(!attachment.ports_mapped && attachment.added.masquerade.is_empty());
    assert!(input(&bench, "a.ADD.in").get("prevResult").is_none());
    let handed_on = &input(&bench, "b.ADD.in")["prevResult"];
    assert_eq!(json::to_compact(handed_on), FIRST);
    assert_eq!(input(&bench, "c.ADD.in")["prevResult"]["b"], 1);

    del(&site, &network, "eth0").unwrap();
    assert_eq!(
        bench.log(),
        ["a ADD", "b ADD", "c ADD", "c DEL", "b DEL", "a DEL"]
    );
    for name in ["a", "b", "c"] {
        let input = input(&bench, &format!("{name}.DEL.in"));
        assert_eq!(input["prevResult"]["c"], 1, "the final result, for {name}");
    }
    assert!(!cached(&bench).exists());
    // Once more: nothing is recorded any longer, and everybody is asked again.
    del(&site, &network, "eth0").unwrap();
    assert!(input(&bench, "a.DEL.in").get("prevResult").is_none());
    assert_eq!(bench.log().len(), 9);
}

#[test]
fn a_failure_undoes_the_whole_list_and_is_the_one_that_is_told() {
    let bench = Bench::new();
    answering(&bench, "a", FIRST);
    bench.script(
        "b",
        r#"echo '{"code":100,"msg":"no '$CNI_COMMAND'"}'; exit 1"#,
    );
    bench.plain("c");
    let site = bench.site();
    let fault = add(&site, &list(&["a", "b", "c"]), "eth0").unwrap_err();
    assert_eq!(fault.cause, "no ADD");
    assert_eq!(fault.links, [r#"error adding network "net1""#]);
    assert!(fault.message.is_none());
    assert_eq!(bench.log(), ["a ADD", "b ADD", "c DEL", "b DEL", "a DEL"]);
    assert_eq!(
        site.notes.borrow().as_slice(),
        ["cannot undo what was joined: no DEL"]
    );
    // What was reached is known to those who undo it, now and later.
    assert_eq!(input(&bench, "a.DEL.in")["prevResult"]["x"], 1);
    assert!(cached(&bench).exists());
    bench.plain("b");
    del(&site, &list(&["a", "b", "c"]), "eth0").unwrap();
    assert_eq!(input(&bench, "a.DEL.in")["prevResult"]["x"], 1);
    assert!(!cached(&bench).exists());
}

#[test]
fn all_are_left_whatever_fails() {
    let bench = Bench::new();
    answering(&bench, "a", FIRST);
    for name in ["b", "c"] {
        bench.script(
            name,
            &format!(r#"[ $CNI_COMMAND = ADD ] && echo '{FIRST}' && exit; echo '{{"code":9,"msg":"{name}"}}'; exit 1"#),
        );
    }
    let site = bench.site();
    let network = list(&["a", "b", "c"]);
    add(&site, &network, "eth0").unwrap();
    let fault = del(&site, &network, "eth0").unwrap_err();
    assert_eq!(
        (fault.cause.as_str(), fault.links.as_slice()),
        ("c", &["error deleting \"net1\"".to_string()][..])
    );
    assert_eq!(bench.log()[3..], ["c DEL", "b DEL", "a DEL"]);
    assert!(cached(&bench).exists());
    // One that is gone altogether does not keep the others.
    fs::remove_file(bench.dirs.plugins[1].join("c")).unwrap();
    bench.plain("b");
    let fault = del(&site, &network, "eth0").unwrap_err();
    assert_eq!(fault.cause, "Could not find plugin \"c\"");
    assert_eq!(bench.log()[6..], ["b DEL", "a DEL"]);
}

#[test]
fn one_that_hangs_is_undone() {
    let bench = Bench::new();
    bench.script("a", "[ $CNI_COMMAND = DEL ] || sleep 1000");
    let site = Site {
        patience: Duration::from_millis(200),
        ..bench.site()
    };
    let fault = add(&site, &list(&["a"]), "eth0").unwrap_err();
    assert_eq!(fault.kind, Kind::TimedOut);
    assert_eq!(bench.log(), ["a ADD", "a DEL"]);
}

#[test]
fn forwarded_ports_go_to_who_can_do_it_and_back_again() {
    let bench = Bench::new();
    answering(&bench, "a", FIRST);
    answering(&bench, "map", FIRST);
    let maps = [mapping()];
    let site = Site {
        mappings: &maps,
        ..bench.site()
    };
    let map = r#"{"type":"map","capabilities":{"portMappings":true}}"#;
    let mut network = network("1.0.0", &[&plugin("a"), map]);
    network.args = "IP=10.1.0.5".into();
    assert!(add(&site, &network, "eth0").unwrap().ports_mapped);
    let ports = r#"{"portMappings":[{"hostPort":5353,"containerPort":53,"protocol":"udp"}]}"#;
    assert_eq!(
        json::to_compact(&input(&bench, "map.ADD.in")["runtimeConfig"]),
        ports
    );
    assert!(input(&bench, "a.ADD.in").get("runtimeConfig").is_none());
    // Who leaves may no longer know the ports and the arguments.
    network.args.clear();
    del(&bench.site(), &network, "eth0").unwrap();
    assert_eq!(
        json::to_compact(&input(&bench, "map.DEL.in")["runtimeConfig"]),
        ports
    );
    assert!(
        bench
            .text("map.DEL.env")
            .contains("\nCNI_ARGS=IP=10.1.0.5\n")
    );
    // No ports: nobody was given any.
    assert!(!add(&bench.site(), &network, "eth0").unwrap().ports_mapped);
}

#[test]
fn a_start_that_was_killed_can_be_undone() {
    let bench = Bench::new();
    // The last program ends the runtime: what it finds recorded is all there is.
    answering(&bench, "a", FIRST);
    bench.script("b", "cp $root/lib/results/net1-* $root/seen; exit 1");
    let maps = [mapping()];
    let site = Site {
        mappings: &maps,
        ..bench.site()
    };
    let a = r#"{"type":"a","capabilities":{"portMappings":true}}"#;
    let network = network("1.0.0", &[a, &plugin("b")]);
    add(&site, &network, "eth0").unwrap_err();
    fs::create_dir_all(&bench.dirs.results).unwrap();
    fs::copy(bench.root.join("seen"), cached(&bench)).unwrap();
    bench.plain("b");
    del(&bench.site(), &network, "eth0").unwrap();
    let input = input(&bench, "a.DEL.in");
    assert_eq!(input["runtimeConfig"]["portMappings"][0]["hostPort"], 5353);
    assert_eq!(input["prevResult"]["x"], 1);
    assert!(!cached(&bench).exists());
}

#[test]
fn what_is_cached_and_wrong_is_ignored() {
    let bench = Bench::new();
    answering(&bench, "a", FIRST);
    let site = bench.site();
    let network = list(&["a"]);
    for bad in ["garbage", "{\"kind\":\"cniCacheV1\"}"] {
        add(&site, &network, "eth0").unwrap();
        fs::write(cached(&bench), bad).unwrap();
        del(&site, &network, "eth0").unwrap();
        assert!(input(&bench, "a.DEL.in").get("prevResult").is_none());
        assert!(!cached(&bench).exists());
    }
    add(&site, &network, "eth0").unwrap();
    let text = fs::read_to_string(cached(&bench)).unwrap();
    fs::write(cached(&bench), text.replace("10.1.0.5/16", "x")).unwrap();
    del(&site, &network, "eth0").unwrap();
    let notes = site.notes.borrow();
    assert!(
        notes
            .last()
            .unwrap()
            .starts_with("ignoring a cached result: ips[0].address")
    );
}

#[test]
fn prev_result_at_leaving_came_with_0_4() {
    let bench = Bench::new();
    answering(&bench, "a", r#"{"cniVersion":"0.3.1"}"#);
    let site = bench.site();
    let network = network("0.3.1", &[&plugin("a")]);
    add(&site, &network, "eth0").unwrap();
    del(&site, &network, "eth0").unwrap();
    assert!(input(&bench, "a.DEL.in").get("prevResult").is_none());
}

#[test]
fn nothing_is_done_for_what_cannot_be() {
    let bench = Bench::new();
    bench.plain("a");
    let site = bench.site();
    let cause = |network: &Network, if_name: &str| add(&site, network, if_name).unwrap_err().cause;
    let network = list(&["a", "nobody"]);
    assert_eq!(cause(&network, "eth0"), "Could not find plugin \"nobody\"");
    let network = list(&["a", "ptp"]);
    assert_eq!(
        cause(&network, "eth0"),
        "/etc/rkt/net.d/10-a.conflist: plugins[1]: \"ptp\" makes an interface, it can only be the first plugin"
    );
    let mut network = list(&["a"]);
    for bad in ["", "..", "sixteen-bytes-xx", "a/b"] {
        assert!(
            cause(&network, bad).starts_with("invalid interface name"),
            "{bad}"
        );
    }
    network.name = "../etc".into();
    assert_eq!(cause(&network, "eth0"), "invalid network name \"../etc\"");
    assert_eq!(
        del(&site, &network, "eth0").unwrap_err().cause,
        "invalid network name \"../etc\""
    );
    let odd = Site {
        id: "a/b",
        ..bench.site()
    };
    let fault = add(&odd, &list(&["a"]), "eth0").unwrap_err();
    assert_eq!(fault.cause, "invalid container ID \"a/b\"");
    let gone = Site {
        netns_path: "",
        ..bench.site()
    };
    let fault = add(&gone, &list(&["a"]), "eth0").unwrap_err();
    assert_eq!(fault.cause, "the pod has no network namespace");
    assert!(bench.log().is_empty() && !bench.dirs.results.exists());
    // Leaving does without.
    del(&gone, &list(&["a"]), "eth0").unwrap();
    assert!(bench.text("a.DEL.env").contains("\nCNI_NETNS=\n"));
}

#[test]
fn a_program_wins_over_the_built_in_of_its_name() {
    let bench = Bench::new();
    answering(&bench, "ptp", FIRST);
    let site = bench.site();
    let attachment = add(&site, &list(&["ptp"]), "eth0").unwrap();
    assert!(attachment.plugin_path.ends_with("/second/ptp"));
    del(&site, &list(&["ptp"]), "eth0").unwrap();
    assert_eq!(bench.log(), ["ptp ADD", "ptp DEL"]);
}
