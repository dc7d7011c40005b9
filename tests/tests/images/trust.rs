//! Signed images: keys by every way into the keystore, signatures by every way to an image, and what is refused.
//!
//! Keys and signatures are made by a real gpg in a home of the test's own.

use crate::refused;
use crate::site::Site;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use tests::http::Reply;
use tests::tar::Entry;
use tests::{Aci, Output, Rkt, Scratch, isolated, root_test_once, skip};

const NAME: &str = "appc.example.com/app";

/// A gpg with a home of its own, which ends with it, agent and all.
struct Gpg {
    home: PathBuf,
}

impl Gpg {
    fn new(s: &Scratch) -> Gpg {
        let home = s.mkdir("gpg");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&home, private).expect("the directory is ours");
        Gpg { home }
    }

    fn missing() -> Option<String> {
        isolated::find("gpg")
            .is_none()
            .then(|| "needs gpg (Debian: gnupg)".to_owned())
    }

    fn run(&self, args: &[&str]) -> Vec<u8> {
        let output = Command::new("gpg")
            .arg("--homedir")
            .arg(&self.home)
            .args([
                "--batch",
                "--no-tty",
                "--yes",
                "--quiet",
                "--pinentry-mode",
                "loopback",
                "--passphrase",
                "",
            ])
            .args(args)
            .stdin(Stdio::null())
            .output()
            .expect("gpg was looked for before");
        assert!(
            output.status.success(),
            "gpg {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    /// Makes a key; `more` comes before the verb.
    fn key(&self, user: &str, algorithm: &str, expires: &str, more: &[&str]) {
        self.run(&[more, &["--quick-gen-key", user, algorithm, "sign", expires]].concat());
    }

    fn fingerprint(&self, user: &str) -> String {
        let list = self.run(&["--with-colons", "--list-keys", user]);
        let list = String::from_utf8_lossy(&list);
        let line = list
            .lines()
            .find(|line| line.starts_with("fpr:"))
            .expect("every key has one");
        line.split(':').nth(9).expect("the tenth field").to_owned()
    }

    fn export(&self, s: &Scratch, user: &str) -> PathBuf {
        s.write(
            &format!("{user}.pub"),
            self.run(&["--armor", "--export", user]),
        )
    }

    fn sign(&self, file: &std::path::Path, user: &str, more: &[&str]) -> Vec<u8> {
        let file = file.display().to_string();
        self.run(
            &[
                &["--armor", "--local-user", user],
                more,
                &["--output", "-", "--detach-sign", &file],
            ]
            .concat(),
        )
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf")
            .arg("--homedir")
            .arg(&self.home)
            .args(["--kill", "all"])
            .status();
    }
}

fn trust(s: &Scratch, words: &[&str]) -> Output {
    Rkt::secure(s)
        .args(["trust", "--skip-fingerprint-review"])
        .args(words)
        .run()
}

/// `x.aci` in the scratch directory, with or without a signature beside it.
fn image(s: &Scratch, name: &str, signature: Option<(&Gpg, &str, &[&str])>) -> PathBuf {
    let path = Aci::new(name, &["/x"])
        .with(Entry::file("rootfs/name", name))
        .write(s.path());
    let mut beside = path.clone().into_os_string();
    beside.push(".asc");
    match signature {
        Some((gpg, user, more)) => {
            std::fs::write(beside, gpg.sign(&path, user, more)).expect("ours")
        }
        None => {
            let _ = std::fs::remove_file(beside);
        }
    }
    path
}

fn fetch(s: &Scratch, path: &std::path::Path) -> Rkt {
    Rkt::secure(s).arg("fetch").arg(path)
}

/// Removes what was fetched, so that the next one is fetched.
fn forget(s: &Scratch, out: &Output) {
    Rkt::secure(s)
        .args(["image", "rm", out.stdout.trim()])
        .run()
        .ok();
}

macro_rules! gpg {
    ($s:ident) => {{
        if let Some(reason) = Gpg::missing().or_else(Site::missing) {
            skip!("{reason}");
        }
        Gpg::new($s)
    }};
}

root_test_once! {
    fn keys_count_for_their_prefix(s) {
        let gpg = gpg!(s);
        for (user, algorithm) in [("rsa", "rsa2048"), ("ed", "ed25519")] {
            gpg.key(user, algorithm, "never", &[]);
            let key = gpg.export(s, user).display().to_string();
            let path = image(s, NAME, Some((&gpg, user, &[])));
            refused(s, fetch(s, &path), &["unknown entity", "rkt trust"]);
            // For another prefix, for the name itself, for its host, for all.
            trust(s, &["--prefix=appc.example.com/ap", &key]).ok();
            trust(s, &["--prefix=example.com", &key]).ok();
            refused(s, fetch(s, &path), &["unknown entity"]);
            for words in [&["--prefix=appc.example.com/app"][..], &["--prefix=appc.example.com"], &["--root"]] {
                let out = trust(s, &[words, &[&key]].concat()).ok();
                assert!(out.stdout.to_lowercase().contains("fingerprint"), "{out}");
                let out = fetch(s, &path).run().ok();
                assert!(out.stderr.contains("signature verified") && out.stderr.contains(user), "{out}");
                forget(s, &out);
                std::fs::remove_dir_all(s.at("etc/trustedkeys")).expect("the keystore");
            }
            // From the vendor's root, masked by an empty file of the administrator's.
            let leaf = gpg.fingerprint(user).to_lowercase();
            s.mkdir("usr/trustedkeys/prefix.d/appc.example.com");
            s.write(&format!("usr/trustedkeys/prefix.d/appc.example.com/{leaf}"), gpg.run(&["--export", user]));
            forget(s, &fetch(s, &path).run().ok());
            s.mkdir("etc/trustedkeys/prefix.d/appc.example.com");
            s.write(&format!("etc/trustedkeys/prefix.d/appc.example.com/{leaf}"), "");
            refused(s, fetch(s, &path), &["unknown entity"]);
            std::fs::remove_dir_all(s.at("etc/trustedkeys")).expect("the keystore");
            std::fs::remove_dir_all(s.at("usr/trustedkeys")).expect("the keystore");
        }
        let key = gpg.export(s, "ed").display().to_string();
        // Nobody to ask, nothing trusted.
        let out = Rkt::secure(s).args(["trust", "--prefix=appc.example.com", &key]).run().code(254);
        assert!(out.stderr.contains("skip-fingerprint-review"), "{out}");
        assert!(!s.at("etc/trustedkeys").exists());
        trust(s, &[&key]).code(254).stderr_has("--prefix");
    }
}

root_test_once! {
    fn bad_signatures_are_refused(s) {
        let gpg = gpg!(s);
        gpg.key("good", "ed25519", "never", &[]);
        gpg.key("other", "ed25519", "never", &[]);
        gpg.key("expired", "rsa2048", "2d", &["--faked-system-time", "20200101T000000"]);
        gpg.key("revoked", "rsa2048", "never", &[]);
        let before = ["--faked-system-time", "20200101T120000"];
        let path = image(s, NAME, Some((&gpg, "expired", &before)));
        for user in ["good", "expired"] {
            trust(s, &["--prefix=appc.example.com", &gpg.export(s, user).display().to_string()]).ok();
        }
        refused(s, fetch(s, &path), &["expired", "verification failed", NAME]);
        let path = image(s, NAME, Some((&gpg, "revoked", &[])));
        // gpg made the certificate of revocation with the key; its first line guards against accidents.
        let certificate = gpg.home.join(format!("openpgp-revocs.d/{}.rev", gpg.fingerprint("revoked")));
        let text = std::fs::read_to_string(certificate).expect("gpg wrote it").replace(":-----BEGIN", "-----BEGIN");
        gpg.run(&["--import", &s.write("revocation", text).display().to_string()]);
        trust(s, &["--prefix=appc.example.com", &gpg.export(s, "revoked").display().to_string()]).ok();
        refused(s, fetch(s, &path), &["revoked"]);
        let path = image(s, NAME, Some((&gpg, "good", &["--digest-algo", "SHA1"])));
        refused(s, fetch(s, &path), &["SHA1", "weak"]);
        let path = image(s, NAME, Some((&gpg, "other", &[])));
        refused(s, fetch(s, &path), &["unknown entity"]);
        let path = image(s, NAME, None);
        refused(s, fetch(s, &path), &["app.aci.asc", "--insecure-options=image"]);
        // A signature of another image, and none at all.
        let other = image(s, "appc.example.com/other", Some((&gpg, "good", &[])));
        let mut beside = other.clone().into_os_string();
        beside.push(".asc");
        let signature = PathBuf::from(beside);
        refused(s, fetch(s, &path).arg("--signature").arg(&signature), &["not the signature of this file"]);
        for garbage in ["", "hello", "-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n"] {
            std::fs::write(&signature, garbage).expect("ours");
            refused(s, fetch(s, &path).arg("--signature").arg(&signature), &[]);
        }
        // The right one, given by hand.
        std::fs::write(&signature, gpg.sign(&path, "good", &[])).expect("ours");
        fetch(s, &path).arg("--signature").arg(&signature).run().ok();
        // `run` asks no less.
        let path = image(s, "appc.example.com/run", None);
        refused(s, Rkt::secure(s).args(["run", "--net=none"]).arg(&path), &["run.aci.asc"]);
    }
}

/// A site with a signed image by URL and by name, and the key on a page of its own.
fn published(s: &Scratch, gpg: &Gpg) -> Site {
    let site = Site::new(s, &["appc.example.com"]);
    let path = image(s, NAME, Some((gpg, "good", &[])));
    let aci = std::fs::read(&path).expect("written above");
    let signature = gpg.sign(&path, "good", &[]);
    let leaf = format!("{NAME}-1.0.0-linux-{}", tests::aci::arch());
    for place in ["appc.example.com/x.aci", &format!("{leaf}.aci")] {
        site.put(place, aci.clone());
        site.put(&format!("{place}.asc"), signature.clone());
    }
    site.put(
        "appc.example.com/key",
        gpg.run(&["--armor", "--export", "good"]),
    );
    for place in [NAME, "appc.example.com/", "appc.example.com"] {
        site.discovery(
            place,
            &[
                (
                    "ac-discovery",
                    "appc.example.com https://{name}-{version}-{os}-{arch}.{ext}",
                ),
                (
                    "ac-discovery-pubkeys",
                    "appc.example.com https://appc.example.com/key",
                ),
            ],
        );
    }
    site
}

root_test_once! {
    fn signed_images_come_by_url_and_by_name(s) {
        let gpg = gpg!(s);
        gpg.key("good", "ed25519", "never", &[]);
        let site = published(s, &gpg);
        let word = format!("{NAME}:1.0.0");
        let url = "https://appc.example.com/x.aci";
        refused(s, site.rkt(s).args(["fetch", url]), &["unknown entity"]);
        // Nobody is there to look at the fingerprint.
        let out = refused(s, site.rkt(s).args(["fetch", &word]), &["--trust-keys-from-https"]);
        assert!(!s.at("etc/trustedkeys").exists(), "{out}");
        let out = site.rkt(s).args(["--trust-keys-from-https", "fetch", &word]).run().ok();
        assert!(s.at("etc/trustedkeys/prefix.d").exists(), "{out}");
        forget(s, &out);
        // The key is here now and is not asked for again.
        let asked = site.asked_by(|| { site.rkt(s).args(["fetch", &word]).run().ok(); });
        assert!(!asked.iter().any(|place| place.ends_with("/key")), "{asked:#?}");
        std::fs::remove_dir_all(s.at("etc/trustedkeys")).expect("the keystore");
        // By `rkt trust`: a URL, and what the pages say.
        for words in [&["--prefix=appc.example.com", "https://appc.example.com/key"][..], &["--prefix=appc.example.com/app"]] {
            site.rkt(s).args(["trust", "--skip-fingerprint-review"]).args(words).run().ok();
            forget(s, &site.rkt(s).args(["fetch", url]).run().ok());
            std::fs::remove_dir_all(s.at("etc/trustedkeys")).expect("the keystore");
        }
        site.rkt(s).args(["trust", "--skip-fingerprint-review", "--prefix=appc.example.com", "http://appc.example.com/key"])
            .run().code(254).stderr_has("--insecure-allow-http");
    }
}

root_test_once! {
    fn what_a_site_serves_is_what_was_asked_for(s) {
        let gpg = gpg!(s);
        gpg.key("good", "ed25519", "never", &[]);
        let site = published(s, &gpg);
        trust(s, &["--root", &gpg.export(s, "good").display().to_string()]).ok();
        let place = format!("{NAME}-1.0.0-linux-{}.aci", tests::aci::arch());
        let signed = |aci: Aci| {
            let path = aci.write(s.path());
            site.put(&place, std::fs::read(&path).expect("written above"));
            site.put(&format!("{place}.asc"), gpg.sign(&path, "good", &[]));
        };
        let call = || site.rkt(s).args(["fetch", &format!("{NAME}:1.0.0")]);
        // Signed well, but another image.
        signed(Aci::new("appc.example.com/other", &["/x"]));
        refused(s, call(), &["expected but", "appc.example.com/other"]);
        signed(Aci::new(NAME, &["/x"]).version(Some("0.9.0")));
        refused(s, call(), &["0.9.0"]);
        signed(Aci::new(NAME, &["/x"]).version(None));
        refused(s, call(), &["version"]);
        // One byte more behind what was signed.
        let aci = Aci::new(NAME, &["/x"]);
        signed(aci.clone());
        let mut more = std::fs::read(aci.write(s.path())).expect("written above");
        more[4] ^= 1;
        site.put(&place, more);
        refused(s, call(), &["not the signature of this file"]);
        // No signature, and a page instead of one.
        signed(aci.clone());
        site.put(&format!("{place}.asc"), "<html>welcome</html>");
        refused(s, call(), &["OpenPGP signature", ".asc"]);
        site.remove(&format!("{place}.asc"));
        refused(s, call(), &["404", ".asc", "--insecure-options=image"]);
        // The server signs while the image is fetched: it is asked once more, and only once.
        let signature = gpg.sign(&aci.write(s.path()), "good", &[]);
        let count = AtomicUsize::new(0);
        site.page(&format!("{place}.asc"), move |_| match count.fetch_add(1, Ordering::Relaxed) {
            0 => Reply::new(202),
            _ => Reply::ok(signature.clone()),
        });
        forget(s, &call().run().ok());
        site.page(&format!("{place}.asc"), |_| Reply::new(202));
        refused(s, call(), &["defer"]);
    }
}

root_test_once! {
    fn each_insecure_option_reaches_as_far_as_it_says(s) {
        let gpg = gpg!(s);
        gpg.key("good", "ed25519", "never", &[]);
        let site = published(s, &gpg);
        let url = "https://appc.example.com/x.aci";
        let nobody = || site.stranger(s);
        // No certificate is not no signature, nor the other way round.
        refused(s, nobody().args(["--insecure-options=tls", "fetch", url]), &["unknown entity"]);
        refused(s, nobody().args(["--insecure-options=image", "fetch", url]), &["certificate"]);
        refused(s, site.rkt(s).args(["--insecure-options=pubkey,http,ondisk", "fetch", url]), &["unknown entity"]);
        forget(s, &site.rkt(s).args(["--insecure-options=image", "fetch", url]).run().ok());
        forget(s, &nobody().args(["--insecure-options=image,tls", "fetch", url]).run().ok());
        // Keys do not come in over a connection that nobody checked, unless that is said too.
        let word = format!("{NAME}:1.0.0");
        refused(s, nobody().args(["--insecure-options=tls", "--trust-keys-from-https", "fetch", &word]), &[]);
        assert!(!s.at("etc/trustedkeys").exists());
        forget(s, &nobody().args(["--insecure-options=tls,pubkey", "--trust-keys-from-https", "fetch", &word]).run().ok());
        assert!(s.at("etc/trustedkeys").exists());
        // Once trusted, the signature makes up for the certificate.
        forget(s, &nobody().args(["--insecure-options=tls", "fetch", url]).run().ok());
        nobody().args(["--insecure-options=nonsense", "fetch", url]).run().code(254);
    }
}
