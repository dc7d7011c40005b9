//! What an app finds when it starts: arguments, environment, user, directory, volumes, host name, its neighbours.

use crate::{call, probe, run};
use serde_json::json;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use tests::tar::Entry;
use tests::{Aci, Rkt, root_test};

root_test! {
    fn echo(s) {
        let out = run(s, &probe(s)).args(["--", "echo", "hello", "world"]).run().ok();
        assert_eq!(out.app_lines(), ["hello world"]);
    }
}

root_test! {
    fn streams_stay_apart(s) {
        let out = run(s, &probe(s)).args(["--", "echo", "to-out", "then", "warn", "to-err"]).run().ok();
        assert!(out.stdout.contains("to-out"), "{out}");
        assert!(format!("{}{}", out.stdout, out.stderr).contains("to-err"), "{out}");
    }
}

root_test! {
    fn many_lines_arrive_in_order(s) {
        let out = run(s, &probe(s)).args(["--", "lines", "5000"]).run().ok();
        let expected: Vec<String> = (0..5000).map(|i| format!("line {i}")).collect();
        assert!(out.app_lines() == expected, "{} lines of 5000", out.app_lines().len());
    }
}

root_test! {
    fn exit_code_is_the_apps(s) {
        for code in ["1", "7", "255"] {
            run(s, &probe(s)).args(["--", "exit", code]).run().code(code.parse().expect("a number"));
        }
    }
}

root_test! {
    fn a_program_that_is_not_there(s) {
        let out = run(s, &probe(s)).arg("--exec=/no/such/program").run().code(203);
        assert!(format!("{}{}", out.stdout, out.stderr).contains("/no/such/program"), "{out}");
    }
}

root_test! {
    fn a_bare_name_is_looked_up_in_the_pods_path(s) {
        let aci = Aci::probe("example.com/probe")
            .exec(&["probe", "echo", "found"])
            .app("environment", json!([{"name": "PATH", "value": "/nowhere:/"}]));
        let out = run(s, &aci.write(s.path())).run().ok();
        assert_eq!(out.app_lines(), ["found"]);
    }
}

root_test! {
    fn two_apps_share_pid_ipc_uts_and_net_but_no_root(s) {
        let one = Aci::probe("example.com/one").write(s.path());
        let two = Aci::probe("example.com/two").write(s.path());
        let shared = s.mkdir("shared");
        let volume = format!("--volume=v,kind=host,source={}", shared.display());
        let out = Rkt::new(s)
            .args(["run", "--net=none", &volume, "--mount=volume=v,target=/v"])
            .arg(&one)
            .args(["--", "cat", "/which", "then", "echo", "", "then", "facts", "then", "write", "/v/one", "x", "then", "await", "/v/two", "---"])
            .arg(&two)
            .args(["--", "cat", "/which", "then", "echo", "", "then", "facts", "then", "write", "/v/two", "x", "then", "await", "/v/one"])
            .run()
            .ok();
        for kind in ["pid", "ipc", "uts", "net"] {
            let seen = out.facts(&format!("ns.{kind}"));
            assert!(seen.len() == 2 && seen[0] == seen[1], "{kind}: {seen:?}\n{out}");
            let host = std::fs::read_link(format!("/proc/self/ns/{kind}")).expect("our own namespace");
            assert_ne!(seen[0], host.display().to_string(), "{kind} is the host's");
        }
        let roots = out.facts("ns.mnt");
        assert!(roots.len() == 2 && roots[0] != roots[1], "{roots:?}");
        let lines = out.app_lines();
        for name in ["example.com/one", "example.com/two"] {
            assert!(lines.iter().any(|l| l == name), "no app saw its own root {name}\n{out}");
        }
    }
}

root_test! {
    fn the_first_failing_app_gives_the_code_and_ends_the_pod(s) {
        let image = probe(s);
        let out = Rkt::new(s)
            .args(["run", "--net=none"])
            .arg(&image)
            .args(["--name=stays", "--", "forever", "---"])
            .arg(&image)
            .args(["--name=fails", "--", "exit", "3"])
            .run();
        out.code(3);
    }
}

root_test! {
    fn environment(s) {
        let file = s.write("env", "# comment\nFROM_FILE=file\n\nBOTH=file\n");
        let out = Rkt::new(s)
            .args(["run", "--net=none", "--set-env=SET=set", "--set-env=BOTH=flag"])
            .arg(format!("--set-env-file={}", file.display()))
            .arg(probe(s))
            .args(["--environment=APP=app", "--environment=SET=lost", "--", "env"])
            .env("NOT_INHERITED", "x")
            .run()
            .ok();
        let lines = out.app_lines();
        for line in ["FROM_IMAGE=image", "FROM_FILE=file", "BOTH=flag", "SET=set", "APP=app", "AC_APP_NAME=probe"] {
            assert!(lines.iter().any(|l| l == line), "no {line}\n{out}");
        }
        assert!(lines.iter().any(|l| l.starts_with("PATH=")), "no PATH\n{out}");
        assert!(!out.stdout.contains("NOT_INHERITED"), "{out}");
        assert!(!out.stdout.contains("RKT_"), "rkt's own variables leak\n{out}");
    }
}

