//! Registries and servers that lie, stall, redirect and bomb: each time a clear refusal within a bounded time and
//! memory, and a store that holds what it held before.

use crate::site::{Hosts, Site};
use crate::{rkt, stored};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tests::http::{Asked, Body, Reply, Server};
use tests::oci::{self, Layer, Layout, digest, host_arch};
use tests::registry::tool;
use tests::tar::{self, Entry};
use tests::{Aci, Output, Rkt, Scratch, root_test_once, skip};

/// Of address space. A fetch needs a third of it; who reads what a server sends until it ends needs more.
const MEMORY: u64 = 128 << 20;
const DEADLINE: Duration = Duration::from_secs(60);

/// An honest image to twist: two layers, the larger one first.
struct World<'s> {
    s: &'s Scratch,
    layout: Layout,
    layers: Vec<Layer>,
    manifest: String,
    /// What was not as it should be: all of it is told at the end, not the first thing alone.
    complaints: RefCell<Vec<String>>,
}

impl Drop for World<'_> {
    fn drop(&mut self) {
        let complaints = self.complaints.take();
        if !complaints.is_empty() && !std::thread::panicking() {
            panic!(
                "{} complaints\n\n{}",
                complaints.len(),
                complaints.join("\n\n")
            );
        }
    }
}

impl<'s> World<'s> {
    /// With one good image in the store, so that "as before" says something.
    fn new(s: &'s Scratch) -> World<'s> {
        let good = Aci::new("example.com/good", &["/x"]).write(s.path());
        Rkt::new(s).arg("fetch").arg(good).run().ok();
        let layers = vec![
            Layer::of(&[Entry::dir("./"), Entry::file("large", noise(3 << 20))]),
            Layer::of(&[Entry::file("small", "small")]),
        ];
        let mut layout = Layout::new(&s.at("layout"));
        let manifest = layout.image("x", &layers, &json!({"Cmd": ["/x"]}));
        World {
            s,
            layout,
            layers,
            manifest,
            complaints: RefCell::default(),
        }
    }

    /// The blob of the larger layer.
    fn large(&self) -> (String, Vec<u8>) {
        (digest(&self.layers[0].blob), self.layers[0].blob.clone())
    }

    /// A server that answers some requests by `twist` and all others honestly.
    fn server(&self, twist: impl Fn(&Asked) -> Option<Reply> + Send + Sync + 'static) -> Server {
        let dir = self.layout.dir().to_owned();
        Server::plain(move |asked| twist(asked).unwrap_or_else(|| oci::answer(&dir, asked)))
    }

    fn rkt(&self) -> Rkt {
        rkt(self.s)
            .env("HOME", "/nonexistent")
            .deadline(DEADLINE)
            .memory(MEMORY)
    }

    /// Fetches a tag of a server, which must be refused for these words.
    #[track_caller]
    fn refuses(&self, server: &Server, tag: &str, words: &[&str]) -> Output {
        let before = stored(self.s);
        let image = format!("docker://{}/team/x:{tag}", server.host());
        let out = self.rkt().args(["fetch", &image]).run();
        self.refused(before, out, &server.host(), words)
    }

    #[track_caller]
    fn refused(&self, before: Vec<String>, out: Output, host: &str, words: &[&str]) -> Output {
        let caller = std::panic::Location::caller().line();
        let complain = |what: String| {
            self.complaints
                .borrow_mut()
                .push(format!("line {caller}: {what}\n{out}"))
        };
        if out.code != 254 || out.stderr.contains("panicked") {
            complain("not refused in order".to_owned());
        }
        if !out.stderr.contains("fetch: ") || !out.stdout.is_empty() {
            complain("not in the form of an error".to_owned());
        }
        if !out.stderr.lines().any(|line| {
            line.starts_with("fetch: ") && (line.contains(host) || line.contains("sha256:"))
        }) {
            complain("it names neither URL nor digest".to_owned());
        }
        for word in words.iter().filter(|word| !out.stderr.contains(**word)) {
            complain(format!("it does not say {word:?}"));
        }
        let after = stored(self.s);
        if after != before {
            let new: Vec<_> = after.iter().filter(|path| !before.contains(path)).collect();
            complain(format!("the store has changed: {new:#?}"));
        }
        out
    }

    /// Twists, then refuses.
    #[track_caller]
    fn twisted(
        &self,
        words: &[&str],
        twist: impl Fn(&Asked) -> Option<Reply> + Send + Sync + 'static,
    ) -> Output {
        self.refuses(&self.server(twist), "x", words)
    }

    /// The same for one blob.
    #[track_caller]
    fn blob(
        &self,
        words: &[&str],
        reply: impl Fn(&[u8]) -> Reply + Send + Sync + 'static,
    ) -> Output {
        let (name, bytes) = self.large();
        self.twisted(words, move |asked| {
            asked.path.ends_with(&name).then(|| reply(&bytes))
        })
    }

    /// An honest server of a dishonest image.
    #[track_caller]
    fn image(&mut self, tag: &str, layers: &[Layer], words: &[&str]) -> Output {
        self.layout.image(tag, layers, &json!({"Cmd": ["/x"]}));
        self.refuses(&self.server(|_| None), tag, words)
    }

    /// A document of any content under a tag.
    #[track_caller]
    fn document(
        &mut self,
        tag: &str,
        media_type: &str,
        document: &Value,
        words: &[&str],
    ) -> Output {
        let descriptor = self
            .layout
            .blob(media_type, document.to_string().as_bytes());
        self.layout.tag(descriptor, tag);
        self.refuses(&self.server(|_| None), tag, words)
    }

    /// The honest manifest, to be changed.
    fn honest(&self) -> Value {
        let path = self
            .layout
            .dir()
            .join("blobs/sha256")
            .join(&self.manifest["sha256:".len()..]);
        serde_json::from_slice(&std::fs::read(path).expect("stored above")).expect("JSON")
    }
}

/// Bytes that no compressor makes smaller.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[7]
    };
    std::iter::repeat_with(step).take(length).collect()
}

