//! appc images by name and by URL over https, as publishers put them up: which pages and files are asked for, in which
//! order, and when they are not asked for again.

use crate::refused;
use crate::site::{Hosts, Site};
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use tests::http::{Body, Reply, Server};
use tests::tar::{self, Entry};
use tests::{Aci, Output, Rkt, Scratch, root_test_once, skip};

const HOST: &str = "appc.example.com";
const OTHER: &str = "files.example.com";

macro_rules! site {
    ($s:ident) => {{
        if let Some(reason) = Site::missing() {
            skip!("{reason}");
        }
        Site::new($s, &[HOST, OTHER, "example.com"])
    }};
}

fn arch() -> &'static str {
    tests::aci::arch()
}

/// An ACI as it is served.
fn aci(name: &str, version: &str) -> Vec<u8> {
    packed(&Aci::new(name, &["/x"]).version(Some(version)))
}

fn packed(aci: &Aci) -> Vec<u8> {
    tar::gzip(&aci.tar())
}

/// Where the files of a prefix are, below `files.example.com/PREFIX`.
fn template(prefix: &str) -> String {
    format!("{prefix} https://{OTHER}/{{name}}-{{version}}-{{os}}-{{arch}}.{{ext}}")
}

fn file(name: &str, version: &str) -> String {
    format!("{OTHER}/{name}-{version}-linux-{}.aci", arch())
}

fn fetch(site: &Site, s: &Scratch, words: &[&str]) -> Output {
    let rkt = site
        .rkt(s)
        .args(["--insecure-options=image", "fetch", "--full"]);
    rkt.args(words).run()
}

fn version(s: &Scratch, id: &str) -> String {
    let out = Rkt::new(s).args(["image", "cat-manifest", id]).run().ok();
    out.json()["labels"][0]["value"]
        .as_str()
        .expect("a version")
        .to_owned()
}

root_test_once! {
    fn the_name_is_asked_before_its_parents(s) {
        let site = site!(s);
        let name = format!("{HOST}/team/tools/app");
        site.put(&file(&name, "1.2.0"), aci(&name, "1.2.0"));
        let pages = [
            format!("{HOST}/team/tools/app"), format!("{HOST}/team/tools"), format!("{HOST}/team"), format!("{HOST}/"),
        ];
        // The further down the page that says it, the more pages are asked.
        for depth in 0..pages.len() {
            let prefix = name.split('/').take(4 - depth).collect::<Vec<_>>().join("/");
            site.discovery(&pages[depth], &[("ac-discovery", &template(&prefix))]);
            let mut id = String::new();
            let asked = site.asked_by(|| id = fetch(&site, s, &[&format!("{name}:1.2.0")]).ok().stdout.trim().to_owned());
            let mut expected: Vec<String> = pages[..=depth].iter().map(|page| format!("{page}?ac-discovery=1")).collect();
            if depth == 3 && asked.get(3).is_some_and(|last| *last == format!("{HOST}?ac-discovery=1")) {
                expected[3] = format!("{HOST}?ac-discovery=1");
            }
            expected.push(file(&name, "1.2.0"));
            assert_eq!(asked, expected);
            site.remove(&pages[depth]);
            Rkt::new(s).args(["image", "rm", &id]).run().ok();
        }
        // A page that speaks of others only is passed over; of several tags for the name the first that has it counts.
        site.discovery(&pages[0], &[("ac-discovery", &template("appc.example.com/other")), ("x", "y"), ("ac-discovery", "nonsense")]);
        site.discovery(&pages[1], &[
            ("ac-discovery", &format!("{HOST}/team https://{OTHER}/gone/{{name}}.{{ext}}")),
            ("ac-discovery", &template(&format!("{HOST}/team"))),
        ]);
        let asked = site.asked_by(|| { fetch(&site, s, &[&format!("{name}:1.2.0")]).ok(); });
        assert_eq!(asked.len(), 4, "{asked:#?}");
        assert_eq!(asked[2], format!("{OTHER}/gone/{name}.aci"));
    }
}

