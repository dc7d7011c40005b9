//! cosign: once a repository has a key, its images need a signature by it. Keys and signatures are made by openssl in the
//! forms that cosign pushes, and lie in a real registry.

use crate::stored;
use serde_json::{Value, json};
use tests::oci::{self, Layer, Layout, digest, host_arch};
use tests::registry::{Registry, tool};
use tests::tar::Entry;
use tests::{Rkt, Scratch, isolated, root_test_once, skip};

const SIMPLE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

macro_rules! needs {
    () => {
        if let Some(reason) = Registry::missing() {
            skip!("{reason}");
        }
        if isolated::find("base64").is_none() {
            skip!("needs base64 (Debian: coreutils)");
        }
    };
}

/// Makes `NAME.key` and `NAME.pub`.
fn key(s: &Scratch, name: &str) -> String {
    let (private, public) = (s.at(&format!("{name}.key")), s.at(&format!("{name}.pub")));
    let (private, public) = (private.display().to_string(), public.display().to_string());
    tool(
        "openssl",
        &[
            "ecparam",
            "-name",
            "prime256v1",
            "-genkey",
            "-noout",
            "-out",
            &private,
        ],
    );
    tool(
        "openssl",
        &["ec", "-in", &private, "-pubout", "-out", &public],
    );
    public
}

fn base64(s: &Scratch, bytes: &[u8]) -> String {
    let file = s.write("to-encode", bytes).display().to_string();
    tool("base64", &["-w0", &file]).trim().to_owned()
}

/// The signature of these bytes by the key `NAME.key`, in base64.
fn sign(s: &Scratch, name: &str, bytes: &[u8]) -> String {
    let message = s.write("message", bytes).display().to_string();
    let (key, out) = (s.at(&format!("{name}.key")), s.at("signature"));
    tool(
        "openssl",
        &[
            "dgst",
            "-sha256",
            "-sign",
            &key.display().to_string(),
            "-out",
            &out.display().to_string(),
            &message,
        ],
    );
    base64(s, &std::fs::read(out).expect("openssl wrote it"))
}

struct World<'s> {
    s: &'s Scratch,
    registry: Registry,
    layout: Layout,
}