fn is_manifest(asked: &Asked) -> bool {
    asked.path.contains("/manifests/")
}

root_test_once! {
    fn bodies_that_lie(s) {
        let w = World::new(s);
        let (name, _) = w.large();
        w.blob(&[&name], |bytes| {
            let mut wrong = bytes.to_vec();
            let last = wrong.len() - 1;
            wrong[last] ^= 1;
            Reply::ok(wrong)
        });
        // In itself sound, and of the same length.
        let mut other = noise(3 << 20);
        other.reverse();
        let other = Layer::of(&[Entry::dir("./"), Entry::file("large", other)]).blob;
        w.blob(&[&name, "digest"], move |bytes| {
            assert_eq!(bytes.len(), other.len());
            Reply::ok(other.clone())
        });
        w.blob(&["bytes long", "expected"], |bytes| Reply::ok([bytes, b"more"].concat()));
        w.blob(&["bytes long", "expected"], |bytes| Reply::ok(&bytes[..1000]));
        w.blob(&["longer than"], |bytes| Reply::new(200).body(Body::Endless(bytes.to_vec())));
        w.blob(&[&name], |bytes| {
            Reply::new(200).body(Body::Claiming(bytes.len() as u64, bytes[..5000].to_vec()))
        });
        // The config and the manifest behind a digest are blobs like any other.
        w.twisted(&["sha256:"], |asked| {
            asked.path.contains("/blobs/").then(|| Reply::ok("{}"))
        });
        w.twisted(&["has digest"], |asked| {
            is_manifest(asked).then(|| {
                Reply::ok(r#"{"schemaVersion":2}"#)
                    .header("Docker-Content-Digest", &format!("sha256:{}", "0".repeat(64)))
            })
        });
    }
}

root_test_once! {
    fn answers_that_are_none(s) {
        let w = World::new(s);
        for garbage in [
            &b"\xff\xfe\x00garbage\r\n\r\n"[..],
            b"HTTP/9.9 999999 what\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx",
            b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.2\r\n",
        ] {
            w.twisted(&[], move |asked| is_manifest(asked).then(|| Reply::new(200).body(Body::Raw(garbage.to_vec()))));
        }
        let mut flood = b"HTTP/1.1 200 OK\r\n".to_vec();
        while flood.len() < 10 << 20 {
            flood.extend_from_slice(b"X-Flood: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n");
        }
        w.twisted(&["headers"], move |asked| is_manifest(asked).then(|| Reply::new(200).body(Body::Raw(flood.clone()))));
        let mut line = b"HTTP/1.1 200 OK\r\nX-Flood: ".to_vec();
        line.resize(10 << 20, b'a');
        w.twisted(&["headers"], move |asked| is_manifest(asked).then(|| Reply::new(200).body(Body::Raw(line.clone()))));
        // 404 with a page that plays with the terminal.
        let out = w.twisted(&["404"], |asked| {
            is_manifest(asked).then(|| Reply::new(404).body(Body::Whole(b"\x1b]0;title\x07\x1b[2Jgone".to_vec())))
        });
        assert!(!out.stderr.contains('\u{1b}'), "{out}");
    }
}

root_test_once! {
    fn manifests_without_end(s) {
        let w = World::new(s);
        let mut hundred = br#"{"schemaVersion":2,"x":""#.to_vec();
        hundred.resize(100 << 20, b'a');
        w.twisted(&["longer than"], move |asked| is_manifest(asked).then(|| Reply::ok(hundred.clone())));
        w.twisted(&["longer than"], |asked| {
            is_manifest(asked).then(|| Reply::new(200).body(Body::Endless(vec![b' '; 1 << 16])))
        });
        // A descriptor that says so is not even asked for.
        let mut manifest = w.honest();
        manifest["config"]["size"] = json!(1_u64 << 40);
        let mut w = w;
        w.document("huge-config", oci::MANIFEST, &manifest, &["too much"]);
    }
}

root_test_once! {
    fn indexes_in_a_circle_and_nested_deep(s) {
        let mut w = World::new(s);
        let entry = |digest: &str, size: usize| {
            json!({"mediaType": oci::INDEX, "digest": digest, "size": size,
                   "platform": {"os": "linux", "architecture": host_arch()}})
        };
        let index = |entry: Value| json!({"schemaVersion": 2, "mediaType": oci::INDEX, "manifests": [entry]});
        // A real circle would need a broken hash; a server can only say that there is one.
        let name = format!("sha256:{}", "a".repeat(64));
        let circle = index(entry(&name, 400)).to_string();
        w.twisted(&[&name], move |asked| {
            is_manifest(asked).then(|| Reply::ok(circle.clone()).header("Content-Type", oci::INDEX))
        });
        let mut below = w.honest().to_string();
        let mut inner = json!({"mediaType": oci::MANIFEST, "digest": w.manifest, "size": below.len(),
                               "platform": {"os": "linux", "architecture": host_arch()}});
        for _ in 0..20 {
            below = index(inner).to_string();
            inner = w.layout.blob(oci::INDEX, below.as_bytes());
            inner["platform"] = json!({"os": "linux", "architecture": host_arch()});
        }
        w.layout.tag(inner, "deep");
        let server = w.server(|_| None);
        w.refuses(&server, "deep", &["indexes"]);
        assert!(server.lines().len() < 12, "{:#?}", server.lines());
        let other = if host_arch() == "arm64" { "amd64" } else { "arm64" };
        let mut alien = entry(&w.manifest.clone(), 400);
        alien["platform"]["architecture"] = json!(other);
        w.document("alien", oci::INDEX, &index(alien), &[host_arch()]);
    }
}

root_test_once! {
    fn manifests_that_contradict_themselves(s) {
        let mut w = World::new(s);
        let mut both = w.honest();
        both["manifests"] = json!([]);
        w.document("both", oci::MANIFEST, &both, &["more than one kind"]);
        // CVE-2021-41190: the header says something else than the document.
        let index = json!({"schemaVersion": 2, "mediaType": oci::INDEX, "manifests": []}).to_string();
        w.twisted(&["more than one kind"], move |asked| {
            is_manifest(asked).then(|| Reply::ok(index.clone()).header("Content-Type", oci::MANIFEST))
        });
        let mut short = w.honest();
        short["layers"].as_array_mut().expect("a list").pop();
        w.document("short", oci::MANIFEST, &short, &["layers"]);
        let mut swapped = w.layers.clone();
        swapped[0].diff_id = digest(b"something else");
        let wrong = swapped[0].diff_id.clone();
        w.image("swapped", &swapped, &[&wrong]);
        let mut foreign = w.layers.clone();
        foreign[1] = Layer::of(&[Entry::file("foreign", "x")]);
        foreign[1].media_type = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip".to_owned();
        w.image("foreign", &foreign, &["foreign"]);
        let mut odd = w.layers.clone();
        odd[1].media_type = "application/vnd.example.recipe+json".to_owned();
        w.image("odd", &odd, &["recipe"]);
        for (tag, text) in [("list", "[]"), ("text", "hello"), ("open", "{"), ("null", "null")] {
            let descriptor = w.layout.blob(oci::MANIFEST, text.as_bytes());
            w.layout.tag(descriptor, tag);
            w.refuses(&w.server(|_| None), tag, &[]);
        }
    }
}

root_test_once! {
    fn layers_that_climb_out(s) {
        let mut w = World::new(s);
        s.write("canary", "alive");
        let deep = "../".repeat(12);
        for (at, entries) in [
            vec![Entry::dir("./"), Entry::file("../escape", "x")],
            vec![Entry::dir("./"), Entry::file(&format!("{deep}{}", s.at("escape").display()), "x")],
            vec![Entry::dir("./"), Entry::file(&s.at("escape").display().to_string(), "x")],
            vec![Entry::dir("./"), Entry::symlink("up", &format!("{deep}{}", s.path().display())), Entry::file("up/escape", "x")],
            vec![Entry::dir("./"), Entry::symlink("up", &s.path().display().to_string()), Entry::file("up/escape", "x"), Entry::file("up/.wh.canary", "")],
            vec![Entry::dir("./"), Entry::hardlink("canary", &format!("{deep}{}", s.at("canary").display())), Entry::file("canary", "dead")],
            vec![Entry::dir("./"), Entry::hardlink("canary", &s.at("canary").display().to_string()), Entry::file("canary", "dead")],
            vec![Entry::dir("./"), Entry::symlink("c", &s.at("canary").display().to_string()), Entry::hardlink("d", "c"), Entry::file("d", "dead")],
            vec![Entry::dir("./"), Entry::file(&format!("{deep}{}/.wh.canary", s.path().display()), "")],
            vec![Entry::dir("./"), Entry::symlink("./", &s.path().display().to_string()), Entry::file("./escape", "x")],
            vec![Entry::dir("./"), Entry::file(".wh...", "")],
            vec![Entry::dir("./"), Entry::dir("a"), Entry::file("a/.wh..", "")],
        ]
        .into_iter()
        .enumerate()
        {
            let before = stored(s);
            let tag = format!("climb{at}");
            w.layout.image(&tag, &[Layer::of(&entries)], &json!({"Cmd": ["/x"]}));
            let server = w.server(|_| None);
            let image = format!("docker://{}/team/x:{tag}", server.host());
            let out = w.rkt().args(["fetch", "--full", &image]).run();
            // Confined is as good as refused; what stays out of the root does not matter then.
            if out.code == 0 {
                let id = out.stdout.trim();
                let target = s.at("target");
                rkt(s).args(["image", "render", "--rootfs-only", id]).arg(&target).run();
                let _ = std::fs::remove_dir_all(&target);
                rkt(s).args(["image", "rm", id]).run().ok();
            } else {
                w.refused(before, out.clone(), &server.host(), &[]);
            }
            assert!(!s.at("escape").exists() && !std::path::Path::new("/escape").exists(), "case {at} escaped\n{out}");
            assert_eq!(std::fs::read_to_string(s.at("canary")).ok().as_deref(), Some("alive"), "case {at}\n{out}");
        }
    }
}

root_test_once! {
    fn a_gzip_bomb(s) {
        let mut w = World::new(s);
        // One member of zeros again and again behind a header that claims as much: 16 GiB from 16 MiB.
        s.write("zeros", vec![0; 64 << 20]);
        tool("gzip", &["-9", "-n", &s.at("zeros").display().to_string()]);
        let member = std::fs::read(s.at("zeros.gz")).expect("gzip wrote it");
        let count = 256;
        let mut header = tar::write(&[Entry::file("zeros", "").claiming(count << 26)]);
        header.truncate(512);
        let mut blob = tar::gzip(&header);
        for _ in 0..count {
            blob.extend_from_slice(&member);
        }
        assert!(blob.len() < 20 << 20, "gzip packs zeros into {} bytes", blob.len());
        let bomb = Layer { blob, media_type: oci::LAYER_GZIP.to_owned(), diff_id: digest(b"never reached") };
        w.image("bomb", &[bomb], &["bomb"]);
    }
}

root_test_once! {
    fn broken_connections_are_taken_up_again(s) {
        let w = World::new(s);
        let (name, bytes) = w.large();
        let half = bytes.len() / 2;
        // What the second request for the blob, by Range, is answered with.
        type Second = fn(&[u8], usize) -> Reply;
        let right: Second = |bytes, from| {
            Reply::new(206)
                .header("Content-Range", &format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len()))
                .body(Body::Whole(bytes[from..].to_vec()))
        };
        let elsewhere: Second = |bytes, from| {
            Reply::new(206)
                .header("Content-Range", &format!("bytes {}-{}/{}", from - 1, bytes.len() - 2, bytes.len()))
                .body(Body::Whole(bytes[from - 1..bytes.len() - 1].to_vec()))
        };
        let nowhere: Second = |bytes, from| Reply::new(206).body(Body::Whole(bytes[from..].to_vec()));
        let damaged: Second = |bytes, from| {
            let mut rest = bytes[from..].to_vec();
            rest[7] ^= 1;
            Reply::new(206)
                .header("Content-Range", &format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len()))
                .body(Body::Whole(rest))
        };
        let anew: Second = |bytes, _| Reply::ok(bytes);
        let served = |second: Second| {
            let (name, bytes, count) = (name.clone(), bytes.clone(), AtomicUsize::new(0));
            w.server(move |asked| {
                if !asked.path.ends_with(&name) {
                    return None;
                }
                let from = asked.header("Range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
                Some(match (count.fetch_add(1, Ordering::Relaxed), from) {
                    (0, _) | (_, None) => Reply::ok("").body(Body::Claiming(bytes.len() as u64, bytes[..half].to_vec())),
                    (_, Some(from)) => second(&bytes, from),
                })
            })
        };
        for (second, words) in [(elsewhere, &["bytes "][..]), (nowhere, &["bytes "]), (damaged, &[])] {
            w.refuses(&served(second), "x", &[words, &[name.as_str()]].concat());
        }
        for second in [right, anew] {
            let server = served(second);
            let out = w.rkt().args(["fetch", "--full", &format!("docker://{}/team/x:x", server.host())]).run().ok();
            let blob = server.asked().into_iter().filter(|asked| asked.path.ends_with(&name)).collect::<Vec<_>>();
            assert_eq!(blob.len(), 2, "{blob:#?}");
            assert_eq!(blob[1].header("Range"), Some(format!("bytes={half}-").as_str()));
            rkt(s).args(["image", "verify", out.stdout.trim()]).run().ok();
            rkt(s).args(["image", "rm", out.stdout.trim()]).run().ok();
        }
    }
}