root_test_once! {
    fn a_name_without_any_page_is_its_own_url(s) {
        let site = site!(s);
        let name = format!("{HOST}/app");
        site.put(&format!("{name}-1.0.0-linux-{}.aci", arch()), aci(&name, "1.0.0"));
        let out = fetch(&site, s, &[&format!("{name}:1.0.0")]).ok();
        assert_eq!(version(s, out.stdout.trim()), "1.0.0");
        // With labels of one's own, as words and as text.
        for word in [format!("{name},version=1.0.0,os=linux,arch={}", arch()), format!("{name}:1.0.0,os=linux")] {
            assert_eq!(fetch(&site, s, &[&word]).ok().stdout, out.stdout);
        }
        let asked = site.asked_by(|| { refused(s, rkt(&site, s, &[&format!("{name}:1.0.0,arch=aarch64")]), &["discovery failed"]); });
        if arch() == "amd64" {
            assert!(asked.contains(&format!("{name}-1.0.0-linux-aarch64.aci")), "{asked:#?}");
        }
        refused(s, rkt(&site, s, &[&format!("{name}:1.0.0,arch=pdp11")]), &["pdp11"]);
        refused(s, rkt(&site, s, &[&format!("{HOST}/nothing")]), &["hint:", "404"]);
    }
}

fn rkt(site: &Site, s: &Scratch, words: &[&str]) -> Rkt {
    site.rkt(s)
        .args(["--insecure-options=image", "fetch", "--full"])
        .args(words)
}

root_test_once! {
    fn latest_is_what_the_publisher_calls_so(s) {
        let site = site!(s);
        let name = format!("{HOST}/app");
        site.discovery(&name, &[("ac-discovery", &template(HOST))]);
        site.put(&file(&name, "latest"), aci(&name, "2.0.0"));
        site.put(&file(&name, "1.0.0"), aci(&name, "1.0.0"));
        let old = fetch(&site, s, &[&format!("{name}:1.0.0")]).ok().stdout.trim().to_owned();
        let new = fetch(&site, s, &[&name]).ok().stdout.trim().to_owned();
        assert_eq!((version(s, &old), version(s, &new)), ("1.0.0".into(), "2.0.0".into()));
        for (id, latest) in [(&old, false), (&new, true)] {
            let record = s.data().join("store/images").join(id).join("record");
            let text = std::fs::read_to_string(record).expect("a record");
            assert_eq!(text.contains("\"latest\":true"), latest, "{text}");
        }
        // The store's answer to the bare name, without asking.
        let asked = site.asked_by(|| {
            let out = fetch(&site, s, &["--pull-policy=never", &name]).ok();
            assert_eq!(out.stdout.trim(), new);
        });
        assert_eq!(asked, Vec::<String>::new());
    }
}

root_test_once! {
    fn dependencies_come_along_and_are_checked(s) {
        let site = site!(s);
        site.discovery(&format!("{HOST}/"), &[("ac-discovery", &template(HOST))]);
        site.discovery(HOST, &[("ac-discovery", &template(HOST))]);
        let (base, middle, top) = (format!("{HOST}/base"), format!("{HOST}/middle"), format!("{HOST}/top"));
        let lowest = Aci::new(&base, &["/x"]).with(Entry::file("rootfs/base", "base"));
        let id = {
            let scratch = Scratch::new("id");
            let path = lowest.write(scratch.path());
            Rkt::new(&scratch).args(["fetch", "--full"]).arg(path).run().ok().stdout.trim().to_owned()
        };
        let labels = json!([{"name": "version", "value": "1.0.0"}]);
        let depends = |name: &str, on: serde_json::Value| packed(&Aci::new(name, &["/x"]).top("dependencies", json!([on])));
        site.put(&file(&middle, "1.0.0"), depends(&middle, json!({"imageName": base, "labels": labels, "imageID": id})));
        site.put(&file(&top, "1.0.0"), depends(&top, json!({"imageName": middle, "labels": labels})));

        // One is missing.
        let out = rkt(&site, s, &[&format!("{top}:1.0.0")]).run().code(254);
        assert!(out.stderr.contains(&base) || out.stderr.contains("404"), "{out}");
        // One is not the one that is wanted.
        site.put(&file(&base, "1.0.0"), packed(&Aci::new(&base, &["/x"]).with(Entry::file("rootfs/base", "another"))));
        let out = rkt(&site, s, &[&format!("{top}:1.0.0")]).run().code(254);
        assert!(out.stderr.contains(&id), "{out}");
        // All are there.
        site.put(&file(&base, "1.0.0"), packed(&lowest));
        let out = rkt(&site, s, &[&format!("{top}:1.0.0")]).run().ok();
        assert_eq!(out.stdout.lines().count(), 1, "{out}");
        let target = s.at("root");
        Rkt::new(s).args(["image", "render", "--rootfs-only", out.stdout.trim()]).arg(&target).run().ok();
        assert_eq!(std::fs::read_to_string(target.join("base")).ok().as_deref(), Some("base"));
        // With the policy new nothing is asked for any more.
        let asked = site.asked_by(|| { fetch(&site, s, &["--pull-policy=new", &format!("{top}:1.0.0")]).ok(); });
        assert_eq!(asked, Vec::<String>::new());
        // A circle ends.
        site.put(&file(&base, "2.0.0"), packed(&Aci::new(&base, &["/x"]).version(Some("2.0.0")).top("dependencies",
            json!([{"imageName": base, "labels": [{"name": "version", "value": "2.0.0"}]}]))));
        let asked = site.asked_by(|| { fetch(&site, s, &[&format!("{base}:2.0.0")]); });
        assert!(asked.len() < 10, "{asked:#?}");
    }
}