impl<'s> World<'s> {
    fn new(s: &'s Scratch) -> World<'s> {
        World {
            s,
            registry: Registry::plain(s),
            layout: Layout::new(&s.at("layout")),
        }
    }

    /// Pushes an image; gives its manifest's digest.
    fn image(&mut self, name: &str) -> String {
        let layer = Layer::of(&[Entry::dir("./"), Entry::file("name", name)]);
        let digest = self.layout.image(name, &[layer], &json!({"Cmd": ["/x"]}));
        self.registry.push_with(
            &self.layout.source(name),
            &format!("team/{name}:1"),
            &["--preserve-digests"],
        );
        digest
    }

    fn payload(&self, digest: &str, repository: &str) -> Vec<u8> {
        json!({"critical": {
            "identity": {"docker-reference": format!("{}/{repository}", self.registry.host())},
            "image": {"docker-manifest-digest": digest},
            "type": "cosign container image signature"
        }, "optional": null})
        .to_string()
        .into_bytes()
    }

    /// Signs a payload and pushes it as `sha256-….sig` of `of`.
    fn attach(&mut self, name: &str, of: &str, payload: &[u8], by: &str) {
        let signature = sign(self.s, by, payload);
        let mut layer = self.layout.blob(SIMPLE, payload);
        layer["annotations"] = json!({"dev.cosignproject.cosign/signature": signature});
        let config = json!({
            "architecture": "", "os": "", "config": {}, "rootfs": {"type": "layers", "diff_ids": [digest(payload)]}
        });
        let manifest = json!({
            "schemaVersion": 2, "mediaType": oci::MANIFEST,
            "config": self.layout.blob(oci::CONFIG, config.to_string().as_bytes()), "layers": [layer]
        });
        self.push(
            &manifest,
            oci::MANIFEST,
            &format!("team/{name}:{}.sig", of.replace(':', "-")),
        );
    }

    /// Puts a manifest and what it names straight into the registry, as a client of its API does.
    fn push(&mut self, manifest: &Value, media_type: &str, name: &str) {
        let (repository, tag) = name.split_once(':').expect("a name with a tag");
        let mut blobs: Vec<&Value> = manifest["layers"]
            .as_array()
            .into_iter()
            .flatten()
            .collect();
        blobs.extend(manifest.get("config"));
        for blob in blobs {
            let digest = blob["digest"].as_str().expect("a digest");
            let file = self
                .layout
                .dir()
                .join("blobs/sha256")
                .join(&digest["sha256:".len()..]);
            upload(
                &self.registry.host(),
                repository,
                digest,
                &std::fs::read(file).expect("stored before"),
            );
        }
        let reply = request(
            &self.registry.host(),
            "PUT",
            &format!("/v2/{repository}/manifests/{tag}"),
            media_type,
            manifest.to_string().as_bytes(),
        );
        assert!(reply.starts_with("HTTP/1.1 201"), "{reply}");
    }

    fn rkt(&self, image: &str) -> Rkt {
        Rkt::secure(self.s).env("HOME", "/nonexistent").args([
            "--insecure-options=http",
            "fetch",
            "--full",
            &self.registry.url(image),
        ])
    }

    #[track_caller]
    fn refused(&self, image: &str, words: &[&str]) {
        let before = stored(self.s);
        let out = self.rkt(image).run().code(254);
        for word in words {
            assert!(out.stderr.contains(word), "it does not say {word:?}\n{out}");
        }
        assert_eq!(stored(self.s), before, "the store has changed\n{out}");
    }

    #[track_caller]
    fn accepted(&self, image: &str) {
        let out = self.rkt(image).run().ok().stderr_has("signature verified");
        Rkt::secure(self.s)
            .args(["image", "rm", out.stdout.trim()])
            .run()
            .ok();
    }

    fn trust(&self, prefix: &str, public: &str) {
        let prefix = format!("{}/{prefix}", self.registry.host());
        Rkt::secure(self.s)
            .args([
                "trust",
                "--cosign",
                public,
                "--prefix",
                prefix.trim_end_matches('/'),
            ])
            .run()
            .ok()
            .stdout_has("fingerprint");
    }
}

/// One request, one answer, as text.
fn request(host: &str, method: &str, path: &str, media_type: &str, body: &[u8]) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(host).expect("the registry listens");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream
        .write_all(head.as_bytes())
        .expect("the registry reads");
    stream.write_all(body).expect("the registry reads");
    let mut reply = Vec::new();
    stream
        .read_to_end(&mut reply)
        .expect("the registry answers");
    String::from_utf8_lossy(&reply).into_owned()
}

fn upload(host: &str, repository: &str, digest: &str, bytes: &[u8]) {
    let begun = request(
        host,
        "POST",
        &format!("/v2/{repository}/blobs/uploads/"),
        "application/octet-stream",
        b"",
    );
    let place = begun
        .lines()
        .find_map(|line| line.strip_prefix("Location: "))
        .unwrap_or_else(|| panic!("{begun}"))
        .trim();
    let path = place.split_once(host).map_or(place, |(_, path)| path);
    let sign = if path.contains('?') { '&' } else { '?' };
    let reply = request(
        host,
        "PUT",
        &format!("{path}{sign}digest={digest}"),
        "application/octet-stream",
        bytes,
    );
    assert!(reply.starts_with("HTTP/1.1 201"), "{reply}");
}