root_test_once! {
    fn busy_servers_are_asked_again(s) {
        let w = World::new(s);
        for (status, after) in [(429, Some("1")), (429, Some("soon")), (429, None), (500, None), (502, None), (503, Some("0")), (504, None)] {
            for part in ["/manifests/", "/blobs/"] {
                let count = AtomicUsize::new(0);
                let server = w.server(move |asked| {
                    if !asked.path.contains(part) || count.fetch_add(1, Ordering::Relaxed) > 0 {
                        return None;
                    }
                    let reply = Reply::new(status);
                    Some(match after {
                        Some(after) => reply.header("Retry-After", after),
                        None => reply,
                    })
                });
                let out = w.rkt().args(["fetch", "--full", &format!("docker://{}/team/x:x", server.host())]).run().ok();
                rkt(s).args(["image", "rm", out.stdout.trim()]).run().ok();
            }
        }
        // For ever: told after a few tries.
        for status in [429, 503] {
            let server = w.server(move |asked| is_manifest(asked).then(|| Reply::new(status).header("Retry-After", "0")));
            w.refuses(&server, "x", &[&status.to_string(), "hint:"]);
            let tries = server.lines().len();
            assert!((2..=10).contains(&tries), "{tries} tries");
        }
    }
}

root_test_once! {
    /// What ends by a time-out of a minute, all at once.
    fn slow_and_silent_servers_end_in_their_time(s) {
        let w = World::new(s);
        let (name, bytes) = w.large();
        let long = Duration::from_secs(200);
        let blob = |body: Body| {
            let name = name.clone();
            w.server(move |asked| asked.path.ends_with(&name).then(|| Reply::ok("").body(body.clone())))
        };
        let manifest = |body: Body| w.server(move |asked| is_manifest(asked).then(|| Reply::ok("").body(body.clone())));
        let mut half = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len()).into_bytes();
        half.extend_from_slice(&bytes[..half.len()]);
        let served = [
            (manifest(Body::Silence(long)), "too slow"),
            (manifest(Body::Trickle(vec![b' '; 100_000], Duration::from_millis(200))), "too slow"),
            (blob(Body::Silence(long)), "too slow"),
            (blob(Body::Trickle(bytes.clone(), Duration::from_millis(50))), "too slow"),
            (mute(long), "did not answer in time"),
        ];
        let patient = {
            let count = AtomicUsize::new(0);
            w.server(move |asked| {
                let first = is_manifest(asked) && count.fetch_add(1, Ordering::Relaxed) == 0;
                first.then(|| Reply::new(429).header("Retry-After", "100000"))
            })
        };
        let before = stored(s);
        let start = |server: &Server| {
            let image = format!("docker://{}/team/x:x", server.host());
            w.rkt().args(["fetch", "--full", &image]).spawn()
        };
        let running: Vec<_> = served.iter().map(|(server, _)| start(server)).collect();
        let outs: Vec<Output> = running.into_iter().map(|one| one.wait(Duration::from_secs(150))).collect();
        for ((server, word), out) in served.iter().zip(outs) {
            w.refused(before.clone(), out, &server.host(), &[word]);
        }
        // Told to come back tomorrow, we come back after a minute.
        let out = start(&patient).wait(Duration::from_secs(150)).ok();
        assert_eq!(out.stdout.trim().len(), 71, "{out}");
    }
}