root_test_once! {
    fn what_is_fresh_or_unchanged_does_not_move(s) {
        let site = site!(s);
        let bytes = aci(&format!("{HOST}/app"), "1.0.0");
        let url = format!("https://{OTHER}/app.aci");
        let place = format!("{OTHER}/app.aci");
        let etag = |tag: &'static str, bytes: Vec<u8>| move |asked: &tests::http::Asked| match asked.header("If-None-Match") {
            Some(known) if known == tag => Reply::new(304).header("ETag", tag),
            _ => Reply::ok(bytes.clone()).header("ETag", tag),
        };
        site.page(&place, etag("\"one\"", bytes.clone()));
        let first = fetch(&site, s, &[&url]).ok();
        let moved = |work: &dyn Fn()| {
            let before = site.requests().len();
            work();
            site.requests().split_off(before).iter().map(|asked| asked.header("If-None-Match").map(str::to_owned)).collect::<Vec<_>>()
        };
        let again = moved(&|| { assert_eq!(fetch(&site, s, &[&url]).ok().stdout, first.stdout); });
        assert_eq!(again, [Some("\"one\"".to_owned())]);
        // Another one.
        site.page(&place, etag("\"two\"", aci(&format!("{HOST}/app"), "2.0.0")));
        let second = fetch(&site, s, &[&url]).ok();
        assert_ne!(second.stdout, first.stdout);
        // The image behind the tag is gone: it is asked for as a whole.
        Rkt::new(s).args(["image", "rm", second.stdout.trim()]).run().ok();
        let again = moved(&|| { assert_eq!(fetch(&site, s, &[&url]).ok().stdout, second.stdout); });
        assert_eq!(again, [None]);
        // What may be kept for an hour is not asked for.
        site.page(&place, {
            let bytes = bytes.clone();
            move |_| Reply::ok(bytes.clone()).header("Cache-Control", "public, max-age=3600")
        });
        fetch(&site, s, &[&url]).ok();
        assert_eq!(moved(&|| { fetch(&site, s, &[&url]).ok(); }), []);
        // `--no-store` is the policy update; both respect the server's word.
        assert_eq!(moved(&|| { fetch(&site, s, &["--no-store", &url]).ok(); }), []);
    }
}

root_test_once! {
    fn policies_say_who_is_asked(s) {
        let site = site!(s);
        let name = format!("{HOST}/app");
        site.discovery(&name, &[("ac-discovery", &template(HOST))]);
        site.put(&file(&name, "1.0.0"), aci(&name, "1.0.0"));
        let word = format!("{name}:1.0.0");
        let url = format!("https://{}", file(&name, "1.0.0"));
        for never in ["--pull-policy=never", "--store-only"] {
            for image in [&word, &url] {
                let asked = site.asked_by(|| { refused(s, rkt(&site, s, &[never, image]), &["unable to fetch image"]); });
                assert_eq!(asked, Vec::<String>::new());
            }
        }
        assert_eq!(site.asked_by(|| { fetch(&site, s, &["--pull-policy=new", &word]).ok(); }).len(), 2);
        assert_eq!(site.asked_by(|| { fetch(&site, s, &["--pull-policy=new", &word]).ok(); }).len(), 0);
        assert_eq!(site.asked_by(|| { fetch(&site, s, &["--store-only", &word]).ok(); }).len(), 0);
        assert_eq!(site.asked_by(|| { fetch(&site, s, &["--pull-policy=update", &word]).ok(); }).len(), 2);
        assert_eq!(site.asked_by(|| { fetch(&site, s, &[&word]).ok(); }).len(), 2);
        assert_eq!(site.asked_by(|| { fetch(&site, s, &["--no-store", &word]).ok(); }).len(), 2);
        refused(s, rkt(&site, s, &["--no-store", "--store-only", &word]), &["both --store-only and --no-store"]);
    }
}