root_test_once! {
    fn a_repository_with_a_key_needs_its_signature(s) {
        needs!();
        let mut w = World::new(s);
        let (ours, theirs) = (key(s, "ours"), key(s, "theirs"));
        let good = w.image("good");
        let good_payload = w.payload(&good, "team/good");
        w.attach("good", &good, &good_payload, "ours");
        w.refused("team/good:1", &["--insecure-options=image"]);
        w.trust("team", &ours);
        w.accepted("team/good:1");
        w.accepted(&format!("team/good@{good}"));

        w.image("unsigned");
        w.refused("team/unsigned:1", &["no cosign signature"]);
        // What names its digest needs the signature no less; with the flag nobody asks.
        let pinned = w.image("pinned");
        w.refused(&format!("team/pinned@{pinned}"), &["no cosign signature"]);
        let out = Rkt::secure(s).args(["--insecure-options=http,image", "fetch", &w.registry.url("team/unsigned:1")]).run().ok();
        Rkt::secure(s).args(["image", "rm", out.stdout.trim()]).run().ok();

        let stranger = w.image("stranger");
        let payload = w.payload(&stranger, "team/stranger");
        w.attach("stranger", &stranger, &payload, "theirs");
        w.refused("team/stranger:1", &["trusted key"]);
        let swapped = w.image("swapped");
        let payload = w.payload(&good, "team/swapped");
        w.attach("swapped", &swapped, &payload, "ours");
        w.refused("team/swapped:1", &[&good]);
        let moved = w.image("moved");
        let payload = w.payload(&moved, "team/good");
        w.attach("moved", &moved, &payload, "ours");
        w.refused("team/moved:1", &["team/good"]);
        let typed = w.image("typed");
        let payload = String::from_utf8(w.payload(&typed, "team/typed")).expect("JSON").replace("cosign container", "another");
        w.attach("typed", &typed, payload.as_bytes(), "ours");
        w.refused("team/typed:1", &["type"]);
        // Two keys: either will do.
        w.trust("team/stranger", &theirs);
        w.accepted("team/stranger:1");
        w.accepted("team/good:1");
        // Another prefix is another matter.
        w.refused("other/good:1", &["--insecure-options=image"]);
        // Nobody signs for all registries.
        Rkt::secure(s).args(["trust", "--cosign", &ours]).run().code(254).stderr_has("--prefix");
    }
}

root_test_once! {
    /// The newer form: a sigstore bundle that refers to the image, listed under the tag that stands in for the API.
    fn a_bundle_that_refers_to_the_image(s) {
        needs!();
        let mut w = World::new(s);
        let ours = key(s, "ours");
        key(s, "theirs");
        w.trust("team", &ours);
        for (name, by, about_itself) in [("good", "ours", true), ("stranger", "theirs", true), ("swapped", "ours", false)] {
            let image = w.image(name);
            let size = std::fs::metadata(w.layout.dir().join("blobs/sha256").join(&image["sha256:".len()..])).expect("stored").len();
            let about = if about_itself { image.clone() } else { digest(b"another") };
            let statement = json!({
                "_type": "https://in-toto.io/Statement/v1", "predicateType": "https://sigstore.dev/cosign/sign/v1",
                "subject": [{"name": "", "digest": {"sha256": &about["sha256:".len()..]}}], "predicate": {}
            })
            .to_string();
            let kind = "application/vnd.in-toto+json";
            let message = format!("DSSEv1 {} {kind} {} {statement}", kind.len(), statement.len());
            let signature = sign(s, by, message.as_bytes());
            let bundle = json!({
                "mediaType": BUNDLE,
                "verificationMaterial": {"publicKey": {"hint": "x"}, "tlogEntries": []},
                "dsseEnvelope": {"payload": base64(s, statement.as_bytes()), "payloadType": kind, "signatures": [{"sig": signature}]}
            });
            let layer = w.layout.blob(BUNDLE, bundle.to_string().as_bytes());
            let manifest = json!({
                "schemaVersion": 2, "mediaType": oci::MANIFEST, "artifactType": BUNDLE,
                "config": w.layout.blob("application/vnd.oci.empty.v1+json", b"{}"), "layers": [layer],
                "subject": {"mediaType": oci::MANIFEST, "digest": image, "size": size}
            });
            let text = manifest.to_string();
            w.push(&manifest, oci::MANIFEST, &format!("team/{name}:bundle"));
            let mut entry = json!({"mediaType": oci::MANIFEST, "digest": digest(text.as_bytes()), "size": text.len()});
            entry["artifactType"] = json!(BUNDLE);
            // Some registries want a platform of every entry.
            entry["platform"] = json!({"os": "linux", "architecture": host_arch()});
            let index = json!({"schemaVersion": 2, "mediaType": oci::INDEX, "manifests": [entry]});
            w.push(&index, oci::INDEX, &format!("team/{name}:{}", image.replace(':', "-")));
        }
        w.accepted("team/good:1");
        w.refused("team/stranger:1", &["trusted key"]);
        w.refused("team/swapped:1", &["another image"]);
    }
}
