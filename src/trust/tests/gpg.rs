//! The verdicts of `trust` held against gpg's own, over good and bad keys and signatures that a real gpg makes.
//!
//! For each row gpg gets a keyring of exactly the trusted keys. A row may name why `trust` is stricter; then gpg must
//! say good and `trust` bad. That `trust` is laxer is never right.

use pgp::packet::{PacketHeader, Signature, SubpacketData};
use pgp::ser::Serialize;
use pgp::types::{PacketLength, Tag};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};
use tests::Scratch;
use trust::Keys;
use trust::openpgp::{Check, PublicKey};

const DATA: &[u8] = b"an image, or what passes for one\r\nin a test \n";
/// A time that every key with a past has outlived.
const LONG_AGO: &str = "20200101T000000";

/// A gpg with a home of its own, which ends with it, agent and all.
struct Gpg {
    scratch: Scratch,
}

impl Gpg {
    /// `None` where there is no gpg.
    fn new(name: &str) -> Option<Gpg> {
        let version = Command::new("gpg").arg("--version").output().ok()?;
        if !version.status.success() {
            return None;
        }
        let scratch = Scratch::new(name);
        let home = scratch.mkdir("h");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&home, private).expect("the directory is ours");
        Some(Gpg { scratch })
    }

    fn home(&self) -> PathBuf {
        self.scratch.at("h")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("gpg");
        command
            .arg("--homedir")
            .arg(self.home())
            .args([
                "--batch",
                "--no-tty",
                "--yes",
                "--quiet",
                "--no-auto-check-trustdb",
            ])
            .args(["--pinentry-mode", "loopback", "--passphrase", ""])
            .args(args)
            .stdin(Stdio::null());
        command
    }

    /// Stdout of a run that has to succeed.
    fn run(&self, args: &[&str]) -> Vec<u8> {
        let output = self.command(args).output().expect("gpg is there");
        assert!(
            output.status.success(),
            "gpg {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    /// The same with lines on its stdin, for `--edit-key`.
    fn edit(&self, key: &str, lines: &str) {
        use std::io::Write;
        let mut child = Command::new("gpg")
            .arg("--homedir")
            .arg(self.home())
            .args([
                "--no-tty",
                "--quiet",
                "--pinentry-mode",
                "loopback",
                "--passphrase",
                "",
            ])
            .args(["--command-fd", "0", "--edit-key", key])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("gpg is there");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(lines.as_bytes()).expect("gpg reads");
        drop(stdin);
        assert!(child.wait().expect("it is ours").success(), "editing {key}");
    }

    /// Makes a key and returns its fingerprint. `more` comes before the verb.
    fn key(&self, user: &str, algorithm: &str, usage: &str, expire: &str, more: &[&str]) -> String {
        let generate = ["--quick-gen-key", user, algorithm, usage, expire];
        self.run(&[more, &generate].concat());
        self.fingerprint(user)
    }

    fn fingerprint(&self, user: &str) -> String {
        self.fingerprints(user).remove(0)
    }

    /// Of the primary key and its subkeys.
    fn fingerprints(&self, user: &str) -> Vec<String> {
        let listing = self.run(&[
            "--with-colons",
            "--with-subkey-fingerprint",
            "--list-keys",
            user,
        ]);
        let listing = String::from_utf8(listing).expect("colons are ASCII here");
        let fingerprints = listing.lines().filter(|line| line.starts_with("fpr:"));
        fingerprints
            .map(|line| line.split(':').nth(9).expect("the tenth field").to_owned())
            .collect()
    }

    fn export(&self, user: &str) -> Vec<u8> {
        self.run(&["--export", user])
    }

    /// A detached signature of `DATA`, binary unless `more` says otherwise.
    fn sign(&self, by: &str, more: &[&str]) -> Vec<u8> {
        self.sign_as("--detach-sign", by, more)
    }

    fn sign_as(&self, how: &str, by: &str, more: &[&str]) -> Vec<u8> {
        let data = self.scratch.write("data", DATA);
        let data = data.to_str().expect("a plain path");
        self.run(&[&["--local-user", by], more, &["--output", "-", how, data]].concat())
    }

    /// Whether gpg calls a signature good, given these keys and no others.
    fn verdict(&self, keys: &[u8], signature: &[u8], data: &[u8]) -> bool {
        let keyring = self.scratch.write("keys.gpg", keys);
        let signature = self.scratch.write("signature", signature);
        let data = self.scratch.write("signed", data);
        let text = |path: &Path| path.to_str().expect("a plain path").to_owned();
        let args = ["--status-fd", "1", "--trust-model", "always"].map(String::from);
        let ring = [
            "--no-default-keyring".into(),
            "--keyring".into(),
            text(&keyring),
        ];
        let verify = ["--verify".into(), text(&signature), text(&data)];
        let args: Vec<String> = args.into_iter().chain(ring).chain(verify).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = self.command(&args).output().expect("gpg is there");
        let status = String::from_utf8_lossy(&output.stdout);
        let says = |word: &str| {
            status
                .lines()
                .any(|l| l.starts_with(&format!("[GNUPG:] {word} ")))
        };
        assert_eq!(
            says("GOODSIG") || says("EXPSIG") || says("EXPKEYSIG") || says("REVKEYSIG"),
            says("VALIDSIG")
        );
        says("GOODSIG")
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf")
            .arg("--homedir")
            .arg(self.home())
            .args(["--kill", "all"])
            .status();
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("we live after 1970").as_secs()
}

/// Our verdict; the error is the reason.
fn ours(keys: &[u8], signature: &[u8], data: &[u8]) -> Result<String, String> {
    let keys = match keys {
        [] => Vec::new(),
        keys => PublicKey::parse(keys).map_err(|fault| fault.to_string())?,
    };
    let keys = Keys {
        keys,
        notes: Vec::new(),
    };
    let mut check = Check::new(signature).map_err(|fault| fault.to_string())?;
    for piece in data.chunks(7) {
        check.update(piece);
    }
    let signer = check
        .finish(&keys, now())
        .map_err(|fault| fault.to_string())?;
    Ok(signer.fingerprint)
}

/// What both are to say.
#[derive(Clone, Copy, PartialEq)]
enum Says {
    Good,
    Bad,
    /// gpg good, we bad, for this reason.
    Stricter(&'static str),
}
use Says::{Bad, Good, Stricter};

struct Table<'a> {
    gpg: &'a Gpg,
    wrong: Vec<String>,
    rows: usize,
}

impl Table<'_> {
    fn row(&mut self, name: &str, keys: &[u8], signature: &[u8], says: Says) {
        self.row_over(name, keys, signature, DATA, says);
    }

    fn row_over(&mut self, name: &str, keys: &[u8], signature: &[u8], data: &[u8], says: Says) {
        self.rows += 1;
        let gpg = self.gpg.verdict(keys, signature, data);
        let ours = ours(keys, signature, data);
        eprintln!("{name}: gpg {gpg}, ours {ours:?}");
        let right = match says {
            Good => gpg && ours.is_ok(),
            Bad => !gpg && ours.is_err(),
            Stricter(why) => gpg && ours.as_ref().is_err_and(|text| text.contains(why)),
        };
        if !right {
            self.wrong
                .push(format!("{name}: gpg says {gpg}, trust says {ours:?}"));
        }
    }
}

fn armored(gpg: &Gpg, by: &str) -> Vec<u8> {
    gpg.sign(by, &["--armor"])
}

#[test]
fn verdicts_are_those_of_gpg() {
    let Some(gpg) = Gpg::new("gpg") else {
        tests::skip!("there is no gpg");
    };
    let mut table = Table {
        gpg: &gpg,
        wrong: Vec::new(),
        rows: 0,
    };
    algorithms(&mut table);
    digests_and_types(&mut table);
    damage(&mut table);
    keys_with_a_past(&mut table);
    subkeys(&mut table);
    several_signatures(&mut table);
    assert!(table.wrong.is_empty(), "{}", table.wrong.join("\n"));
    assert!(table.rows > 60, "only {} rows", table.rows);
}

fn algorithms(table: &mut Table) {
    for (algorithm, says) in [
        ("rsa1024", Good),
        ("rsa2048", Good),
        ("rsa3072", Good),
        ("rsa4096", Good),
        ("dsa1024", Stricter("SHA1, which is too weak")),
        ("dsa2048", Good),
        ("ed25519", Good),
        ("nistp256", Good),
        ("nistp384", Good),
        ("nistp521", Good),
        ("secp256k1", Stricter("is not supported")),
        ("brainpoolP256r1", Stricter("is not supported")),
    ] {
        let gpg = table.gpg;
        let user = format!("{algorithm} <a@{algorithm}>");
        let key = gpg.key(&user, algorithm, "cert,sign", "never", &[]);
        let public = gpg.export(&key);
        table.row(algorithm, &public, &gpg.sign(&key, &[]), says);
        table.row(
            &format!("{algorithm}, armored"),
            &public,
            &armored(gpg, &key),
            says,
        );
    }
}

fn digests_and_types(table: &mut Table) {
    let gpg = table.gpg;
    let key = gpg.fingerprint("a@rsa2048");
    let public = gpg.export(&key);
    for (digest, says) in [
        ("SHA224", Good),
        ("SHA256", Good),
        ("SHA384", Good),
        ("SHA512", Good),
        ("SHA1", Stricter("SHA1, which is too weak")),
        ("RIPEMD160", Stricter("RIPEMD160, which is too weak")),
        ("MD5", Bad),
    ] {
        let more = ["--allow-weak-digest-algos", "--digest-algo", digest];
        table.row(digest, &public, &gpg.sign(&key, &more), says);
    }
    let text = gpg.sign(&key, &["--textmode"]);
    table.row(
        "text mode",
        &public,
        &text,
        Stricter("not that of a signature of a binary"),
    );
    let inline = gpg.sign_as("--sign", &key, &[]);
    table.row("inline", &public, &inline, Bad);
    let stored = gpg.sign_as("--sign", &key, &["--compress-algo", "none"]);
    table.row("inline, not compressed", &public, &stored, Bad);
    let clear = gpg.sign_as("--clearsign", &key, &[]);
    table.row("cleartext", &public, &clear, Bad);
    let noted = gpg.sign(&key, &["--sig-notation", "a@example.com=1"]);
    table.row("notation", &public, &noted, Good);
    let noted = gpg.sign(&key, &["--sig-notation", "!a@example.com=1"]);
    table.row("critical notation", &public, &noted, Bad);
    let policy = gpg.sign(&key, &["--sig-policy-url", "!https://example.com/"]);
    table.row("critical policy", &public, &policy, Good);
}

fn damage(table: &mut Table) {
    let gpg = table.gpg;
    let key = gpg.fingerprint("a@ed25519");
    let public = gpg.export(&key);
    let good = gpg.sign(&key, &[]);
    let text = armored(gpg, &key);
    let longer = [DATA, b"."].concat();
    table.row_over("longer data", &public, &good, &longer, Bad);
    table.row_over("shorter data", &public, &good, &DATA[1..], Bad);
    table.row_over("no data", &public, &good, b"", Bad);
    table.row(
        "no keys",
        &gpg.export(&gpg.fingerprint("a@nistp256")),
        &good,
        Bad,
    );
    table.row("empty", &public, b"", Bad);
    table.row("words", &public, b"this is no signature\n", Bad);
    table.row("a key instead", &public, &public, Bad);
    for cut in [1, 2, 10, good.len() / 2, good.len() - 1] {
        table.row(&format!("cut at {cut}"), &public, &good[..cut], Bad);
    }
    for cut in [1, 20, text.len() / 2] {
        table.row(
            &format!("armored, cut at {cut}"),
            &public,
            &text[..cut],
            Bad,
        );
    }
    let open = &text[..text.len() - 20];
    table.row(
        "armored, no last line",
        &public,
        open,
        Stricter("truncated?"),
    );
    let line = String::from_utf8(text.clone()).expect("armor is ASCII");
    let dos = line.replace('\n', "\r\n");
    table.row("armored, DOS lines", &public, dos.as_bytes(), Good);
    let headed = line.replacen("-----\n", "-----\nVersion: 1\nComment: x\n", 1);
    table.row("armored, headers", &public, headed.as_bytes(), Good);
    let led = format!("Here it comes:\n\n{line}");
    table.row("armored, words before", &public, led.as_bytes(), Good);
    let sum: String = line
        .lines()
        .map(|l| match l.starts_with('=') {
            true => "=AAAA\n".to_owned(),
            false => format!("{l}\n"),
        })
        .collect();
    table.row("armored, wrong checksum", &public, sum.as_bytes(), Bad);
    // The packet's last third is the unhashed area, whose damage means nothing, and the value of the signature.
    for at in (0..good.len()).step_by(2) {
        let mut flipped = good.clone();
        flipped[at] ^= 0x10;
        let gpg = gpg.verdict(&public, &flipped, DATA);
        let ours = ours(&public, &flipped, DATA);
        if ours.is_ok() && !gpg {
            table
                .wrong
                .push(format!("a flipped bit of octet {at}: laxer than gpg"));
        }
    }
}

fn keys_with_a_past(table: &mut Table) {
    let gpg = table.gpg;
    let past = ["--faked-system-time", LONG_AGO];
    let algorithm = "ed25519";
    let expired = gpg.key("expired <x@y>", algorithm, "cert,sign", "1y", &past);
    let signature = gpg.sign(&expired, &past);
    table.row("expired key", &gpg.export(&expired), &signature, Bad);
    // A new self-signature gives it a second life.
    gpg.run(&["--quick-set-expire", &expired, "0"]);
    table.row(
        "expired key, prolonged",
        &gpg.export(&expired),
        &signature,
        Good,
    );

    let key = gpg.key("mortal <m@y>", algorithm, "cert,sign", "never", &past);
    let public = gpg.export(&key);
    let short = gpg.sign(&key, &[&past[..], &["--default-sig-expire", "1d"]].concat());
    table.row("expired signature", &public, &short, Bad);
    let long = gpg.sign(&key, &["--default-sig-expire", "1y"]);
    table.row("signature with an end to come", &public, &long, Good);
    let early = [
        "--faked-system-time",
        "20190101T000000",
        "--ignore-time-conflict",
    ];
    let early = [&early[..], &["--ignore-valid-from"]].concat();
    table.row(
        "signature older than its key",
        &public,
        &gpg.sign(&key, &early),
        Bad,
    );

    let future = ["--faked-system-time", "20990101T000000"];
    let unborn = gpg.key("unborn <u@y>", algorithm, "cert,sign", "never", &future);
    let signature = gpg.sign(&unborn, &future);
    table.row("key from the future", &gpg.export(&unborn), &signature, Bad);
    let signature = gpg.sign(&key, &future);
    table.row("signature from the future", &public, &signature, Good);

    let revoked = gpg.key("revoked <r@y>", algorithm, "cert,sign", "never", &past);
    let signature = gpg.sign(&revoked, &[]);
    let before = gpg.export(&revoked);
    table.row("key before it is revoked", &before, &signature, Good);
    gpg.edit(&revoked, "revkey\ny\n0\n\ny\nsave\n");
    let after = gpg.export(&revoked);
    assert!(after.len() > before.len(), "nothing was revoked");
    table.row("revoked key", &after, &signature, Bad);

    let useless = gpg.key("useless <n@y>", "rsa2048", "cert,sign", "never", &[]);
    let signature = gpg.sign(&useless, &[]);
    gpg.edit(&useless, "change-usage\nS\nQ\nsave\n");
    table.row(
        "key without the flag for signing",
        &gpg.export(&useless),
        &signature,
        Bad,
    );

    let many = gpg.key("first <f@y>", algorithm, "cert,sign", "never", &[]);
    gpg.run(&["--quick-add-uid", &many, "second <s@y>"]);
    gpg.run(&["--quick-add-uid", &many, "third <t@y>"]);
    let signature = gpg.sign(&many, &[]);
    table.row("several user IDs", &gpg.export(&many), &signature, Good);
    gpg.run(&["--quick-revoke-uid", &many, "second <s@y>"]);
    let public = gpg.export(&many);
    table.row("a revoked user ID", &public, &signature, Good);
    let mut shown = PublicKey::parse(&public)
        .expect("gpg made it")
        .remove(0)
        .user_ids();
    shown.sort();
    assert_eq!(shown, ["first <f@y>", "third <t@y>"]);

    let bare = gpg.run(&["--export-filter", "drop-subkey=usage=~s", "--export", &many]);
    table.row(
        "key without user IDs",
        &without_users(&bare),
        &signature,
        Bad,
    );
}

fn subkeys(table: &mut Table) {
    let gpg = table.gpg;
    let past = ["--faked-system-time", LONG_AGO];
    let key = gpg.key("subkeys <k@y>", "ed25519", "cert", "never", &past);
    let add = |more: &[&str], algorithm: &str, usage: &str, expire: &str| {
        gpg.run(&[more, &["--quick-add-key", &key, algorithm, usage, expire]].concat());
        gpg.fingerprints(&key).pop().expect("one was added")
    };
    let sound = add(&past, "ed25519", "sign", "never");
    let exact = |subkey: &str| format!("{subkey}!");
    let by_sound = gpg.sign(&exact(&sound), &[]);
    table.row("signing subkey", &gpg.export(&key), &by_sound, Good);
    let stripped = edit_signatures(&gpg.export(&key), |signature| {
        let config = signature.config().expect("version 4");
        let back =
            |p: &pgp::packet::Subpacket| matches!(p.data, SubpacketData::EmbeddedSignature(_));
        if let Some(at) = config.unhashed_subpackets.iter().position(back) {
            signature
                .unhashed_subpacket_remove(at)
                .expect("it is there");
        }
    });
    assert_ne!(
        stripped,
        gpg.export(&key),
        "there was no signature in return"
    );
    table.row(
        "signing subkey, no signature in return",
        &stripped,
        &by_sound,
        Bad,
    );
    let other = gpg.export(&gpg.fingerprint("a@ed25519"));
    let adopted = [&other[..], &subkey_packets(&gpg.export(&key))].concat();
    table.row("signing subkey of another key", &adopted, &by_sound, Bad);

    let short = add(&past, "ed25519", "sign", "1y");
    let by_short = gpg.sign(&exact(&short), &past);
    table.row("expired subkey", &gpg.export(&key), &by_short, Bad);
    let rsa = add(&[], "rsa2048", "sign", "never");
    table.row(
        "RSA subkey",
        &gpg.export(&key),
        &gpg.sign(&exact(&rsa), &[]),
        Good,
    );
    table.row(
        "the sound one beside others",
        &gpg.export(&key),
        &by_sound,
        Good,
    );
    // The first subkey of the list.
    gpg.edit(&key, "key 1\nrevkey\ny\n0\n\ny\nsave\n");
    table.row("revoked subkey", &gpg.export(&key), &by_sound, Bad);
    let by_rsa = gpg.sign(&exact(&rsa), &[]);
    table.row("its sister", &gpg.export(&key), &by_rsa, Good);
    let soon = ["--faked-system-time", "20200201T000000"];
    gpg.run(&[&soon[..], &["--quick-set-expire", &key, "1d"]].concat());
    table.row("subkey of an expired key", &gpg.export(&key), &by_rsa, Bad);
    gpg.run(&["--quick-set-expire", &key, "0"]);
    gpg.edit(&key, "revkey\ny\n0\n\ny\nsave\n");
    table.row("subkey of a revoked key", &gpg.export(&key), &by_rsa, Bad);
}

fn several_signatures(table: &mut Table) {
    let gpg = table.gpg;
    let (a, b) = (gpg.fingerprint("a@ed25519"), gpg.fingerprint("a@rsa2048"));
    let (key_a, key_b) = (gpg.export(&a), gpg.export(&b));
    let both_keys = [&key_a[..], &key_b].concat();
    let both = gpg.sign(&a, &["--local-user", &b]);
    table.row("two signatures", &both_keys, &both, Good);
    table.row("two signatures, one known", &key_a, &both, Good);
    table.row("two signatures, the other known", &key_b, &both, Good);
    let neither = gpg.export(&gpg.fingerprint("a@nistp256"));
    table.row("two signatures, none known", &neither, &both, Bad);
    let by_a = gpg.sign(&a, &[]);
    let swapped = [&gpg.sign(&b, &[])[..], &by_a].concat();
    table.row("one after the other", &key_a, &swapped, Good);
    let cut = &swapped[..swapped.len() - 1];
    table.row("the first whole, the second cut", &key_a, cut, Bad);
}

/// The packets of a binary key: header and body.
fn packets(mut rest: &[u8]) -> Vec<(PacketHeader, Vec<u8>)> {
    let mut packets = Vec::new();
    while !rest.is_empty() {
        let header = PacketHeader::try_from_reader(&mut rest).expect("gpg made it");
        let PacketLength::Fixed(len) = header.packet_length() else {
            panic!("keys come in packets of a known length");
        };
        let (body, after) = rest.split_at(len as usize);
        packets.push((header, body.to_vec()));
        rest = after;
    }
    packets
}

fn join(packets: impl IntoIterator<Item = (PacketHeader, Vec<u8>)>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (header, body) in packets {
        header.to_writer(&mut bytes).expect("memory");
        bytes.extend(body);
    }
    bytes
}

fn edit_signatures(key: &[u8], edit: impl Fn(&mut Signature)) -> Vec<u8> {
    join(packets(key).into_iter().map(|(header, body)| {
        if header.tag() != Tag::Signature {
            return (header, body);
        }
        let mut signature = Signature::try_from_reader(header, &body[..]).expect("gpg made it");
        edit(&mut signature);
        let mut body = Vec::new();
        signature.to_writer(&mut body).expect("memory");
        let len = u32::try_from(body.len()).expect("short");
        (PacketHeader::new_fixed(Tag::Signature, len), body)
    }))
}

/// From the first subkey on.
fn subkey_packets(key: &[u8]) -> Vec<u8> {
    join(
        packets(key)
            .into_iter()
            .skip_while(|(header, _)| header.tag() != Tag::PublicSubkey),
    )
}

fn without_users(key: &[u8]) -> Vec<u8> {
    join(packets(key).into_iter().take(1))
}
