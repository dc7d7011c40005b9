//! Debian's own CNI plugins, joined and left as by any other runtime: what is
//! there afterwards is what `ip` and `iptables-save` show. As root, each test in
//! network and mount namespaces of its own; no packet leaves.
#![expect(clippy::unwrap_used, reason = "tests")]

use model::json;
use net::attach::{self, Attachment, Dirs, Site};
use net::ports::Mapping;
use net::{Network, Protocol, conf};
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tests::shell::{sh, sh_may};

/// Of the package containernetworking-plugins.
const PLUGINS: &str = "/usr/lib/cni";
const ID: &str = "0c8f1d52-9d5e-4c56-8c2e-6a1f6a2f9b3e";

/// Runs `body` in namespaces of its own, with a `/run` that nobody
/// else sees, or says why it cannot.
fn isolated(name: &str, needed: &[&str], body: fn(&World)) {
    if tests::isolated::inside() {
        return body(&World::new());
    }
    if let Some(reason) = missing(needed) {
        return tests::skip::record(&reason);
    }
    tests::isolated::with_own_run(name);
}

fn missing(needed: &[&str]) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root".into());
    }
    for plugin in needed {
        if !Path::new(PLUGINS).join(plugin).is_file() {
            return Some(format!(
                "needs {PLUGINS}/{plugin} (Debian: containernetworking-plugins)"
            ));
        }
    }
    let tools = ["unshare --net --mount true", "command -v ip iptables-save"];
    let lacking = tools.iter().find(|tool| sh_may(tool).is_err())?;
    Some(format!("`{lacking}` fails here"))
}

/// A "host" with a pod's network namespace at `/run/netns/pod`.
struct World {
    dirs: Dirs,
    netns: File,
}

impl World {
    fn new() -> World {
        sh("ip netns add pod");
        let at = |name: &str| PathBuf::from("/run/rkt-test-cni").join(name);
        World {
            netns: File::open("/run/netns/pod").unwrap(),
            dirs: Dirs {
                plugins: vec![at("net.d"), PLUGINS.into()],
                leases: at("networks"),
                results: at("results"),
            },
        }
    }

    fn site<'a>(&'a self, mappings: &'a [Mapping]) -> Site<'a> {
        Site {
            id: ID,
            netns: Some(self.netns.as_fd()),
            netns_path: "/run/netns/pod",
            dirs: &self.dirs,
            mappings,
            patience: Duration::from_secs(60),
            notes: Default::default(),
        }
    }

    #[track_caller]
    fn add(&self, network: &Network, if_name: &str, mappings: &[Mapping]) -> Attachment {
        let site = self.site(mappings);
        attach::add(&site, network, if_name)
            .unwrap_or_else(|fault| panic!("{fault:?}, {:?}", site.notes.borrow()))
    }

    /// Leaves it twice, as a clean-up that was interrupted does.
    #[track_caller]
    fn del(&self, network: &Network, if_name: &str) {
        for _ in 0..2 {
            let site = self.site(&[]);
            attach::del(&site, network, if_name)
                .unwrap_or_else(|fault| panic!("{fault:?}, {:?}", site.notes.borrow()));
        }
        let left = fs::read_dir(&self.dirs.results).unwrap().count();
        assert_eq!(left, 0, "cached results");
    }