root_test_once! {
    fn plain_http_only_where_it_is_allowed(s) {
        if let Some(reason) = Site::missing() {
            skip!("{reason}");
        }
        // Only http: on port 80, since a name has no port.
        let _hosts = Hosts::new(s, &["plain.example.com"]);
        let name = "plain.example.com/app";
        let page = "<meta name=\"ac-discovery\" content=\"plain.example.com http://plain.example.com/{name}-{version}.{ext}\">";
        let served = aci(name, "1.0.0");
        let server = Server::plain_at(80, move |asked| match asked.path.as_str() {
            "/app?ac-discovery=1" => Reply::ok(page),
            "/plain.example.com/app-1.0.0.aci" => Reply::ok(served.clone()),
            _ => Reply::new(404),
        });
        let word = format!("{name}:1.0.0");
        let call = |options: &str| Rkt::secure(s).env("HOME", "/nonexistent").args([options, "fetch", &word]);
        refused(s, call("--insecure-options=image"), &[]);
        assert_eq!(server.lines(), Vec::<String>::new(), "plain http was spoken");
        refused(s, call("--insecure-options=image,tls"), &[]);
        assert_eq!(server.lines(), Vec::<String>::new(), "plain http was spoken");
        call("--insecure-options=image,http").run().ok();
        assert_eq!(server.lines(), ["GET /app?ac-discovery=1", "GET /plain.example.com/app-1.0.0.aci"]);
    }
}

root_test_once! {
    fn certificates_are_checked(s) {
        let site = site!(s);
        let name = format!("{HOST}/app");
        site.put(&format!("{OTHER}/app.aci"), aci(&name, "1.0.0"));
        let url = format!("https://{OTHER}/app.aci");
        let nobody = || site.stranger(s);
        for options in ["--insecure-options=image", "--insecure-options=image,http"] {
            refused(s, nobody().args([options, "fetch", &url]), &["certificate", OTHER]);
        }
        nobody().args(["--insecure-options=image,tls", "fetch", &url]).run().ok();
        // A name that the certificate does not have.
        let _hosts = Hosts::new(s, &["elsewhere.test"]);
        let url = "https://elsewhere.test/app.aci";
        refused(s, site.rkt(s).args(["--insecure-options=image", "fetch", url]), &["another host"]);
    }
}

root_test_once! {
    fn a_broken_download_goes_on_where_it_broke(s) {
        let site = site!(s);
        let noise: Vec<u8> = (0..3_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let bytes = packed(&Aci::new(&format!("{HOST}/app"), &["/x"]).with(Entry::file("rootfs/noise", noise)));
        let url = format!("https://{OTHER}/app.aci");
        let half = bytes.len() / 2;
        let count = AtomicUsize::new(0);
        let served = bytes.clone();
        site.page(&format!("{OTHER}/app.aci"), move |asked| {
            let reply = Reply::ok("").header("ETag", "\"v1\"");
            match (count.fetch_add(1, Ordering::Relaxed), asked.header("Range")) {
                (0, _) => reply.body(Body::Claiming(served.len() as u64, served[..half].to_vec())),
                (_, Some(_)) if asked.header("If-Range") == Some("\"v1\"") => Reply::new(206)
                    .header("ETag", "\"v1\"")
                    .header("Content-Range", &format!("bytes {half}-{}/{}", served.len() - 1, served.len()))
                    .body(Body::Whole(served[half..].to_vec())),
                _ => reply.body(Body::Whole(served.clone())),
            }
        });
        let out = fetch(&site, s, &[&url]).ok();
        let asked = site.requests();
        assert_eq!(asked.len(), 2, "{asked:#?}");
        assert_eq!(asked[1].header("Range"), Some(format!("bytes={half}-").as_str()));
        Rkt::new(s).args(["image", "verify", out.stdout.trim()]).run().ok();
        // The thing has changed meanwhile: halves of two things are no image.
        let count = AtomicUsize::new(0);
        site.page(&format!("{OTHER}/changed.aci"), move |_| match count.fetch_add(1, Ordering::Relaxed) {
            0 => Reply::ok("").header("ETag", "\"v1\"").body(Body::Claiming(bytes.len() as u64, bytes[..half].to_vec())),
            _ => Reply::ok(bytes.clone()).header("ETag", "\"v2\""),
        });
        refused(s, rkt(&site, s, &[&format!("https://{OTHER}/changed.aci")]), &["changed"]);
        // Without a tag or a date nobody knows, so it is told.
        site.page(&format!("{OTHER}/short.aci"), move |_| Reply::ok("").body(Body::Claiming(100_000, vec![0x1f, 0x8b])));
        refused(s, rkt(&site, s, &[&format!("https://{OTHER}/short.aci")]), &["short.aci"]);
    }
}