root_test! {
    fn inherited_environment(s) {
        let out = Rkt::new(s)
            .args(["run", "--net=none", "--inherit-env"])
            .arg(probe(s))
            .args(["--", "env"])
            .env("INHERITED", "yes")
            .env("FROM_IMAGE", "host")
            .run()
            .ok();
        let lines = out.app_lines();
        assert!(lines.iter().any(|l| l == "INHERITED=yes"), "{out}");
        assert!(lines.iter().any(|l| l == "FROM_IMAGE=image"), "{out}");
    }
}

root_test! {
    fn user_and_group(s) {
        for (user, group, uid, gid) in
            [("alice", "alice", "1234", "1235"), ("1000", "1001", "1000", "1001"), ("0", "staff", "0", "50")]
        {
            let out = run(s, &probe(s))
                .args([format!("--user={user}"), format!("--group={group}")])
                .args(["--", "facts"])
                .run()
                .ok();
            assert_eq!(out.fact("Uid"), [uid; 4].join(" "), "{out}");
            assert_eq!(out.fact("Gid"), [gid; 4].join(" "), "{out}");
        }
        let out = run(s, &probe(s)).args(["--user=nosuch", "--", "facts"]).run();
        assert!(out.code != 0 && out.stderr.contains("nosuch") || out.stdout.contains("nosuch"), "{out}");
    }
}

root_test! {
    fn supplementary_groups_and_the_owner_of_a_file(s) {
        let aci = Aci::probe("example.com/probe").with(Entry::file("rootfs/owned", "").owner(77, 88));
        let image = aci.write(s.path());
        let out = run(s, &image).args(["--supplementary-gids=42,43", "--user=/owned", "--group=/owned", "--", "facts"]).run().ok();
        assert_eq!(out.fact("Uid"), "77 77 77 77");
        assert_eq!(out.fact("Gid"), "88 88 88 88");
        let groups = out.fact("Groups");
        assert!(["42", "43"].iter().all(|g| groups.split(' ').any(|h| h == *g)), "{groups}");
    }
}

root_test! {
    fn working_directory(s) {
        let image = probe(s);
        let out = run(s, &image).args(["--working-dir=/work", "--", "cwd"]).run().ok();
        assert_eq!(out.app_lines(), ["/work"]);
        let out = run(s, &image).args(["--", "cwd"]).run().ok();
        assert_eq!(out.app_lines(), ["/"]);
    }
}

root_test! {
    fn host_volume_is_read_and_written(s) {
        let shelf = s.mkdir("shelf");
        std::fs::write(shelf.join("in"), "from the host\n").expect("a file in the scratch directory");
        let volume = format!("--volume=v,kind=host,source={}", shelf.display());
        let out = Rkt::new(s)
            .args(["run", "--net=none", &volume])
            .arg(probe(s))
            .args(["--mount=volume=v,target=/data", "--", "cat", "/data/in", "then", "write", "/data/out", "back"])
            .run()
            .ok();
        assert_eq!(out.app_lines(), ["from the host"]);
        assert_eq!(std::fs::read_to_string(shelf.join("out")).ok().as_deref(), Some("back\n"));
        let out = Rkt::new(s)
            .args(["run", "--net=none", &format!("{volume},readOnly=true")])
            .arg(probe(s))
            .args(["--mount=volume=v,target=/data", "--", "try-write", "/data/no"])
            .run()
            .ok();
        assert_eq!(out.fact("write"), "EROFS");
    }
}

root_test! {
    fn an_image_mount_point_takes_the_volume_of_its_name(s) {
        let aci = Aci::probe("example.com/probe")
            .app("mountPoints", json!([{"name": "data", "path": "/deep/data", "readOnly": true}]));
        let image = aci.write(s.path());
        let shelf = s.mkdir("shelf");
        std::fs::write(shelf.join("in"), "seen\n").expect("a file in the scratch directory");
        let out = Rkt::new(s)
            .args(["run", "--net=none"])
            .arg(format!("--volume=data,kind=host,source={}", shelf.display()))
            .arg(&image)
            .args(["--", "cat", "/deep/data/in", "then", "try-write", "/deep/data/no"])
            .run()
            .ok();
        out.clone().stdout_has("seen");
        assert_eq!(out.fact("write"), "EROFS");
    }
}

