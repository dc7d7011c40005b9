//! Images whose `/proc`, `/sys`, `/dev`, `/etc`, `/tmp` are something else than directories.

use super::{canary, hostile, run};
use tests::tar::Entry;
use tests::{Output, Scratch, root_test_once};

const PLACES: [&str; 6] = ["proc", "sys", "dev", "etc", "tmp", "run"];

/// The image without anything at `place`, and then with `entry` there.
fn with(place: &str, entry: Entry) -> tests::Aci {
    let mut aci = hostile("odd");
    let at = format!("rootfs/{place}");
    aci.entries
        .retain(|e| e.name != at.as_bytes() && !e.name.starts_with(format!("{at}/").as_bytes()));
    aci.with(entry)
}

/// The app runs as confined as ever, or not at all.
#[track_caller]
fn contained(s: &Scratch, aci: &tests::Aci, overlay: bool, what: &str) -> Output {
    let image = aci.write(s.path());
    let flag = format!("--no-overlay={}", !overlay);
    let out = run(s)
        .arg(flag)
        .arg(&image)
        .args([
            "--exec=/intruder",
            "--",
            "echo",
            "executed",
            "then",
            "mounts-of",
            "/proc",
            "then",
            "writes",
            "/proc/sys/kernel/core_pattern",
            "/proc/sys/kernel/hostname",
            "/sys/kernel/uevent_helper",
        ])
        .run();
    if out.stdout.contains("executed") {
        let lines = out.app_lines();
        assert!(
            lines.iter().any(|l| l.starts_with("mounted=/proc proc")),
            "{what}: no /proc\n{out}"
        );
        assert!(
            lines.iter().any(|l| l.starts_with("mounted=/sys sysfs")),
            "{what}: no /sys\n{out}"
        );
        assert!(
            lines.iter().any(|l| l.starts_with("mounted=/dev tmpfs")),
            "{what}: no /dev\n{out}"
        );
        assert!(
            !lines
                .iter()
                .any(|l| l.starts_with("write ") && l.ends_with("=open")),
            "{what}: writable\n{out}"
        );
    } else {
        assert_eq!(out.code, 254, "{what}\n{out}");
        assert!(
            out.stderr.contains("stage1") || out.stderr.contains("cannot"),
            "{what}: no reason\n{out}"
        );
    }
    out
}

root_test_once! {
    fn links_out_of_the_root(s) {
        let canary = canary(s);
        let up = "../".repeat(24);
        for place in PLACES {
            for (overlay, target) in [(true, canary.display().to_string()), (false, format!("{up}{}", canary.display())), (true, "work".to_owned())] {
                let what = format!("/{place} -> {target}");
                let out = contained(s, &with(place, Entry::symlink(&format!("rootfs/{place}"), &target)), overlay, &what);
                if ["proc", "sys", "dev"].contains(&place) {
                    assert_eq!(out.code, 254, "{what} was followed\n{out}");
                }
                let left: Vec<_> = std::fs::read_dir(&canary).expect("the canary is ours").flatten().map(|e| e.file_name()).collect();
                assert_eq!(left, ["secret"], "{what} reached the host");
            }
        }
    }
}

root_test_once! {
    fn files_fifos_and_devices(s) {
        for place in PLACES {
            let name = format!("rootfs/{place}");
            for (overlay, entry) in [(true, Entry::file(&name, "x")), (false, Entry::fifo(&name))] {
                let what = format!("/{place} of type {}", char::from(entry.kind));
                contained(s, &with(place, entry), overlay, &what);
            }
        }
        let console = with("dev", Entry::char_device("rootfs/dev", 1, 3));
        contained(s, &console, true, "/dev, a device");
    }
}

root_test_once! {
    fn files_that_we_bind_over(s) {
        let canary = canary(s);
        let secret = canary.join("secret").display().to_string();
        for place in ["etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab", "dev/shm", "dev/pts", "dev/console", "dev/null", "dev/mqueue"] {
            for target in [secret.clone(), "/proc/sys/kernel/core_pattern".to_owned()] {
                let mut aci = hostile("odd").with(Entry::dir("rootfs/dev"));
                aci.entries.retain(|e| e.name != format!("rootfs/{place}").as_bytes());
                let image = aci.with(Entry::symlink(&format!("rootfs/{place}"), &target)).write(s.path());
                let out = run(s).args(["--dns=192.0.2.1", "--hosts-entry=192.0.2.1=x"]).arg(&image).args(["--exec=/intruder", "--", "echo", "executed", "then", "writes", "/proc/sys/kernel/core_pattern"]).run();
                assert!(out.code == 254 || out.stdout.contains("executed"), "/{place} -> {target}\n{out}");
                assert!(!out.stdout.contains("core_pattern=open"), "/{place} -> {target}\n{out}");
                assert_eq!(std::fs::read_to_string(&secret).ok().as_deref(), Some("of the host\n"), "/{place} -> {target}");
            }
        }
    }
}
