//! A pod that speaks as a router of the host's.

use super::hostile;
use serde_json::json;
use tests::{Rkt, net_test};

net_test! {
    fn the_host_hears_no_router_in_a_pod(lab) {
        // Without forwarding of IPv6 the kernel would listen on every new link.
        std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "0").expect("a setting of the test's own network");
        lab.scratch.mkdir("etc/net.d");
        for (name, kind) in [("pair", "ptp"), ("bridged", "bridge")] {
            let ipam = json!({"type": "host-local", "subnet": "172.31.77.0/24"});
            let conf = json!({"cniVersion": "0.4.0", "name": name, "type": kind, "bridge": "rkt-test0", "isGateway": true, "ipam": ipam});
            lab.scratch.write(&format!("etc/net.d/{name}.conf"), conf.to_string());
        }
        let image = hostile("router").exec(&["/intruder", "echo", "ready", "then", "forever"]).write(lab.path());
        for (name, link) in [("pair", "veth"), ("bridged", "rkt-test0")] {
            let save = lab.scratch.at("uuid");
            let mut pod = Rkt::new(&lab.scratch)
                .args(["run", &format!("--net={name}")])
                .arg(format!("--uuid-file-save={}", save.display()))
                .arg(&image)
                .spawn();
            pod.until("ready");
            let links: Vec<String> = std::fs::read_dir("/proc/sys/net/ipv6/conf")
                .expect("this kernel has IPv6")
                .flatten()
                .map(|e| e.file_name().to_string_lossy().into_owned())
                .filter(|l| l.starts_with(link))
                .collect();
            assert!(!links.is_empty(), "{name} has no link here");
            for link in links {
                let heard = std::fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{link}/accept_ra"));
                assert_eq!(heard.expect("the link's setting").trim(), "0", "{link} of {name}");
            }
            let uuid = std::fs::read_to_string(&save).expect("--uuid-file-save wrote the file");
            Rkt::new(&lab.scratch).args(["stop", "--force", &uuid]).run().ok();
            pod.end();
        }
    }
}
