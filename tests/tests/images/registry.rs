//! From a real docker-registry: plain, with TLS and a password, by tag, digest and platform.

use crate::{fetch, overlaid, rendered, rkt, umoci};
use serde_json::json;
use tests::oci::{Layer, Layout, host_arch};
use tests::proc::{eventually, free_port};
use tests::redis::Redis;
use tests::registry::{PASSWORD, Registry, USER, images, tool};
use tests::tar::Entry;
use tests::tree::assert_same;
use tests::{Rkt, Scratch, root_test_once, skip};

macro_rules! needs {
    () => {{
        if let Some(reason) = Registry::missing() {
            skip!("{reason}");
        }
        match images() {
            Ok(layout) => layout,
            Err(reason) => skip!("{reason}"),
        }
    }};
}

fn layers_in_store(s: &Scratch) -> usize {
    std::fs::read_dir(s.data().join("store/layers")).map_or(0, Iterator::count)
}

root_test_once! {
    fn redis_is_fetched_compared_and_run(s) {
        let layout = needs!();
        let registry = Registry::plain(s);
        registry.push(&format!("oci:{}:redis", layout.display()), "team/redis:7");
        let id = fetch(s, &registry.url("team/redis:7"));
        let theirs = umoci(s, &layout, "redis");
        assert_same(&rendered(s, &id), &theirs, "image render");
        assert_same(&overlaid(s, &id), &theirs, "the overlay");
        rkt(s).args(["image", "verify", &id]).run().ok();

        let port = free_port().to_string();
        let save = s.at("uuid");
        let mut pod = rkt(s)
            .args(["run", "--net=host", &format!("--uuid-file-save={}", save.display())])
            .args([&registry.url("team/redis:7"), "--", "--port", &port, "--save", ""])
            .spawn();
        eventually("Redis answers", || {
            assert!(pod.alive(), "the pod ended early\n{}{}", pod.stdout(), pod.stderr());
            Redis::connect(port.parse().expect("a port"))
        });
        let uuid = std::fs::read_to_string(&save).expect("the UUID was saved");
        rkt(s).args(["stop", &uuid]).run().ok();
        eventually("the pod is over", || (!pod.alive()).then_some(()));
    }
}

root_test_once! {
    fn python_of_ten_thousand_files_is_the_same_to_the_last_bit(s) {
        let layout = needs!();
        let registry = Registry::plain(s);
        registry.push(&format!("oci:{}:python", layout.display()), "python");
        let id = fetch(s, &registry.url("python"));
        let theirs = umoci(s, &layout, "python");
        assert!(theirs.len() > 10_000, "the image has only {} paths", theirs.len());
        assert_same(&rendered(s, &id), &theirs, "image render");
        assert_same(&overlaid(s, &id), &theirs, "the overlay");
        let out = rkt(s)
            .args(["run", "--net=none", &id, "--", "-c", "import sympy, sqlite3; print(sympy.factorint(91))"])
            .run()
            .ok();
        assert_eq!(out.app_lines(), ["{7: 1, 13: 1}"]);
    }
}

root_test_once! {
    fn a_layer_is_stored_once_whatever_its_compression(s) {
        let layout = needs!();
        let registry = Registry::plain(s);
        registry.push(&format!("oci:{}:redis", layout.display()), "redis:gzip");
        registry.push(&format!("dir:{}", layout.with_file_name("zstd").display()), "redis:zstd");
        fetch(s, &registry.url("redis:gzip"));
        assert_eq!(layers_in_store(s), 3);
        let before = registry.requests().len();
        let id = fetch(s, &registry.url("redis:zstd"));
        assert_eq!(layers_in_store(s), 3);
        let asked = registry.requests().split_off(before);
        // The config is a blob too, and the only one.
        let blobs = asked.iter().filter(|request| request.contains("/blobs/")).count();
        assert_eq!(blobs, 1, "{asked:#?}");
        assert_same(&rendered(s, &id), &umoci(s, &layout, "redis"), "zstd layers, not fetched");
        for id in rkt(s).args(["image", "list", "--full", "--no-legend", "--fields=id"]).run().ok().stdout.lines() {
            rkt(s).args(["image", "rm", id]).run().ok();
        }
        assert_eq!(layers_in_store(s), 0);
        let id = fetch(s, &registry.url("redis:zstd"));
        assert_same(&rendered(s, &id), &umoci(s, &layout, "redis"), "zstd layers");
    }
}