    /// Addresses that are taken in a network.
    fn leases(&self, network: &str) -> Vec<String> {
        let entries = fs::read_dir(self.dirs.leases.join(network)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names
            .filter(|name| !name.starts_with("last_reserved") && name != "lock")
            .collect()
    }
}

fn pod(command: &str) -> String {
    sh(&format!("ip netns exec pod {command}"))
}

fn ipam(subnet: &str) -> String {
    format!(
        r#"{{"type":"host-local","subnet":"{subnet}","dataDir":"/run/rkt-test-cni/networks","routes":[{{"dst":"0.0.0.0/0"}}]}}"#
    )
}

#[track_caller]
fn parse(file: &str, text: &str) -> Network {
    conf::parse(file, &format!("/etc/rkt/net.d/{file}"), text.as_bytes()).unwrap()
}

#[test]
fn ptp_with_host_local() {
    isolated("ptp_with_host_local", &["ptp", "host-local"], |world| {
        for version in ["0.1.0", "0.2.0", "0.3.1", "0.4.0", "1.0.0"] {
            let ipam = ipam("10.77.0.0/24");
            let network = parse(
                "10-p2p.conf",
                &format!(
                    r#"{{"cniVersion":"{version}","name":"p2p","type":"ptp","ipMasq":true,"ipam":{ipam}}}"#
                ),
            );
            let attachment = world.add(&network, "eth0", &[]);
            assert_eq!(attachment.plugin_path, format!("{PLUGINS}/ptp"));
            let added = attachment.added;
            let ip = added.outcome.first_v4().unwrap();
            assert_eq!(world.leases("p2p"), [ip.address.ip.to_string()]);
            assert_eq!(ip.gateway.unwrap().to_string(), "10.77.0.1");
            assert_eq!(added.outcome.routes.len(), 1);
            assert!(added.masquerade.is_empty());
            let shown = pod("ip -o addr show dev eth0");
            assert!(shown.contains(&format!("inet {}", ip.address)), "{shown}");
            // Results did not tell interfaces before 0.3.0.
            assert_eq!(added.host_end.is_some(), version >= "0.3");
            if let Some(host_end) = added.host_end {
                sh(&format!("ip link show dev {host_end}"));
            }
            assert!(sh("iptables-save -t nat").contains(ID));
            world.del(&network, "eth0");
            assert!(world.leases("p2p").is_empty());
            assert!(!sh("iptables-save -t nat").contains(ID));
            assert!(pod("ip -o link").lines().count() == 1);
        }
    });
}

#[test]
fn a_bridge_and_forwarded_ports() {
    let needed = ["bridge", "host-local", "portmap"];
    isolated("a_bridge_and_forwarded_ports", &needed, |world| {
        let ipam = ipam("10.78.0.0/24");
        let network = parse(
            "10-br.conflist",
            &format!(
                r#"{{"cniVersion":"0.4.0","name":"br","plugins":[
                    {{"type":"bridge","bridge":"br-test","isGateway":true,"ipam":{ipam}}},
                    {{"type":"portmap","capabilities":{{"portMappings":true}}}}]}}"#
            ),
        );
        let mapping = Mapping {
            name: "web".into(),
            protocol: Protocol::Tcp,
            host_ip: None,
            host_port: 8080,
            pod_port: 80,
        };
        let attachment = world.add(&network, "eth0", &[mapping]);
        assert!(attachment.ports_mapped);
        let added = attachment.added;
        assert_eq!(added.host_end.as_deref(), Some("br-test"));
        let address = added.outcome.first_v4().unwrap().address.ip;
        let rules = sh("iptables-save -t nat");
        assert!(
            rules.contains(&format!("--to-destination {address}:80")),
            "{rules}"
        );
        // The one who leaves knows nothing of the ports.
        world.del(&network, "eth0");
        let rules = sh("iptables-save -t nat");
        assert!(
            !rules.contains("--to-destination") && !rules.contains(ID),
            "{rules}"
        );
        assert!(world.leases("br").is_empty());
    });
}

#[test]
fn a_list_that_fails_is_undone() {
    let needed = ["bridge", "host-local", "portmap", "tuning"];
    isolated("a_list_that_fails_is_undone", &needed, |world| {
        let ipam = ipam("10.79.0.0/24");
        let text = |sysctl: &str| {
            format!(
                r#"{{"cniVersion":"1.0.0","name":"br","plugins":[
                    {{"type":"bridge","bridge":"br-test","isGateway":true,"ipMasq":true,"ipam":{ipam}}},
                    {{"type":"portmap","capabilities":{{"portMappings":true}}}},
                    {{"type":"tuning","mtu":1400,"sysctl":{{"{sysctl}":"1"}}}}]}}"#
            )
        };
        let bad = parse("10-br.conflist", &text("kernel.panic"));
        let site = world.site(&[]);
        let fault = attach::add(&site, &bad, "eth0").unwrap_err();
        assert!(fault.cause.contains("kernel"), "{fault}");
        assert_eq!(
            fault.hint.unwrap(),
            format!(
                "the CNI plugin is {PLUGINS}/tuning; the network is configured in {}",
                bad.origin
            )
        );
        assert_eq!(fault.links, ["error adding network \"br\""]);
        assert!(world.leases("br").is_empty());
        assert!(!sh("iptables-save -t nat").contains(ID));
        assert_eq!(pod("ip -o link").lines().count(), 1);
        assert_eq!(fs::read_dir(&world.dirs.results).unwrap().count(), 0);

        let good = parse("10-br.conflist", &text("net.ipv4.conf.eth0.arp_filter"));
        let outcome = world.add(&good, "eth0", &[]).added.outcome;
        assert_eq!(outcome.interfaces.len(), 3);
        assert_eq!(outcome.interfaces[2].sandbox, "/run/netns/pod");
        assert!(pod("ip -o link show dev eth0").contains("mtu 1400"));
        let written = json::to_compact(&outcome.to_json("1.0.0"));
        assert!(
            written.contains(r#""interface":2,"address":"10.79.0."#),
            "{written}"
        );
        // The pod's namespace may be gone before its network is left.
        sh("ip netns del pod");
        let gone = Site {
            netns: None,
            netns_path: "",
            ..world.site(&[])
        };
        attach::del(&gone, &good, "eth0").unwrap();
        assert!(world.leases("br").is_empty());
    });
}