/// Takes the request and never answers.
fn mute(long: Duration) -> Server {
    Server::plain(move |_| {
        std::thread::sleep(long);
        Reply::new(500)
    })
}

/// A registry at registry.example.com with a login for it.
fn with_login(s: &Scratch, host: &str) {
    s.mkdir("etc/auth.d");
    let text = json!({
        "rktKind": "dockerAuth", "rktVersion": "v1", "registries": [host],
        "credentials": {"user": "alice", "password": "wonderland"}
    });
    s.write("etc/auth.d/registry.json", text.to_string());
}

const REGISTRY: &str = "registry.example.com";

root_test_once! {
    fn redirects_take_no_login_along(s) {
        if let Some(reason) = Site::missing() {
            skip!("{reason}");
        }
        let w = World::new(s);
        let site = Site::new(s, &[REGISTRY, "cdn.example.com"]);
        with_login(s, REGISTRY);
        let dir = w.layout.dir().to_owned();
        let authorised = |asked: &Asked| asked.header("Authorization") == Some("Basic YWxpY2U6d29uZGVybGFuZA==");
        for digest in [None, Some(0), Some(1)] {
            let leaf = match digest {
                None => "manifests/x".to_owned(),
                Some(at) => format!("blobs/{}", oci::digest(&w.layers[at].blob)),
            };
            let dir = dir.clone();
            site.page(&format!("{REGISTRY}/v2/team/x/{leaf}"), move |asked| match (authorised(asked), digest) {
                (false, _) => Reply::new(401).header("WWW-Authenticate", "Basic realm=\"r\""),
                (true, None) => oci::answer(&dir, asked),
                (true, Some(_)) => Reply::redirect(307, &format!("https://cdn.example.com{}?signed=yes", asked.path)),
            });
            let dir = w.layout.dir().to_owned();
            site.page(&format!("cdn.example.com/v2/team/x/{leaf}"), move |asked| {
                let path = asked.path.split('?').next().unwrap_or_default().to_owned();
                oci::answer(&dir, &Asked { path, ..asked.clone() })
            });
        }
        let config = w.honest()["config"]["digest"].as_str().expect("a digest").to_owned();
        site.page(&format!("{REGISTRY}/v2/team/x/blobs/{config}"), move |asked| match authorised(asked) {
            false => Reply::new(401).header("WWW-Authenticate", "Basic realm=\"r\""),
            true => oci::answer(&dir, asked),
        });
        let image = format!("docker://{REGISTRY}/team/x:x");
        let fetch = || site.rkt(s).args(["--insecure-options=image", "fetch", "--full", &image]).run();
        let out = fetch().ok();
        let to = |host: &str| site.requests().into_iter().filter(|a| a.header("Host") == Some(host)).collect::<Vec<_>>();
        assert_eq!(to("cdn.example.com").len(), 2);
        for asked in to("cdn.example.com") {
            assert!(asked.headers.iter().all(|(_, value)| !value.contains("YWxpY2U6")), "{asked:#?}");
        }
        assert!(to(REGISTRY).iter().any(authorised));
        rkt(s).args(["image", "rm", out.stdout.trim()]).run().ok();

        // The other host asks for a login: there is none for it.
        for at in [0, 1] {
            let leaf = oci::digest(&w.layers[at].blob);
            site.page(&format!("cdn.example.com/v2/team/x/blobs/{leaf}"), |_| {
                Reply::new(401).header("WWW-Authenticate", "Basic realm=\"r\"")
            });
        }
        let before = stored(s);
        w.refused(before, fetch(), "cdn.example.com", &["401"]);
        for asked in to("cdn.example.com") {
            assert!(asked.header("Authorization").is_none(), "{asked:#?}");
        }
    }
}

