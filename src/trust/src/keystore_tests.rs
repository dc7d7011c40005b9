//! Directories of keys as administrators arrange them: roots, prefixes, masks,
//! and files that are no keys.

use super::*;
use ::tests::Scratch;
use std::fs;
use std::os::unix::fs::PermissionsExt;

const ALICE: &str = include_str!("testdata/alice.asc");
const BOB: &str = include_str!("testdata/bob.asc");
const COSIGN: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEZklVfCItyGADtsQDAZzyQadbvfwl
Bj1AW3tXd4t14rKO8+YetRwaa9Q30VAUwXQvqfphrpoThmHvVgZCqnlcfQ==
-----END PUBLIC KEY-----
";

fn key(text: &str) -> openpgp::PublicKey {
    let keys = openpgp::PublicKey::parse(text.as_bytes()).expect("gpg made it");
    keys.into_iter().next().expect("one key")
}

fn name(text: &str) -> AcIdentifier {
    AcIdentifier::new(text).expect("an identifier")
}

fn prefix(text: &str) -> Scope {
    Scope::Prefix(name(text))
}

struct Roots {
    scratch: Scratch,
    roots: Vec<PathBuf>,
}

impl Roots {
    fn new() -> Roots {
        let scratch = Scratch::new("keystore");
        let roots = ["system", "local", "user"].map(|root| scratch.at(root));
        Roots {
            scratch,
            roots: roots.to_vec(),
        }
    }

    fn add(&self, root: usize, scope: &Scope, text: &str) -> PathBuf {
        Keystore::add(&self.roots[root], scope, &key(text)).expect("the directory is ours")
    }

    fn put(&self, root: usize, path: &str, bytes: &str) -> PathBuf {
        let path = self.roots[root].join("trustedkeys").join(path);
        fs::create_dir_all(path.parent().expect("it has one")).expect("the directory is ours");
        fs::write(&path, bytes).expect("the directory is ours");
        path
    }

    fn keys(&self, image: &str) -> Keys {
        let keys = Keystore::new(&self.roots).keys(&name(image));
        keys.expect("the directories can be read")
    }

    fn fingerprints(&self, image: &str) -> Vec<String> {
        let keys = self.keys(image).keys;
        keys.iter().map(|key| key.fingerprint().into()).collect()
    }
}

#[test]
fn a_prefix_covers_its_name_and_what_lies_below() {
    let roots = Roots::new();
    roots.add(1, &prefix("example.com/foo"), ALICE);
    let alice = [key(ALICE).fingerprint().to_owned()];
    for good in ["example.com/foo", "example.com/foo/bar"] {
        assert_eq!(roots.fingerprints(good), alice, "{good}");
    }
    for bad in [
        "example.com/foobar",
        "example.com",
        "other.example.com/foo",
        "x/../example.com/foo",
        "x//example.com/foo",
    ] {
        assert!(roots.fingerprints(bad).is_empty(), "{bad}");
    }
    let store = Keystore::new(&roots.roots);
    let has = |text| store.has_prefix_keys(&name(text)).expect("it can be read");
    assert!(has("example.com/foo/bar") && !has("example.com/foobar"));
    roots.add(0, &Scope::Root, BOB);
    assert_eq!(roots.fingerprints("any"), [key(BOB).fingerprint()]);
    assert!(!has("any"));
    assert_eq!(roots.fingerprints("example.com/foo").len(), 2);
}

#[test]
fn files_are_written_as_1_30_wrote_them() {
    let roots = Roots::new();
    let fingerprint = key(ALICE).fingerprint().to_owned();
    let path = roots.add(1, &prefix("example.com/foo"), ALICE);
    let below = format!("local/trustedkeys/prefix.d/example.com/foo/{fingerprint}");
    assert_eq!(path, roots.scratch.at(&below));
    assert_eq!(fs::read_to_string(&path).expect("it is there"), ALICE);
    let mode = |path: &Path| {
        fs::metadata(path)
            .expect("it is there")
            .permissions()
            .mode()
            & 0o7777
    };
    assert_eq!(mode(&path), 0o644);
    for dir in path.ancestors().skip(1).take(5) {
        assert_eq!(mode(dir), 0o755, "{}", dir.display());
    }
    let dir = path.parent().expect("it has one");
    assert_eq!(fs::read_dir(dir).expect("it is there").count(), 1);
    let root = roots.add(1, &Scope::Root, ALICE);
    assert_eq!(
        root,
        roots
            .scratch
            .at(&format!("local/trustedkeys/root.d/{fingerprint}"))
    );
    let bad = Keystore::add(&roots.roots[1], &prefix("a/../b"), &key(ALICE));
    assert!(bad.is_err_and(|fault| fault.cause.contains("..")));
}

