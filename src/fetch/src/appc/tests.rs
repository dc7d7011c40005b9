//! Fetches of ACIs from a server on loopback: where they are looked for, what is
//! asked when, and what is refused. The signed image in `testdata` is
//! `localhost/signed`.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::{Offer, Review};
use crate::http::testing::{Asked, Out, Scratch, Server, Speaks, believing, give};
use crate::http::{Client, ClientOptions};
use crate::progress::Silent;
use crate::{Fetcher, Notes, PullPolicy, host_arch};
use model::config::Config;
use model::fault::Result;
use model::options::InsecureOptions;
use model::{AcIdentifier, Dependency, ImageId, ImageManifest, Label, Labels};
use std::cell::RefCell;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use store::Store;

thread_local! {
    /// What the fetches of this test go through: the CA's file and the port.
    static WORLD: RefCell<Option<(PathBuf, u16)>> = const { RefCell::new(None) };
}

pub(super) fn connect<'f>(
    options: ClientOptions,
    notes: &'f dyn Notes,
) -> (Client<'f>, Option<u16>) {
    let (ca, port) = WORLD.with_borrow(|world| world.clone().unwrap());
    (believing(&ca, options, notes), Some(port))
}

/// A directory of this test's own, gone with the value.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        let mut random = [0u8; 8];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).unwrap();
        let name = format!("rkt-test-appc-{:016x}", u64::from_ne_bytes(random));
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir(&dir).unwrap();
        Dir(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Notes for Heard {
    fn note(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_string());
    }
    fn debug(&self, _: &str) {}
}

impl Review for Heard {
    fn trusts(&self, offer: &Offer<'_>) -> Result<bool> {
        Ok(offer.settled)
    }
    fn added(&self, prefix: &AcIdentifier, _: &Path) {
        self.note(&format!("added for {prefix}"));
    }
}

type Answers = dyn Fn(&Asked, u16, Out) + Send + Sync;

struct World {
    server: Server,
    _ca: Scratch,
    dir: Dir,
    store: Store,
    config: Config,
    heard: Heard,
    insecure: &'static str,
    policy: PullPolicy,
    trust_keys: bool,
}

impl World {
    fn new(insecure: &'static str, answers: Box<Answers>) -> World {
        let port = Arc::new(Mutex::new(0));
        let known = Arc::clone(&port);
        let server = Server::start(Speaks::Tls, move |asked, out| {
            let port = *known.lock().unwrap();
            answers(asked, port, out);
        });
        *port.lock().unwrap() = server.port;
        let ca = Scratch::ca();
        WORLD.set(Some((ca.path().to_path_buf(), server.port)));
        let dir = Dir::new();
        World {
            store: Store::open(&dir.0.join("data")).unwrap(),
            server,
            _ca: ca,
            dir,
            config: Config::default(),
            heard: Heard::default(),
            insecure,
            policy: PullPolicy::Update,
            trust_keys: false,
        }
    }

    fn fetch(&self, word: &str) -> Result<ImageId> {
        let root = self.dir.0.join("config");
        let fetcher = Fetcher {
            store: &self.store,
            policy: self.policy,
            insecure: InsecureOptions::parse(self.insecure).unwrap(),
            trust_keys_from_https: self.trust_keys,
            config: &self.config,
            system_config: &self.dir.0.join("none"),
            local_config: &root,
            user_config: None,
            review: &self.heard,
            notes: &self.heard,
            progress: &Silent,
        };
        fetcher.fetch(word, None)
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.server.port)
    }

    fn paths(&self) -> Vec<String> {
        self.server
            .asked()
            .into_iter()
            .map(|asked| asked.path)
            .collect()
    }

    fn stored(&self) -> usize {
        self.store.list().unwrap().len()
    }

    /// Trusts the key of `testdata` for a prefix.
    fn trust(&self, prefix: &str) {
        let keys = trust::openpgp::PublicKey::parse(SIGNER).unwrap();
        let scope = trust::Scope::Prefix(AcIdentifier::new(prefix).unwrap());
        trust::Keystore::add(&self.dir.0.join("config"), &scope, &keys[0]).unwrap();
    }
}