root_test_once! {
    fn redirects_that_lead_astray(s) {
        if let Some(reason) = Site::missing() {
            skip!("{reason}");
        }
        let w = World::new(s);
        let site = Site::new(s, &[REGISTRY, "cdn.example.com"]);
        with_login(s, REGISTRY);
        let place = format!("{REGISTRY}/v2/team/x/manifests/x");
        let image = format!("docker://{REGISTRY}/team/x:x");
        let refused_with = |options: &str, words: &[&str]| {
            let before = stored(s);
            let out = site.rkt(s).deadline(DEADLINE).memory(MEMORY);
            let out = out.args([options, "fetch", &image]).run();
            w.refused(before, out, REGISTRY, words)
        };
        let refused = |words: &[&str]| refused_with("--insecure-options=image", words);
        let port = Server::plain(|_| Reply::ok("{}"));
        let plain = port.url("/v2/team/x/manifests/x");
        site.page(&place, move |_| Reply::redirect(302, &plain));
        // Plain http is allowed, and yet not for what began with https.
        refused_with("--insecure-options=image,http", &["http:"]);
        assert_eq!(port.lines(), Vec::<String>::new(), "the plain server was asked");
        site.page(&place, |asked| Reply::redirect(307, &asked.path));
        refused(&["circle"]);
        let count = AtomicUsize::new(0);
        site.page(&place, move |asked| {
            let path = asked.path.split('?').next().unwrap_or_default();
            Reply::redirect(302, &format!("{path}?{}", count.fetch_add(1, Ordering::Relaxed)))
        });
        let before = site.asked().len();
        refused(&["too many redirects"]);
        assert!(site.asked().len() - before < 30);
        for target in ["file:///etc/passwd", "ftp://cdn.example.com/x", "https://", "https://a b/", "//", "\u{1}"] {
            let target = target.to_owned();
            site.page(&place, move |_| Reply::redirect(302, &target));
            refused(&[]);
        }
    }
}