root_test_once! {
    fn an_unchanged_tag_moves_only_its_manifest(s) {
        let layout = needs!();
        let registry = Registry::plain(s);
        registry.push(&format!("oci:{}:redis", layout.display()), "redis:7");
        let id = fetch(s, &registry.url("redis:7"));
        let before = registry.requests().len();
        assert_eq!(fetch(s, &registry.url("redis:7")), id);
        let asked = registry.requests().split_off(before);
        assert!(asked.iter().all(|request| request.contains("/manifests/7")), "{asked:#?}");
        assert!(!asked.is_empty(), "the tag was not looked at");
        // With policy new nothing is asked at all.
        let before = registry.requests().len();
        rkt(s).args(["fetch", "--pull-policy=new", &registry.url("redis:7")]).run().ok();
        assert_eq!(registry.requests().len(), before);
    }
}

root_test_once! {
    fn the_platform_of_this_machine_is_taken_from_an_index(s) {
        if let Some(reason) = Registry::missing() {
            skip!("{reason}");
        }
        let registry = Registry::plain(s);
        let mut layout = Layout::new(&s.at("layout"));
        let other = if host_arch() == "amd64" { "arm64" } else { "amd64" };
        let mut platforms = Vec::new();
        for arch in [other, host_arch()] {
            let layer = Layer::of(&[Entry::dir("./"), Entry::file("arch", arch)]);
            platforms.push((arch, layout.manifest(&[layer], arch, &json!({"Cmd": ["/x"]}))));
        }
        let digest = layout.index("both", &platforms);
        registry.push_with(&layout.source("both"), "app:both", &["--all"]);
        let id = fetch(s, &registry.url("app:both"));
        let all = rendered(s, &id);
        assert!(all.contains_key(std::path::Path::new("arch")));
        rkt(s).args(["image", "render", "--rootfs-only", &id]).arg(s.at("out")).run().ok();
        assert_eq!(std::fs::read_to_string(s.at("out/arch")).expect("the file is there"), host_arch());
        // Pinned by the index's digest it needs no flag for the image, and is the same content.
        let pinned = Rkt::secure(s)
            .args(["--insecure-options=http", "fetch", "--full", &registry.url(&format!("app@{digest}"))])
            .run()
            .ok();
        assert!(pinned.stdout.starts_with("sha512-"), "{pinned}");
    }
}

