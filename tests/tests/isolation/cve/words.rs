//! Texts that are more than they seem: environment, host names, annotations, sysctls, names and identifiers.

use super::{canary, hostile, run};
use serde_json::json;
use tests::{Rkt, root_test_once};

root_test_once! {
    fn line_ends_in_the_environment_reach_no_file(s) {
        let image = hostile("words").write(s.path());
        let home = "x\nevil:x:0:0::/:/bin/sh";
        for home in [home, "x\revil:x:0:0::/:/bin/sh", "x\\nevil:x:0:0::/:/bin/sh"] {
            let out = run(s).arg(format!("--set-env=HOME={home}")).arg(&image).args(["--exec=/probe", "--", "show", "/etc/passwd", "then", "show", "/etc/hosts", "then", "show", "/etc/resolv.conf"]).run();
            assert!(!out.stdout.contains("evil"), "{home:?}\n{out}");
        }
        // As long as the kernel takes it, and longer.
        let long = "x".repeat(100_000);
        run(s).arg(format!("--set-env=LONG={long}")).arg(&image).args(["--exec=/probe", "--", "echo", "x"]).run().ok();
        let file = s.write("env", format!("LONG={}\n", "x".repeat(1 << 20)));
        let out = run(s).arg(format!("--set-env-file={}", file.display())).arg(&image).args(["--exec=/probe", "--", "echo", "executed"]).run();
        assert!(out.code != 0 && !out.stdout.contains("executed"), "the kernel has no room for that\n{}", out.stderr);
        let file = s.write("env", "NUL=a\0b\n");
        let out = run(s).arg(format!("--set-env-file={}", file.display())).arg(&image).args(["--exec=/probe", "--", "echo", "executed"]).run();
        assert!(out.code != 0 && !out.stdout.contains("executed"), "{out}");
    }
}

root_test_once! {
    fn host_names_and_hosts_are_one_line(s) {
        let image = hostile("words").write(s.path());
        for flag in ["--hostname=a\n192.0.2.66 bank", "--hostname=a b", "--hosts-entry=192.0.2.1=a\n192.0.2.66 bank", "--dns-search=a\nnameserver 192.0.2.66", "--dns-opt=a\nnameserver 192.0.2.66", "--dns=192.0.2.1\nnameserver 192.0.2.66", "--dns-domain=a\nnameserver 192.0.2.66"] {
            let out = run(s).arg(flag).arg(&image).args(["--exec=/probe", "--", "show", "/etc/hosts", "then", "show", "/etc/resolv.conf"]).run();
            let injected = out.app_lines().iter().any(|l| l.starts_with("192.0.2.66") || l.starts_with("nameserver 192.0.2.66"));
            assert!(!injected, "{flag:?} added a line\n{out}");
        }
    }
}

root_test_once! {
    fn annotations_and_labels_of_an_image_do_nothing(s) {
        let canary = canary(s);
        let touched = canary.join("touched").display().to_string();
        let annotations: Vec<_> = [
            ("org.systemd.property.exec-start-pre", format!("'/bin/touch {touched}'")),
            ("io.containerd.restart.loguri", format!("binary:///bin/touch?{touched}")),
            ("cdi.k8s.io/device", "vendor.com/device=all".to_owned()),
            ("run.oci.handler", "krun".to_owned()),
            ("coreos.com/rkt/stage1/run", format!("/bin/touch {touched}")),
            ("coreos.com/rkt/stage2/seccomp", "unconfined".to_owned()),
        ]
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
        let image = hostile("words").top("annotations", json!(annotations)).write(s.path());
        let out = run(s).arg(&image).args(["--exec=/probe", "--", "facts"]).run().ok();
        assert_eq!(out.fact("Seccomp"), "2", "{out}");
        assert!(out.facts("dev").iter().all(|d| !d.contains("sda") && !d.contains("kvm")), "{out}");
        assert!(!std::path::Path::new(&touched).exists(), "a program of the host ran");
    }
}