const SIGNED: &[u8] = include_bytes!("testdata/signed.tar.gz");
const SIGNATURE: &[u8] = include_bytes!("testdata/signed.asc");
const SIGNER: &[u8] = include_bytes!("testdata/signer.asc");
/// The labels of the signed image, whatever this machine is.
const LABELS: &str = ":1.0,os=linux,arch=amd64";

fn aci(name: &str, version: &str, dependency: Option<(&str, Option<String>)>) -> Vec<u8> {
    let mut manifest = ImageManifest::new(AcIdentifier::new(name).unwrap());
    for (name, value) in [("version", version), ("os", "linux"), ("arch", host_arch())] {
        manifest
            .labels
            .push(Label::new(name, value).unwrap())
            .unwrap();
    }
    manifest
        .dependencies
        .extend(dependency.map(|(name, id)| Dependency {
            image_name: AcIdentifier::new(name).unwrap(),
            image_id: id,
            labels: Labels::default(),
            size: None,
            extra: Vec::new(),
        }));
    let dir = Dir::new();
    let root = std::fs::File::open(&dir.0).unwrap();
    let mut bytes = Vec::new();
    let text = manifest.compact().into_bytes();
    archive::write_aci(&text, root.as_fd(), &mut bytes, &Default::default()).unwrap();
    bytes
}

fn page(port: u16, prefix: &str, template: &str) -> Vec<u8> {
    format!(
        "<html><head><meta name=\"ac-discovery\" content=\"{prefix} \
         https://localhost:{port}/{template}\"></head></html>"
    )
    .into_bytes()
}

fn missing(out: Out) {
    give(out, 404, "", b"");
}

#[test]
fn pages_are_asked_from_the_name_down_to_the_host_and_places_in_order() {
    let world = World::new(
        "image",
        Box::new(|asked, port, out| match asked.path.as_str() {
            "/a/b?ac-discovery=1" => missing(out),
            "/a?ac-discovery=1" => give(out, 200, "", &page(port, "localhost/other", "x.{ext}")),
            "/?ac-discovery=1" | "?ac-discovery=1" => {
                let mut both = page(port, "localhost", "gone/{version}.{ext}");
                both.extend(page(port, "localhost/a", "{name}-{os}-{arch}.{ext}"));
                give(out, 200, "", &both);
            }
            path if path.starts_with("/localhost/a/b-linux-") => {
                give(out, 200, "", &aci("localhost/a/b", "3", None));
            }
            _ => missing(out),
        }),
    );
    let id = world.fetch("localhost/a/b").unwrap();
    let paths = world.paths();
    assert_eq!(paths[..2], ["/a/b?ac-discovery=1", "/a?ac-discovery=1"]);
    assert_eq!(paths[3], "/gone/latest.aci");
    assert_eq!(
        paths[4],
        format!("/localhost/a/b-linux-{}.aci", host_arch())
    );
    assert_eq!(paths.len(), 5);
    assert!(world.store.get(&id).unwrap().unwrap().latest);
    // Now the store knows the name.
    let known = World {
        policy: PullPolicy::Never,
        ..world
    };
    assert_eq!(known.fetch("localhost/a/b").unwrap(), id);
    let known = World {
        policy: PullPolicy::New,
        ..known
    };
    assert_eq!(known.fetch("localhost/a/b:3").unwrap(), id);
    assert_eq!(known.paths().len(), 5);
}

#[test]
fn a_name_that_no_page_knows_was_not_discovered() {
    let world = World::new("image", Box::new(|_, _, out| missing(out)));
    let fault = world.fetch("localhost/a").unwrap_err();
    assert_eq!(fault.to_string(), "discovery failed");
    assert!(fault.hint.unwrap().contains("404"));
    assert_eq!(world.paths().len(), 2);
    let world = World {
        policy: PullPolicy::Never,
        ..world
    };
    assert!(
        world
            .fetch("localhost/a")
            .unwrap_err()
            .cause
            .starts_with("unable to fetch")
    );
    assert_eq!(world.paths().len(), 2);
}

