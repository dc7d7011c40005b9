//! ^C in the middle of a fetch, and what a fetch shows while it works, on a terminal and off it.

use crate::site::Site;
use crate::{rkt, stored};
use rustix::process::Signal;
use serde_json::json;
use std::time::Duration;
use tests::http::{Body, Reply, Server};
use tests::oci::{self, Layer, Layout, digest};
use tests::proc::eventually;
use tests::tar::{self, Entry};
use tests::terminal::Terminal;
use tests::{Aci, root_test_once, skip};

fn noise() -> Vec<u8> {
    (0..2_u32 << 20)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect()
}

/// Half of it at once, the rest hardly ever.
fn half(bytes: &[u8]) -> Vec<u8> {
    let mut raw =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len()).into_bytes();
    raw.extend_from_slice(&bytes[..bytes.len() / 2]);
    raw
}

/// Who was started with a signal ignored, as under nohup, hands that down, and rkt leaves it so.
fn heard() -> Vec<(Signal, i32)> {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc is mounted");
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .expect("a mask");
    [Signal::INT, Signal::TERM, Signal::HUP]
        .into_iter()
        .map(|signal| (signal, signal.as_raw()))
        .filter(|(_, number)| ignored & (1 << (number - 1)) == 0)
        .map(|(signal, number)| (signal, 128 + number))
        .collect()
}

root_test_once! {
    fn an_interrupted_fetch_leaves_nothing(s) {
        let aci = tar::gzip(&Aci::new("example.com/x", &["/x"]).with(Entry::file("rootfs/noise", noise())).tar());
        let layer = Layer::of(&[Entry::dir("./"), Entry::file("noise", noise())]);
        let name = digest(&layer.blob);
        let mut layout = Layout::new(&s.at("layout"));
        layout.image("x", std::slice::from_ref(&layer), &json!({"Cmd": ["/x"]}));
        let dir = layout.dir().to_owned();
        let slow = Server::plain(move |asked| match asked.path.as_str() {
            "/x.aci" => Reply::ok("").body(Body::Stuck(half(&aci), Duration::from_secs(30))),
            path if path.ends_with(&name) => Reply::ok("").body(Body::Stuck(half(&layer.blob), Duration::from_secs(30))),
            path if path.ends_with("/manifests/mute") => Reply::ok("").body(Body::Silence(Duration::from_secs(30))),
            _ => oci::answer(&dir, asked),
        });
        let good = Aci::new("example.com/good", &["/x"]).write(s.path());
        rkt(s).arg("fetch").arg(good).run().ok();
        let before = stored(s);
        for image in [slow.url("/x.aci"), format!("docker://{}/x:x", slow.host()), format!("docker://{}/x:mute", slow.host())] {
            for (signal, code) in heard() {
                let asked = slow.lines().len();
                let running = rkt(s).env("HOME", "/nonexistent").args(["fetch", &image]).spawn();
                eventually("the last request is there", || {
                    let lines = slow.lines();
                    lines[asked..].iter().any(|line| line.ends_with(".aci") || line.ends_with("/mute") || line.contains("/blobs/") && lines.len() > asked + 2).then_some(())
                });
                if !image.ends_with("mute") {
                    // In the middle of the body: something is being unpacked.
                    eventually("work is begun", || {
                        let tmp = std::fs::read_dir(s.data().join("store/tmp")).map_or(0, Iterator::count);
                        (tmp > 0).then_some(())
                    });
                }
                running.signal(signal);
                let out = running.wait(Duration::from_secs(20)).code(code);
                assert!(out.stdout.is_empty() && !out.stderr.contains("panicked"), "{out}");
                assert_eq!(stored(s), before, "{image}: the store has changed\n{out}");
            }
        }
    }
}

root_test_once! {
    fn after_an_interruption_all_goes_on(s) {
        let aci = tar::gzip(&Aci::new("example.com/x", &["/x"]).with(Entry::file("rootfs/noise", noise())).tar());
        let first = std::sync::atomic::AtomicBool::new(true);
        let server = Server::plain(move |_| match first.swap(false, std::sync::atomic::Ordering::Relaxed) {
            true => Reply::ok("").body(Body::Stuck(half(&aci), Duration::from_secs(30))),
            false => Reply::ok(aci.clone()),
        });
        let call = || rkt(s).env("HOME", "/nonexistent").args(["fetch", "--full", &server.url("/x.aci")]);
        let running = call().spawn();
        eventually("it was asked", || (!server.lines().is_empty()).then_some(()));
        running.signal(Signal::TERM);
        running.end().code(143);
        let out = call().run().ok();
        rkt(s).args(["image", "verify", out.stdout.trim()]).run().ok();
    }
}

root_test_once! {
    fn progress_is_for_people(s) {
        if let Some(reason) = Site::missing() {
            skip!("{reason}");
        }
        let aci = tar::gzip(&Aci::new("example.com/x", &["/x"]).with(Entry::file("rootfs/noise", noise())).tar());
        let server = Server::plain(move |_| Reply::ok(aci.clone()));
        let call = || rkt(s).env("HOME", "/nonexistent").args(["fetch", "--full"]);
        // Off a terminal: the ID alone on stdout, whole lines on stderr.
        let out = call().arg(server.url("/x.aci")).run().ok();
        assert_eq!((out.stdout.lines().count(), out.stdout.trim().len()), (1, 71), "{out}");
        assert!(out.stderr.contains("Downloading ACI"), "{out}");
        assert!(!out.stderr.contains('\r') && !out.stderr.contains('\u{1b}') && out.stderr.ends_with('\n'), "{out}");
        let quiet = call().args(["--quiet"]).arg(server.url("/x.aci")).run().ok();
        assert_eq!(quiet.stderr, "", "{quiet}");
        // At one: a bar that moves, the sizes as people read them.
        let terminal = Terminal::new(24, 100);
        let (code, _) = terminal.start(&call().arg(server.url("/x.aci"))).end();
        let text = terminal.text();
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("Downloading ACI: [=="), "{text}");
        assert!(text.contains("2.1 MB/2.1 MB"), "{text}");
        assert!(text.contains("sha512-"), "{text}");
    }
}