root_test! {
    fn empty_volume_is_shared_by_apps_and_has_its_mode(s) {
        let image = probe(s);
        let out = Rkt::new(s)
            .args(["run", "--net=none", "--volume=v,kind=empty,mode=0770,uid=5,gid=6", "--mount=volume=v,target=/v"])
            .arg(&image)
            .args(["--name=one", "--", "write", "/v/x", "passed", "then", "stat", "/v", "---"])
            .arg(&image)
            .args(["--name=two", "--", "await", "/v/x", "then", "cat", "/v/x"])
            .run()
            .ok();
        out.clone().stdout_has("passed");
        assert!(out.fact("stat").starts_with("770 5:6 "), "{out}");
    }
}

root_test! {
    fn read_only_root_and_writable_root(s) {
        let image = probe(s);
        let out = run(s, &image).args(["--readonly-rootfs=true", "--", "try-write", "/new"]).run().ok();
        assert_eq!(out.fact("write"), "EROFS");
        let out = run(s, &image).args(["--", "try-write", "/new", "then", "exists", "/new"]).run().ok();
        assert_eq!((out.fact("write"), out.fact("exists")), ("ok".to_owned(), "true".to_owned()));
        let out = run(s, &image).args(["--", "exists", "/new"]).run().ok();
        assert_eq!(out.fact("exists"), "false", "one pod's writes reach the next");
    }
}

root_test! {
    fn without_overlay(s) {
        let image = probe(s);
        let out = Rkt::new(s)
            .args(["run", "--net=none", "--no-overlay"])
            .arg(&image)
            .args(["--", "try-write", "/new", "then", "cat", "/which"])
            .run()
            .ok();
        out.clone().stdout_has("example.com/probe");
        assert_eq!(out.fact("write"), "ok");
    }
}

root_test! {
    fn host_name(s) {
        let image = probe(s);
        let hostname = |flags: &[&str]| {
            let out = Rkt::new(s).args(["run", "--net=none"]).args(flags).arg(&image).args(["--", "facts"]).run().ok();
            out.fact("hostname")
        };
        assert_eq!(hostname(&["--hostname=chosen"]), "chosen");
        let save = s.at("uuid");
        let flag = format!("--uuid-file-save={}", save.display());
        let own = hostname(&[&flag]);
        let uuid = std::fs::read_to_string(&save).expect("the UUID was saved");
        assert_eq!(own, format!("rkt-{uuid}"));
    }
}

root_test! {
    fn etc_hosts_and_resolv_conf(s) {
        let out = Rkt::new(s)
            .args(["run", "--net=none", "--dns=192.0.2.53", "--dns-search=example.com", "--hosts-entry=192.0.2.1=db"])
            .arg(probe(s))
            .args(["--", "cat", "/etc/resolv.conf", "then", "cat", "/etc/hosts"])
            .run()
            .ok();
        for part in ["nameserver 192.0.2.53", "search example.com", "192.0.2.1 db"] {
            out.clone().stdout_has(part);
        }
    }
}

root_test! {
    fn interactive_has_plain_streams(s) {
        let out = Rkt::new(s)
            .args(["run", "--net=none", "--interactive"])
            .arg(probe(s))
            .args(["--", "stdin"])
            .stdin("typed\n")
            .run()
            .ok();
        assert_eq!(out.stdout, "typed\n");
    }
}

root_test! {
    fn a_setuid_bit_and_modes_survive(s) {
        let aci = Aci::probe("example.com/probe").with(Entry::program("rootfs/su", "x").mode(0o4755).owner(3, 4));
        let image = aci.write(s.path());
        let out = run(s, &image).args(["--", "stat", "/su"]).run().ok();
        assert_eq!(out.fact("stat"), "4755 3:4 1");
    }
}

root_test! {
    fn nothing_of_the_data_directory_is_open_to_others(s) {
        run(s, &probe(s)).args(["--", "echo", "x"]).run().ok();
        let mode = std::fs::metadata(s.data()).expect("the data directory exists").permissions().mode();
        assert_eq!(mode & 0o007, 0, "{mode:o}");
        let owner = std::fs::metadata(s.data().join("pods")).expect("the pods directory exists");
        assert_eq!(owner.uid(), 0);
    }
}

root_test! {
    fn a_pod_manifest_is_used_as_it_stands(s) {
        let image = probe(s);
        let id = call(s, &["fetch", "--full", &image.display().to_string()]).ok().stdout.trim().to_owned();
        let manifest = json!({
            "acVersion": "0.8.11", "acKind": "PodManifest",
            "apps": [{"name": "mine", "image": {"id": id}, "app": {"exec": ["/probe", "echo", "by-manifest"], "user": "0", "group": "0"}}],
            "volumes": null, "isolators": null, "annotations": null, "ports": null,
        });
        let path = s.write("pod.json", manifest.to_string());
        let out = Rkt::new(s)
            .args(["run", "--net=none", &format!("--pod-manifest={}", path.display())])
            .run()
            .ok();
        assert_eq!(out.app_lines(), ["by-manifest"]);
    }
}