root_test_once! {
    fn an_unsigned_tag_is_refused_and_a_digest_is_not(s) {
        let layout = needs!();
        let registry = Registry::plain(s);
        registry.push(&format!("oci:{}:redis", layout.display()), "redis:7");
        let secure = || Rkt::secure(s).arg("--insecure-options=http");
        secure()
            .args(["fetch", &registry.url("redis:7")])
            .run()
            .code(254)
            .stderr_has("--insecure-options=image");
        let manifest = tool("skopeo", &["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &registry.url("redis:7")]);
        let pinned = registry.url(&format!("redis@{}", manifest.trim()));
        secure().args(["fetch", &pinned]).run().ok();
        let wrong = registry.url(&format!("redis@sha256:{}", "0".repeat(64)));
        secure().args(["fetch", &wrong]).run().code(254);
    }
}

root_test_once! {
    fn plain_http_is_refused_unless_allowed(s) {
        let layout = needs!();
        let registry = Registry::plain(s);
        registry.push(&format!("oci:{}:redis", layout.display()), "redis:7");
        let out = Rkt::secure(s)
            .args(["--insecure-options=image", "fetch", &registry.url("redis:7")])
            .run()
            .code(254);
        assert!(out.stderr.contains("--insecure-options") && out.stderr.contains("http"), "{out}");
    }
}

root_test_once! {
    fn tls_and_a_password(s) {
        let layout = needs!();
        let registry = Registry::tls(s);
        registry.push(&format!("oci:{}:redis", layout.display()), "team/redis:7");
        let ca = registry.ca.clone().expect("a TLS registry has a CA").display().to_string();
        let url = registry.url("team/redis:7");
        let secure = || Rkt::secure(s).arg("--insecure-options=image").env("SSL_CERT_FILE", &ca).env("HOME", "/nonexistent");
        // Not without the CA, not without the password, not with a wrong one.
        Rkt::secure(s).args(["--insecure-options=image", "fetch", &url]).env("SSL_CERT_FILE", "/dev/null").run().code(254);
        secure().args(["fetch", &url]).run().code(254).stderr_has("401");
        let auth = |password: &str| {
            s.mkdir("etc/auth.d");
            let text = json!({
                "rktKind": "dockerAuth", "rktVersion": "v1", "registries": [registry.host()],
                "credentials": {"user": USER, "password": password}
            });
            s.write("etc/auth.d/registry.json", text.to_string());
        };
        auth("wrong");
        let out = secure().args(["fetch", &url]).run().code(254);
        assert!(!out.stderr.contains("wrong\""), "{out}");
        auth(PASSWORD);
        let id = secure().args(["fetch", "--full", &url]).run().ok().stdout.trim().to_owned();
        assert_same(&rendered(s, &id), &umoci(s, &layout, "redis"), "over TLS");
        // The same from docker's own file.
        std::fs::remove_file(s.at("etc/auth.d/registry.json")).expect("written above");
        let key = tool("sh", &["-c", &format!("printf %s '{USER}:{PASSWORD}' | base64 -w0")]);
        s.mkdir("docker");
        s.write("docker/config.json", json!({"auths": {registry.host(): {"auth": key}}}).to_string());
        secure()
            .env("DOCKER_CONFIG", &s.at("docker").display().to_string())
            .args(["fetch", &url])
            .run()
            .ok();
        // Certificates are not looked at when told so.
        Rkt::secure(s)
            .env("SSL_CERT_FILE", "/dev/null")
            .env("DOCKER_CONFIG", &s.at("docker").display().to_string())
            .args(["--insecure-options=image,tls", "fetch", &url])
            .run()
            .ok();
    }
}

root_test_once! {
    fn a_damaged_blob_is_refused_and_leaves_nothing(s) {
        let layout = needs!();
        let registry = Registry::plain(s);
        registry.push(&format!("oci:{}:redis", layout.display()), "redis:7");
        let mut largest: Option<(u64, std::path::PathBuf)> = None;
        let mut waiting = vec![registry.data(s)];
        while let Some(dir) = waiting.pop() {
            for entry in std::fs::read_dir(dir).expect("the registry's data").flatten() {
                let meta = entry.metadata().expect("a listed entry");
                if meta.is_dir() {
                    waiting.push(entry.path());
                } else if largest.as_ref().is_none_or(|(size, _)| meta.len() > *size) {
                    largest = Some((meta.len(), entry.path()));
                }
            }
        }
        let (size, blob) = largest.expect("the registry has blobs");
        let mut bytes = std::fs::read(&blob).expect("a blob");
        bytes[usize::try_from(size).expect("small") / 2] ^= 1;
        std::fs::write(&blob, bytes).expect("the registry's data are ours");
        let out = rkt(s).args(["fetch", &registry.url("redis:7")]).run().code(254);
        assert!(out.stderr.contains("sha256:") || out.stderr.contains("corrupt"), "{out}");
        assert_eq!(rkt(s).args(["image", "list", "--no-legend"]).run().ok().stdout, "");
        assert_eq!(layers_in_store(s), 0);
        let left = std::fs::read_dir(s.data().join("store/tmp")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "staging is left");
    }
}