root_test_once! {
    fn settings_are_the_pods_own_and_one_each(s) {
        const WATCHED: [&str; 4] = ["kernel/core_pattern", "kernel/shm_rmid_forced", "kernel/modprobe", "net/ipv4/ip_forward"];
        let host = || WATCHED.map(|name| std::fs::read_to_string(format!("/proc/sys/{name}")).unwrap_or_default());
        let before = host();
        let image = hostile("words").write(s.path()).display().to_string();
        let id = Rkt::new(s).args(["fetch", "--full", &image]).run().ok().stdout.trim().to_owned();
        for (net, key, value) in [
            ("--net=none", "kernel.core_pattern", "|/x"),
            ("--net=none", "kernel.modprobe", "/x"),
            ("--net=none", "kernel.shm_rmid_forced", "1+kernel.core_pattern=|/x"),
            ("--net=none", "kernel.shm_rmid_forced", "1\nkernel.core_pattern=|/x"),
            ("--net=none", "kernel.shm_rmid_forced=1+kernel.core_pattern", "|/x"),
            ("--net=none", "net/../kernel.core_pattern", "|/x"),
            ("--net=none", "net.ipv4/../../kernel/core_pattern", "|/x"),
            ("--net=host", "net.ipv4.ip_forward", "1"),
        ] {
            let manifest = json!({
                "acVersion": "0.8.11", "acKind": "PodManifest",
                "apps": [{"name": "mine", "image": {"id": id}, "app": {"exec": ["/probe", "echo", "executed"], "user": "0", "group": "0"}}],
                "volumes": [], "annotations": [], "ports": [],
                "isolators": [{"name": "os/unix/sysctl", "value": {key: value}}],
            });
            let path = s.write("pod.json", manifest.to_string());
            let out = Rkt::new(s).args(["run", net, &format!("--pod-manifest={}", path.display())]).run();
            assert_eq!(host(), before, "{key}={value:?}\n{out}");
            // A value with a plus sign or an equals sign is one for the kernel to judge, not for us to split.
            assert!(out.code != 0 && !out.stdout.contains("executed"), "{key}={value:?} was taken\n{out}");
        }
    }
}

root_test_once! {
    fn names_and_identifiers_are_no_paths(s) {
        let image = hostile("words").write(s.path());
        for name in ["..", "../../x", "a/b", "", &"a".repeat(5000), "A", "a\nb"] {
            let out = run(s).arg(&image).args([&format!("--name={name}"), "--exec=/probe", "--", "echo", "executed"]).run();
            assert!(!out.stdout.contains("executed"), "an app is called {name:?}\n{out}");
        }
        for uuid in ["..", "../../x", "../run", "/", ".", &"../".repeat(2000)] {
            for verb in [&["status"][..], &["stop"], &["enter"], &["rm"], &["logs"], &["cat-manifest"], &["run-prepared"], &["export"]] {
                let mut rkt = Rkt::new(s).args(verb).arg(uuid);
                if verb[0] == "export" {
                    rkt = rkt.arg(s.at("exported"));
                }
                assert_ne!(rkt.run().code, 0, "{verb:?} {uuid:?}");
            }
        }
        for id in ["sha512-../../../../etc", "sha512-..", "sha256:../../x", "../../x"] {
            for verb in [&["image", "cat-manifest"][..], &["image", "export"], &["image", "extract"]] {
                let mut rkt = Rkt::new(s).args(verb).arg(id);
                if verb[1].starts_with("ex") {
                    rkt = rkt.arg(s.at("out"));
                }
                assert_ne!(rkt.run().code, 0, "{verb:?} {id:?}");
            }
        }
    }
}

root_test_once! {
    fn words_of_many_kilobytes_are_refused_or_work(s) {
        let image = hostile("words").write(s.path());
        let long = "d/".repeat(33_000);
        let shelf = s.mkdir("shelf");
        for (volume, mount) in [
            (format!("--volume=v,kind=host,source={}", shelf.display()), format!("--mount=volume=v,target=/{long}")),
            (format!("--volume=v,kind=host,source=/{long}"), "--mount=volume=v,target=/v".to_owned()),
            (format!("--volume={},kind=host,source=/", "v".repeat(65_540)), "--mount=volume=v,target=/v".to_owned()),
        ] {
            let out = run(s).arg(&volume).arg(&image).args([&mount, "--exec=/probe", "--", "echo", "executed"]).run();
            assert!(out.code != 0 && !out.stdout.contains("executed"), "{}", out.stderr);
        }
        // A report of a failure is one write of a pipe, however long what failed is called.
        let program = format!("/{}", "p".repeat(120_000));
        let out = run(s).arg(&image).arg(format!("--exec={program}")).run();
        assert!(out.code == 203 || out.code == 254, "{}", out.code);
        for net in [format!("--net={}", "n".repeat(65_540)), format!("--net=default:IP={}", "1".repeat(65_540)), "--net=../../x".to_owned()] {
            let out = Rkt::new(s).args(["run", &net]).arg(&image).args(["--exec=/probe", "--", "echo", "executed"]).run();
            assert!(out.code != 0 && !out.stdout.contains("executed"), "{}", out.stderr);
        }
        for flag in [format!("--hostname={}", "h".repeat(65_540)), format!("--dns-search={}", "s.".repeat(40_000))] {
            let out = run(s).arg(&flag).arg(&image).args(["--exec=/probe", "--", "echo", "executed"]).run();
            assert!(out.code != 0 || out.stdout.contains("executed"), "{out}");
        }
    }
}