#[test]
fn binary_keys_and_several_in_one_file_are_stored_one_by_one() {
    let roots = Roots::new();
    let both = openpgp::PublicKey::parse(format!("{ALICE}{BOB}").as_bytes()).expect("two keys");
    assert_eq!(both.len(), 2);
    for key in &both {
        Keystore::add(&roots.roots[1], &Scope::Root, key).expect("the directory is ours");
    }
    let keys = roots.keys("x");
    assert_eq!((keys.keys.len(), keys.notes.as_slice()), (2, &[][..]));
}

#[test]
fn an_empty_file_takes_trust_away_where_it_is_stronger() {
    let roots = Roots::new();
    let fingerprint = key(ALICE).fingerprint().to_owned();
    let at = |dir: &str| format!("{dir}/{fingerprint}");
    roots.add(0, &Scope::Root, ALICE);
    // Weaker than what it would mask: nothing happens.
    roots.put(0, &at("prefix.d/other"), "");
    assert_eq!(roots.fingerprints("a/b").len(), 1);
    roots.put(1, &at("prefix.d/a"), "");
    assert!(roots.fingerprints("a/b").is_empty());
    assert_eq!(roots.fingerprints("c").len(), 1);
    // A longer prefix is stronger, and a stronger root more so.
    roots.put(1, &at("prefix.d/a/b"), ALICE);
    assert_eq!(roots.fingerprints("a/b").len(), 1);
    roots.put(2, &at("prefix.d/a"), "");
    assert!(roots.fingerprints("a/b").is_empty());
    let store = Keystore::new(&roots.roots);
    assert!(store.has_prefix_keys(&name("a")).expect("it can be read"));
}

#[test]
fn files_that_are_no_keys_are_named_and_take_trust_away() {
    let fingerprint = key(ALICE).fingerprint().to_owned();
    for (bytes, why) in [
        ("nonsense", "expected an OpenPGP public key"),
        (BOB, "its key is"),
        ("-----BEGIN PGP PRIVATE KEY BLOCK-----\n", "a private key"),
    ] {
        let roots = Roots::new();
        roots.add(0, &Scope::Root, ALICE);
        roots.add(0, &Scope::Root, BOB);
        let path = roots.put(1, &format!("root.d/{fingerprint}"), bytes);
        let keys = roots.keys("a");
        assert_eq!(keys.keys.len(), 1, "{bytes}");
        let [note] = keys.notes.as_slice() else {
            panic!("one note, not {:?}", keys.notes);
        };
        assert!(
            note.contains(why) && note.contains(&path.display().to_string()),
            "{note}"
        );
    }
    let roots = Roots::new();
    roots.put(1, "root.d/README", "words");
    roots.put(1, "root.d/.hidden", "words");
    let path = roots.put(1, &format!("root.d/{fingerprint}"), ALICE);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("it is ours");
    let keys = roots.keys("a");
    assert!(keys.keys.is_empty());
    assert_eq!(keys.notes.len(), 2, "{:?}", keys.notes);
    assert!(
        keys.notes[0].contains("everybody may write"),
        "{:?}",
        keys.notes
    );
    assert!(keys.notes[1].contains("its name is no fingerprint"));
}

#[test]
fn neither_a_pipe_nor_a_device_makes_us_wait() {
    let roots = Roots::new();
    let fingerprint = key(ALICE).fingerprint().to_owned();
    roots.add(0, &Scope::Root, ALICE);
    let path = roots.put(1, &format!("root.d/{fingerprint}"), "");
    fs::remove_file(&path).expect("it is ours");
    std::os::unix::fs::symlink("/dev/null", &path).expect("it is gone");
    let keys = roots.keys("a");
    assert!(keys.keys.is_empty() && keys.notes[0].contains("no regular file"));
    fs::remove_file(&path).expect("it is ours");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0)
        .expect("anybody may make a pipe");
    assert!(roots.keys("a").notes[0].contains("no regular file"));
}

#[test]
fn a_cosign_key_that_cannot_be_read_still_requires_signatures() {
    let roots = Roots::new();
    let key = cosign::PublicKey::parse_pem(COSIGN.as_bytes()).expect("openssl made it");
    let added = Keystore::add_cosign(&roots.roots[1], "quay.io/coreos", &key);
    let path = added.expect("the directory is ours");
    let below = format!(
        "local/trustedkeys/cosign.d/quay.io/coreos/{}",
        key.fingerprint()
    );
    assert_eq!(path, roots.scratch.at(&below));
    let store = Keystore::new(&roots.roots);
    let keys = |repository| store.cosign_keys(repository).expect("it can be read");
    assert!(!keys("quay.io/coreosx").required && !keys("quay.io").required);
    let found = keys("quay.io/coreos/etcd");
    assert!(found.required && found.keys == [key]);
    fs::write(&path, "nonsense").expect("it is ours");
    let broken = keys("quay.io/coreos/etcd");
    assert!(broken.required && broken.keys.is_empty() && broken.notes.len() == 1);
    fs::write(&path, "").expect("it is ours");
    assert!(!keys("quay.io/coreos/etcd").required);
}
