//! Settings of a pod's namespaces (`--sysctl`) and of its apps' processes (`--rlimit`): what an app sees of them, and
//! what is refused because it would change the host or go beyond what rkt itself may use.

use crate::{call, probe, run, start};
use rustix::process::{Resource, getrlimit};
use serde_json::json;
use tests::{Aci, Output, Rkt, Scratch, root_test, root_test_once, skip};

/// One file below `/proc/sys`, as the host has it.
fn host(path: &str) -> String {
    std::fs::read_to_string(format!("/proc/sys/{path}")).unwrap_or_default()
}

/// `name soft hard` of each line of `/proc/PID/limits` that a process of the pod printed.
fn limit(out: &Output, title: &str) -> Vec<(String, String)> {
    let lines = out.app_lines();
    let lines = lines.iter().filter_map(|line| line.strip_prefix(title));
    lines
        .map(|rest| {
            let words: Vec<&str> = rest.split_whitespace().collect();
            (words[0].to_owned(), words[1].to_owned())
        })
        .collect()
}

fn pair(soft: &str, hard: &str) -> (String, String) {
    (soft.to_owned(), hard.to_owned())
}

root_test! {
    fn settings_of_the_pods_own_namespaces_are_set(s) {
        let settings = [
            ("net.core.somaxconn=77", "net/core/somaxconn", "77"),
            ("net/ipv4/ip_unprivileged_port_start=81", "net/ipv4/ip_unprivileged_port_start", "81"),
            ("net.ipv4.conf.lo.arp_announce=2", "net/ipv4/conf/lo/arp_announce", "2"),
            ("net.ipv4.ip_local_port_range=20000 30000", "net/ipv4/ip_local_port_range", "20000\t30000"),
            ("kernel.shmmni=77", "kernel/shmmni", "77"),
            ("kernel.msgmax=4001", "kernel/msgmax", "4001"),
            ("kernel.sem=250 32000 100 77", "kernel/sem", "250\t32000\t100\t77"),
            ("fs.mqueue.msg_max=7", "fs/mqueue/msg_max", "7"),
        ];
        let before: Vec<String> = settings.iter().map(|(_, path, _)| host(path)).collect();
        let image = probe(s);
        let mut app: Vec<String> = Vec::new();
        for (_, path, _) in settings {
            app.extend(["cat".to_owned(), format!("/proc/sys/{path}"), "then".to_owned()]);
        }
        let flags = settings.map(|(setting, ..)| format!("--sysctl={setting}"));
        let out = Rkt::new(s).args(["run", "--net=none"]).args(&flags).arg(&image).arg("--").args(&app).run().ok();
        let expected: Vec<&str> = settings.iter().map(|(.., value)| *value).collect();
        assert_eq!(out.app_lines(), expected, "{out}");
        let after: Vec<String> = settings.iter().map(|(_, path, _)| host(path)).collect();
        assert_eq!(before, after, "the host's own changed");
    }
}

root_test_once! {
    fn what_would_change_the_host_is_refused_before_the_pod_starts(s) {
        let image = probe(s);
        let whole = "is not of a namespace: it would change the whole host";
        for (flags, key, why) in [
            (&[][..], "kernel.core_pattern", whole),
            (&[], "kernel/core_pattern", whole),
            (&[], "vm.overcommit_memory", whole),
            (&[], "fs.file-max", whole),
            (&[], "kernel.hostname", "is rkt's to set"),
            (&["--net=host"], "net.core.somaxconn", "would change the host's network"),
            (&["--ipc=parent"], "kernel.shmmax", "would change the host's IPC"),
            (&["--ipc=parent"], "fs.mqueue.msg_max", "would change the host's IPC"),
        ] {
            let net = if flags.is_empty() || flags[0].starts_with("--ipc") { "--net=none" } else { flags[0] };
            let out = Rkt::new(s)
                .args(["run", net])
                .args(flags.iter().filter(|flag| flag.starts_with("--ipc")))
                .arg(format!("--sysctl={key}=|/bin/false"))
                .arg(&image)
                .args(["--", "echo", "ran"])
                .run()
                .code(254)
                .stderr_has(&format!("sysctl \"{key}\" {why}"));
            assert!(out.app_lines().is_empty(), "{out}");
        }
    }
}