#[test]
fn what_is_unchanged_does_not_move_and_what_is_fresh_is_not_asked_for() {
    let world = World::new(
        "image",
        Box::new(|asked, _, out| match asked.path.as_str() {
            "/fresh.aci" => {
                give(
                    out,
                    200,
                    "Cache-Control: max-age=3600\r\n",
                    &aci("localhost/f", "1", None),
                );
            }
            _ if asked.header("if-none-match") == Some("\"1\"") => {
                give(out, 304, "ETag: \"1\"\r\n", b"");
            }
            _ => give(out, 200, "ETag: \"1\"\r\n", &aci("localhost/t", "1", None)),
        }),
    );
    let url = world.url("/tagged.aci");
    let id = world.fetch(&url).unwrap();
    assert_eq!(world.fetch(&url).unwrap(), id);
    assert_eq!(world.fetch(&url).unwrap(), id);
    assert_eq!(world.paths().len(), 3);
    let url = world.url("/fresh.aci");
    let id = world.fetch(&url).unwrap();
    assert_eq!(world.fetch(&url).unwrap(), id);
    assert_eq!(world.paths().len(), 4);
    // By URL the store is content, too.
    let world = World {
        policy: PullPolicy::New,
        ..world
    };
    world.fetch(&world.url("/tagged.aci")).unwrap();
    assert_eq!(world.paths().len(), 4);
    let world = World {
        policy: PullPolicy::Never,
        ..world
    };
    let fault = world.fetch(&world.url("/new.aci")).unwrap_err();
    assert!(
        fault.cause.starts_with("unable to fetch image from URL"),
        "{fault}"
    );
}

#[test]
fn what_is_fresh_under_its_url_is_no_image_of_another_name() {
    let mut world = World::new(
        "none",
        Box::new(|asked, port, out| match asked.path.as_str() {
            "/other?ac-discovery=1" => {
                give(out, 200, "", &page(port, "localhost/other", "fresh.{ext}"));
            }
            "/fresh.aci" => give(out, 200, "Cache-Control: max-age=3600\r\n", SIGNED),
            "/fresh.aci.asc" => give(out, 200, "", SIGNATURE),
            _ => missing(out),
        }),
    );
    world.trust("localhost");
    world.fetch(&world.url("/fresh.aci")).unwrap();
    let fault = world
        .fetch(&format!("localhost/other{LABELS}"))
        .unwrap_err();
    assert!(
        fault.cause.contains("\"localhost/signed\" found"),
        "{fault}"
    );
    // Who asks for no check is content with what is there.
    world.insecure = "image";
    world.fetch(&format!("localhost/other{LABELS}")).unwrap();
}

fn signed(asked: &Asked, _: u16, out: Out) {
    match asked.path.as_str() {
        "/signed.aci" => give(out, 200, "", SIGNED),
        "/signed.aci.asc" => give(out, 200, "", SIGNATURE),
        "/late.aci" => give(out, 200, "", SIGNED),
        // The first time the server is not ready.
        "/late.aci.asc" if asked.number == 0 => give(out, 202, "", b""),
        "/late.aci.asc" => give(out, 200, "", SIGNATURE),
        "/never.aci" => give(out, 200, "", SIGNED),
        "/never.aci.asc" => give(out, 202, "", b""),
        "/changed.aci" => {
            let mut bytes = SIGNED.to_vec();
            // The header's time stamp: the archive stays readable.
            bytes[4] ^= 1;
            give(out, 200, "", &bytes);
        }
        "/changed.aci.asc" => give(out, 200, "", SIGNATURE),
        "/other.aci" => give(out, 200, "", &aci("localhost/signed", "1.0", None)),
        "/other.aci.asc" => give(out, 200, "", SIGNATURE),
        _ => missing(out),
    }
}

#[test]
fn a_signature_by_a_key_of_the_name_is_needed() {
    let world = World::new("none", Box::new(signed));
    assert!(
        world.fetch(&world.url("/signed.aci")).is_err(),
        "nobody is trusted"
    );
    world.trust("localhost/other");
    assert!(
        world.fetch(&world.url("/signed.aci")).is_err(),
        "for another name"
    );
    assert_eq!(world.stored(), 0);
    world.trust("localhost/signed");
    for path in ["/changed.aci", "/other.aci"] {
        let fault = world.fetch(&world.url(path)).unwrap_err();
        let message = fault.message.unwrap_or_default();
        assert!(message.contains("verification failed"), "{path}: {message}");
    }
    let fault = world.fetch(&world.url("/unsigned.aci")).unwrap_err();
    assert!(fault.cause.contains("/unsigned.aci.asc"), "{fault}");
    assert_eq!(world.stored(), 0);
    world.fetch(&world.url("/signed.aci")).unwrap();
    let heard = world.heard.0.lock().unwrap();
    assert!(
        heard
            .iter()
            .any(|line| line.contains("signature verified:\n  Test signer"))
    );
}