#[test]
fn loopback_and_what_a_plugin_cannot() {
    let needed = ["loopback", "ptp", "host-local"];
    isolated("loopback_and_what_a_plugin_cannot", &needed, |world| {
        let network = parse(
            "99-loopback.conf",
            r#"{"cniVersion":"1.0.0","name":"lo","type":"loopback"}"#,
        );
        let added = world.add(&network, "lo", &[]).added;
        assert_eq!(
            added.outcome.first_v4().unwrap().address.to_string(),
            "127.0.0.1/8"
        );
        assert!(added.host_end.is_none());
        assert!(pod("ip -o link show dev lo").contains("LOWER_UP"));
        world.del(&network, "lo");

        let ipam = ipam("10.77.0.0/24");
        let text = format!(r#"{{"cniVersion":"1.1.0","name":"p2p","type":"ptp","ipam":{ipam}}}"#);
        let site = world.site(&[]);
        let fault = attach::add(&site, &parse("10-p2p.conf", &text), "eth0").unwrap_err();
        assert_eq!(fault.kind, model::Kind::Unsupported);
        assert!(fault.cause.contains("incompatible CNI versions"), "{fault}");
    });
}

#[test]
fn built_in_plugins_and_programs_side_by_side() {
    let needed = ["host-local", "portmap"];
    let name = "built_in_plugins_and_programs_side_by_side";
    isolated(name, &needed, |world| {
        // Only these two are to be found.
        let dir = Path::new("/run/rkt-test-cni/net.d");
        fs::create_dir_all(dir).unwrap();
        for plugin in ["host-local", "portmap"] {
            let target = Path::new(PLUGINS).join(plugin);
            std::os::unix::fs::symlink(target, dir.join(plugin)).unwrap();
        }
        let world = World {
            dirs: Dirs {
                plugins: vec![dir.to_path_buf()],
                ..world.dirs.clone()
            },
            netns: world.netns.try_clone().unwrap(),
        };
        let ipam = ipam("10.80.0.0/24");
        let network = parse(
            "10-p2p.conflist",
            &format!(
                r#"{{"cniVersion":"1.0.0","name":"p2p","plugins":[
                    {{"type":"ptp","ipMasq":true,"ipam":{ipam}}},
                    {{"type":"portmap","capabilities":{{"portMappings":true}}}}]}}"#
            ),
        );
        let mapping = Mapping {
            name: "web".into(),
            protocol: Protocol::Udp,
            host_ip: None,
            host_port: 5353,
            pod_port: 53,
        };
        let attachment = world.add(&network, "eth0", &[mapping]);
        assert_eq!(
            attachment.plugin_path,
            "stage1/rootfs/usr/lib/rkt/plugins/net/ptp"
        );
        assert!(attachment.ports_mapped);
        let added = attachment.added;
        assert_eq!(added.masquerade.len(), 1);
        assert!(
            added
                .host_end
                .is_some_and(|host_end| host_end.starts_with("veth"))
        );
        let address = added.outcome.first_v4().unwrap().address;
        assert_eq!(world.leases("p2p"), [address.ip.to_string()]);
        assert!(pod("ip -o addr show dev eth0").contains(&format!("inet {address}")));
        assert!(
            sh("iptables-save -t nat").contains(&format!("--to-destination {}:53", address.ip))
        );
        world.del(&network, "eth0");
        assert!(!sh("iptables-save -t nat").contains("--to-destination"));
        assert!(world.leases("p2p").is_empty());

        // Built-in plugins alone are not recorded here.
        let network = parse("99-lo.conf", r#"{"name":"lo","type":"loopback"}"#);
        fs::remove_dir(&world.dirs.results).unwrap();
        world.add(&network, "lo", &[]);
        assert!(!world.dirs.results.exists());
        attach::del(&world.site(&[]), &network, "lo").unwrap();
    });
}