root_test! {
    fn a_setting_that_cannot_be_is_named(s) {
        let image = probe(s);
        let one = |setting: &str| {
            let flag = format!("--sysctl={setting}");
            Rkt::new(s).args(["run", "--net=none", &flag]).arg(&image).args(["--", "echo", "ran"]).run()
        };
        for (setting, said) in [
            ("net.core.nosuch=1", "sysctl \"net.core.nosuch\" is not known to this kernel"),
            ("net.ipv4.conf.eth7.arp_announce=1", "sysctl \"net.ipv4.conf.eth7.arp_announce\" is not known"),
            ("net.core=1", "sysctl \"net.core\" is not known"),
            ("net.core.somaxconn=many", "cannot set sysctl \"net.core.somaxconn\" to \"many\""),
            ("net.core.somaxconn=-1", "cannot set sysctl \"net.core.somaxconn\" to \"-1\""),
        ] {
            let out = one(setting).code(254).stderr_has(said);
            assert!(out.app_lines().is_empty(), "{out}");
        }
        for bad in ["net.core.somaxconn", "net..x=1", "net/../kernel/core_pattern=x", "net.core.somaxconn=1\n2", "=1"] {
            let out = one(bad);
            // A flag that cannot be read brings the help screen.
            assert!(out.code != 0 && out.stderr.contains("for --sysctl="), "{out}");
            assert!(!out.app_lines().iter().any(|line| line == "ran"), "{out}");
        }
    }
}

root_test_once! {
    fn a_pod_manifest_sets_them_too_and_an_image_cannot(s) {
        let wish = json!([{"name": "os/unix/sysctl", "value": {"net.core.somaxconn": "78"}}]);
        let image = Aci::probe("example.com/probe").app("isolators", wish.clone()).write(s.path());
        let words = ["--", "cat", "/proc/sys/net/core/somaxconn"];
        let out = run(s, &image).args(words).run().ok().stderr_has("isolator \"os/unix/sysctl\" is the pod's");
        assert_ne!(out.app_lines(), ["78"], "{out}");
        let uuid = Rkt::new(s).args(["prepare", "--quiet"]).arg(&image).args(words).run().ok().stdout;
        let manifest = call(s, &["cat-manifest", uuid.trim()]).ok();
        let mut manifest = manifest.json();
        manifest["isolators"] = wish;
        let path = s.write("pod.json", manifest.to_string());
        let pod = format!("--pod-manifest={}", path.display());
        let out = Rkt::new(s).args(["run", "--net=none", &pod]).run().ok();
        assert_eq!(out.app_lines(), ["78"], "{out}");
        Rkt::new(s)
            .args(["run", &pod, "--sysctl=net.core.somaxconn=79"])
            .run()
            .code(254)
            .stderr_has("conflicting flags set with --pod-manifest");
    }
}

/// An image with limits of its own, which a handler shows as well.
fn limited(s: &Scratch) -> std::path::PathBuf {
    let limits = json!({"nofile": {"soft": 200, "hard": 300}, "core": {"soft": 0}, "memlock": {"soft": 4096}});
    Aci::probe("example.com/probe")
        .app(
            "isolators",
            json!([{"name": "os/unix/rlimits", "value": limits}]),
        )
        .app(
            "eventHandlers",
            json!([{"name": "pre-start", "exec": ["/probe", "cat", "/proc/self/limits"]}]),
        )
        .write(s.path())
}