root_test_once! {
    fn logins_that_are_asked_for_again_and_again(s) {
        if let Some(reason) = Site::missing() {
            skip!("{reason}");
        }
        let w = World::new(s);
        let site = Site::new(s, &[REGISTRY, "auth.example.com"]);
        with_login(s, REGISTRY);
        let place = format!("{REGISTRY}/v2/team/x/manifests/x");
        let refused = |words: &[&str]| {
            let before = stored(s);
            let out = site.rkt(s).deadline(DEADLINE).memory(MEMORY);
            let image = format!("docker://{REGISTRY}/team/x:x");
            let out = out.args(["--insecure-options=image,http", "fetch", &image]).run();
            assert!(!out.stderr.contains("wonderland"), "the password is shown\n{out}");
            w.refused(before, out, "example.com", words)
        };
        let challenge = |text: String| {
            site.page(&place, move |_| Reply::new(401).header("WWW-Authenticate", &text));
        };
        challenge("Basic realm=\"again\"".to_owned());
        assert!(site.asked_by(|| { refused(&["401"]); }).len() < 6);
        // A token is given, and is not good enough.
        site.put("auth.example.com/token", r#"{"token": "t0ken"}"#);
        challenge("Bearer realm=\"https://auth.example.com/token\",service=\"r\"".to_owned());
        assert!(site.asked_by(|| { refused(&["401"]); }).len() < 8);
        // No token service without TLS, whatever is allowed.
        let plain = Server::plain(|_| Reply::ok(r#"{"token": "t0ken"}"#));
        challenge(format!("Bearer realm=\"{}\",service=\"r\"", plain.url("/token")));
        refused(&["https"]);
        site.page("auth.example.com/token", {
            let to = plain.url("/token");
            move |_| Reply::redirect(307, &to)
        });
        challenge("Bearer realm=\"https://auth.example.com/token\"".to_owned());
        refused(&["http"]);
        assert_eq!(plain.lines(), Vec::<String>::new(), "the plain server was asked");
        for text in ["", "Bearer", "Bearer realm=", "Negotiate", "Basic realm=\"open", "Bearer realm=\"https://auth.example.com/nothing\""] {
            challenge(text.to_owned());
            refused(&[]);
        }
        for token in ["", "{}", "[1]", r#"{"token": "a\r\nX-Evil: b"}"#] {
            site.put("auth.example.com/token", token);
            challenge("Bearer realm=\"https://auth.example.com/token\"".to_owned());
            refused(&[]);
        }
        site.page("auth.example.com/token", |_| Reply::new(200).body(Body::Endless(vec![b' '; 1 << 16])));
        refused(&["longer than"]);
        // Over plain http a login is not given at all.
        with_login(s, "localhost");
        let seen = Arc::new(AtomicUsize::new(0));
        let count = seen.clone();
        let server = w.server(move |asked| {
            count.fetch_add(usize::from(asked.header("Authorization").is_some()), Ordering::Relaxed);
            Some(Reply::new(401).header("WWW-Authenticate", "Basic realm=\"plain\""))
        });
        with_login(s, &server.host());
        w.refuses(&server, "x", &["401"]);
        assert_eq!(seen.load(Ordering::Relaxed), 0);
    }
}

root_test_once! {
    fn servers_of_acis(s) {
        let w = World::new(s);
        let aci = tar::gzip(&Aci::new("example.com/x", &["/x"]).with(Entry::file("rootfs/large", noise(2 << 20))).tar());
        let refused = |server: &Server, words: &[&str]| {
            let before = stored(s);
            let out = w.rkt().args(["fetch", &server.url("/x.aci")]).run();
            w.refused(before, out, &server.host(), words)
        };
        let all = aci.clone();
        refused(&Server::plain(move |_| Reply::ok("").body(Body::Claiming(all.len() as u64, all[..1 << 20].to_vec()))), &[]);
        // Zeros in stored blocks: no bomb by its ratio, and no end.
        let mut endless = tar::gzip(&Aci::new("example.com/x", &["/x"]).tar());
        endless.truncate(600);
        let served = endless.clone();
        refused(&Server::plain(move |_| Reply::new(200).body(Body::Claiming(u64::MAX, served.clone()))), &[]);
        refused(&Server::plain(|_| Reply::ok("not an image")), &[]);
        refused(&Server::plain(|_| Reply::ok("")), &[]);
        refused(&Server::plain(|_| Reply::new(404)), &["404"]);
        refused(&Server::plain(|asked| Reply::redirect(302, &asked.path)), &["circle"]);
        refused(&Server::plain(|_| Reply::new(200).body(Body::Raw(b"garbage\r\n\r\n".to_vec()))), &[]);
        let bomb = Server::plain(|_| Reply::new(200).body(Body::Endless(b"HTTP\r\n".to_vec())));
        refused(&bomb, &[]);
    }
}

root_test_once! {
    fn a_name_that_leads_nowhere(s) {
        let w = World::new(s);
        let _hosts = Hosts::new(s, &[]);
        for image in ["docker://nowhere.example.com/x", "https://nowhere.example.com/x.aci", "nowhere.example.com/x"] {
            let before = stored(s);
            let out = w.rkt().args(["fetch", image]).run();
            w.refused(before, out, "nowhere.example.com", &[]);
        }
        // Nobody listens.
        let before = stored(s);
        let out = w.rkt().args(["fetch", "https://localhost:1/x.aci"]).run();
        w.refused(before, out, "localhost:1", &["refused"]);
    }
}