#[test]
fn a_deferred_signature_is_asked_for_once_more() {
    let world = World::new("none", Box::new(signed));
    world.trust("localhost");
    world.fetch(&world.url("/late.aci")).unwrap();
    assert_eq!(
        world.paths(),
        ["/late.aci.asc", "/late.aci", "/late.aci.asc"]
    );
    let fault = world.fetch(&world.url("/never.aci")).unwrap_err();
    assert!(
        fault.cause.contains("asked to defer the download again"),
        "{fault}"
    );
    assert_eq!(world.stored(), 1);
}

fn publisher(asked: &Asked, port: u16, out: Out) {
    match asked.path.as_str() {
        path if path.ends_with("?ac-discovery=1") => {
            let mut text = page(port, "localhost", "signed.{ext}");
            let keys = format!(
                "<meta name=\"ac-discovery-pubkeys\" content=\"localhost \
                 https://localhost:{port}/keys.asc\">"
            );
            text.extend(keys.into_bytes());
            give(out, 200, "", &text);
        }
        "/keys.asc" => give(out, 200, "", SIGNER),
        _ => signed(asked, port, out),
    }
}

#[test]
fn keys_of_a_page_are_believed_only_if_the_user_says_so() {
    let world = World::new("none", Box::new(publisher));
    let word = format!("localhost/signed{LABELS}");
    assert!(world.fetch(&word).is_err());
    assert!(
        !world.paths().contains(&"/signed.aci".to_string()),
        "found out before the download"
    );
    let world = World {
        trust_keys: true,
        ..world
    };
    world.fetch(&word).unwrap();
    assert!(
        world
            .heard
            .0
            .lock()
            .unwrap()
            .contains(&"added for localhost/signed".to_string())
    );
    // From then on the key is known, for this name alone.
    let before = world.paths().len();
    let world = World {
        trust_keys: false,
        ..world
    };
    world.fetch(&word).unwrap();
    assert!(!world.paths()[before..].contains(&"/keys.asc".to_string()));
}

#[test]
fn what_was_found_has_to_be_what_was_asked_for() {
    let world = World::new("none", Box::new(publisher));
    world.trust("localhost");
    for (word, want) in [
        (
            "localhost/else:1.0,os=linux,arch=amd64",
            "\"localhost/else\" expected but",
        ),
        (
            "localhost/signed:2.0,os=linux,arch=amd64",
            "label \"version\"",
        ),
        (
            "localhost/signed:1.0,os=linux,arch=amd64,x=y",
            "label \"x\" not provided",
        ),
    ] {
        let fault = world.fetch(word).unwrap_err();
        assert!(fault.cause.contains(want), "{word}: {fault}");
    }
    assert_eq!(world.stored(), 0);
    world.fetch(&format!("localhost/signed{LABELS}")).unwrap();
}

#[test]
fn dependencies_are_found_like_images_and_their_ids_are_checked() {
    let wrong = format!("sha512-{}", "0".repeat(64));
    // Written once: a root directory has its time, and the top is asked for twice.
    let images = [
        ("top", "localhost/mid", None),
        ("mid", "localhost/low", None),
        // One that depends on the top again ends as well.
        ("low", "localhost/top", None),
        ("picky", "localhost/low", Some(wrong.clone())),
    ]
    .map(|(name, needs, id)| {
        let image = aci(&format!("localhost/{name}"), "1", Some((needs, id)));
        (format!("/localhost/{name}.aci"), image)
    });
    let world = World::new(
        "image",
        Box::new(move |asked, port, out| {
            if asked.path.ends_with("?ac-discovery=1") {
                return give(out, 200, "", &page(port, "localhost", "{name}.{ext}"));
            }
            match images.iter().find(|(path, _)| *path == asked.path) {
                Some((_, image)) => give(out, 200, "", image),
                None => missing(out),
            }
        }),
    );
    world.fetch("localhost/top").unwrap();
    assert_eq!(world.stored(), 3);
    let fault = world.fetch("localhost/picky").unwrap_err();
    assert!(
        fault.cause.contains(&format!("should be {wrong}")),
        "{fault}"
    );
}