root_test! {
    fn an_app_gets_its_limits_and_so_do_handlers_and_enter(s) {
        let image = limited(s);
        let flags = ["--rlimit=nofile=100:250", "--rlimit=nproc=50", "--user=alice", "--group=alice"];
        let out = run(s, &image).args(flags).args(["--", "cat", "/proc/self/limits"]).run().ok();
        let twice = |pair: (String, String)| vec![pair.clone(), pair];
        assert_eq!(limit(&out, "Max open files"), twice(pair("100", "250")), "{out}");
        assert_eq!(limit(&out, "Max core file size"), twice(pair("0", "0")), "{out}");
        assert_eq!(limit(&out, "Max locked memory"), twice(pair("4096", "4096")), "{out}");
        assert_eq!(limit(&out, "Max processes"), twice(pair("50", "50")), "{out}");

        let (pod, uuid) = start(s, &image, &flags, &["forever"]);
        let entered = call(s, &["enter", &uuid, "/probe", "cat", "/proc/self/limits"]).ok();
        assert!(entered.stdout.contains("Max open files            100                  250"), "{entered}");
        assert!(entered.stdout.contains("Max processes             50                   50"), "{entered}");
        call(s, &["stop", "--force", &uuid]).ok();
        pod.end();
    }
}

root_test! {
    fn what_is_not_limited_is_as_rkt_was_started(s) {
        let image = probe(s);
        let out = run(s, &image).args(["--", "cat", "/proc/self/limits"]).run().ok();
        let text = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
        for (title, resource) in [
            ("Max open files", Resource::Nofile),
            ("Max core file size", Resource::Core),
            ("Max stack size", Resource::Stack),
            ("Max processes", Resource::Nproc),
        ] {
            let own = getrlimit(resource);
            let expected = vec![(text(own.current), text(own.maximum))];
            assert_eq!(limit(&out, title), expected, "{title}\n{out}");
        }
        // Whoever enters has limits of their own; what they start in the pod has the pod's.
        let (pod, uuid) = start(s, &image, &[], &["forever"]);
        let fewer = ["sh", "-c", "ulimit -S -n 77; exec \"$0\" \"$@\""];
        let entered = Rkt::new(s)
            .through(&fewer, &tests::rkt::binary())
            .args(["enter", &uuid, "/probe", "cat", "/proc/self/limits"])
            .run()
            .ok();
        let own = getrlimit(Resource::Nofile);
        let expected = format!("Max open files            {:<20} {:<20}", text(own.current), text(own.maximum));
        assert!(entered.stdout.contains(&expected), "{entered}");
        call(s, &["stop", "--force", &uuid]).ok();
        pod.end();
    }
}

root_test_once! {
    fn raising_a_hard_limit_needs_a_capability(s) {
        const SYS_RESOURCE: u64 = 1 << 24;
        let Some(hard) = getrlimit(Resource::Nofile).maximum else {
            skip!("no hard limit of open files is in force here");
        };
        let more = format!("--rlimit=nofile=64:{}", hard + 1);
        let out = run(s, &probe(s)).args([&more, "--", "cat", "/proc/self/limits"]).run();
        if sys::caps::permitted().expect("capget") & SYS_RESOURCE == 0 {
            let out = out.code(254);
            assert!(out.stderr.contains(&format!("cannot set the limit \"nofile=64:{}\"", hard + 1)), "{out}");
            assert!(out.stderr.contains("raising it takes CAP_SYS_RESOURCE"), "{out}");
            skip!("raising was refused as it should be: this machine has no CAP_SYS_RESOURCE");
        }
        assert_eq!(limit(&out.ok(), "Max open files"), [pair("64", &(hard + 1).to_string())]);
    }
}

root_test_once! {
    fn limits_that_make_no_sense_are_refused(s) {
        let image = probe(s);
        for (flag, said) in [
            ("nofile=10:5", "nofile: the soft limit of 10 is above the hard one of 5"),
            ("files=10", "\"files\" is not a resource limit"),
            ("nofile=some", "nofile: \"some\" is not a limit"),
            ("nofile", "must be given as NAME=SOFT[:HARD]"),
        ] {
            let flag = format!("--rlimit={flag}");
            let out = run(s, &image).args([&flag, "--", "echo", "ran"]).run();
            assert!(out.code != 0 && out.stderr.contains(said), "{out}");
        }
    }
}
