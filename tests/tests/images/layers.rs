//! What layers may do to each other: whiteouts, opaque directories, links across layers, many layers. Each image is
//! compared with what umoci makes of it.

use crate::{fetch, overlaid, rendered, rkt, umoci};
use serde_json::json;
use std::path::Path;
use tests::oci::{Layer, Layout};
use tests::registry::Registry;
use tests::tar::Entry;
use tests::tree::assert_same;
use tests::{Rkt, Scratch, root_test_once, skip};

fn dir(name: &str) -> Entry {
    Entry::dir(name)
}

fn file(name: &str, data: &str) -> Entry {
    Entry::file(name, data)
}

/// Makes an image of the layers and compares what rkt and umoci make of it.
fn compared(s: &Scratch, layers: &[Vec<Entry>]) -> String {
    let layers: Vec<Layer> = layers.iter().map(|entries| Layer::of(entries)).collect();
    let mut layout = Layout::new(&s.at("layout"));
    layout.image("x", &layers, &json!({"Cmd": ["/x"]}));
    let id = fetch(s, &format!("{}:x", layout.dir().display()));
    let theirs = umoci(s, layout.dir(), "x");
    assert_same(&rendered(s, &id), &theirs, "image render");
    assert_same(&overlaid(s, &id), &theirs, "the overlay");
    id
}

macro_rules! needs {
    () => {
        if let Some(reason) = Registry::missing() {
            skip!("{reason}");
        }
    };
}

root_test_once! {
    fn whiteouts_and_opaque_directories(s) {
        needs!();
        compared(s, &[
            vec![dir("./"), dir("a/"), file("a/one", "1"), file("a/two", "2"), dir("b/"), dir("b/c/"), file("b/c/deep", "3"),
                 file("gone", "4"), dir("d/"), file("d/old", "5"), Entry::symlink("s", "a"), dir("e/"), file("e/x", "x")],
            vec![dir("a/").mode(0o750), file("a/.wh.one", ""), file(".wh.gone", ""), dir("b/"), dir("b/c/"),
                 file("b/c/.wh..wh..opq", ""), file("b/c/new", "6"), file("d", "a file now"), file(".wh.s", "")],
            vec![file("a/three", "7").owner(1000, 1001).mode(0o4755), dir("s/"), file("s/in", "8"), file("e/.wh.x", "")],
        ]);
    }
}

root_test_once! {
    fn links_and_attributes_across_layers(s) {
        needs!();
        compared(s, &[
            vec![dir("./"), dir("usr/").mode(0o700).owner(7, 8), dir("usr/bin/"), file("usr/bin/tool", "content").mode(0o755),
                 Entry::hardlink("usr/bin/alias", "usr/bin/tool"), Entry::fifo("pipe"), Entry::char_device("null", 1, 3)],
            // The parents are not listed again: their attributes stay those of below.
            vec![file("usr/bin/more", "1"), Entry::hardlink("usr/bin/across", "usr/bin/tool")],
            vec![file("usr/bin/.wh.tool", ""), file("usr/extra", "2")],
        ]);
    }
}

root_test_once! {
    fn a_file_below_a_symlink_of_a_lower_layer(s) {
        needs!();
        compared(s, &[
            vec![dir("./"), dir("usr/"), dir("usr/lib/"), file("usr/lib/a", "1"), Entry::symlink("lib", "usr/lib")],
            vec![file("lib/b", "2")],
        ]);
    }
}

root_test_once! {
    fn the_image_id_is_the_hash_of_what_export_writes(s) {
        needs!();
        let id = compared(s, &[
            vec![dir("./"), file("one", "1"), dir("d/"), file("d/x", "x"), Entry::hardlink("two", "one")],
            vec![file("d/y", "y"), file(".wh.one", "")],
        ]);
        let out = s.at("out.aci");
        rkt(s).args(["image", "export", &id]).arg(&out).run().ok();
        let sum = tests::registry::tool("sha512sum", &[&out.display().to_string()]);
        assert_eq!(&id["sha512-".len()..], &sum[..64]);
        // It is an ACI like any other, and has the same ID in another store.
        let other = Scratch::new("other");
        let again = Rkt::new(&other).args(["fetch", "--full"]).arg(&out).run().ok();
        assert_eq!(again.stdout.trim(), id);
        assert_same(&rendered(&other, &id), &rendered(s, &id), "imported again");
        let manifest = rkt(s).args(["image", "cat-manifest", &id]).run().ok().json();
        assert_eq!(manifest["acKind"], "ImageManifest");
        assert_eq!(manifest["app"]["exec"], json!(["/x"]));
    }
}

/// An image whose lowest layer has the probe as `/probe`.
fn with_probe(s: &Scratch, count: usize) -> Layout {
    let probe = std::fs::read(tests::rkt::probe()).expect("the probe is built");
    let mut layers = vec![Layer::of(&[dir("./"), Entry::program("probe", probe)])];
    for number in 1..count {
        let name = format!("f{number}");
        layers.push(Layer::of(&[file(&name, &name), file("last", &name)]));
    }
    let mut layout = Layout::new(&s.at("layout"));
    layout.image("x", &layers, &json!({"Entrypoint": ["/probe"]}));
    layout
}

root_test_once! {
    fn an_image_of_127_layers_runs(s) {
        needs!();
        let layout = with_probe(s, 127);
        let id = fetch(s, &format!("{}:x", layout.dir().display()));
        let theirs = umoci(s, layout.dir(), "x");
        assert_same(&rendered(s, &id), &theirs, "127 layers");
        assert_same(&overlaid(s, &id), &theirs, "an overlay of 127 layers");
        let out = rkt(s).args(["run", "--net=none", &id, "--", "echo", "hello"]).run().ok();
        assert_eq!(out.app_lines(), ["hello"]);
        let out = rkt(s).args(["run", "--no-overlay", "--net=none", &id, "--", "echo", "copied"]).run().ok();
        assert_eq!(out.app_lines(), ["copied"]);
        rkt(s).args(["gc", "--grace-period=0s"]).run().ok();
        rkt(s).args(["gc", "--grace-period=0s"]).run().ok();
        rkt(s).args(["image", "rm", &id]).run().ok();
        let left = std::fs::read_dir(s.data().join("store/layers")).map_or(0, Iterator::count);
        assert_eq!(left, 0);
    }
}

root_test_once! {
    fn a_directory_with_colon_and_comma_in_its_name(s) {
        needs!();
        let layout = with_probe(s, 5);
        let odd = s.mkdir("da:ta,with=odd \\name");
        let call = |words: &[&str]| {
            let mut dir = std::ffi::OsString::from("--dir=");
            dir.push(&odd);
            Rkt::plain()
                .arg(dir)
                .arg(format!("--local-config={}", s.at("etc").display()))
                .arg(format!("--system-config={}", s.at("usr").display()))
                .arg("--insecure-options=image")
                .args(words)
                .run()
                .ok()
        };
        let image = format!("{}:x", layout.dir().display());
        let out = call(&["run", "--net=none", &image, "--", "echo", "hello"]);
        assert_eq!(out.app_lines(), ["hello"]);
        let found = tests::registry::tool("find", &[&odd.join("pods").display().to_string(), "-path", "*/appsinfo/*/rootfs"]);
        let roots: Vec<String> = found.lines().map(|path| std::fs::read_to_string(path).expect("a note of the root")).collect();
        assert!(roots.len() == 1 && roots[0].contains("\"overlay\""), "{roots:?}");
        call(&["gc", "--grace-period=0s"]);
        call(&["gc", "--grace-period=0s"]);
        assert!(Path::new(&odd).join("store/layers").exists());
    }
}

root_test_once! {
    fn an_opaque_root_hides_all_layers_below(s) {
        needs!();
        compared(s, &[
            vec![dir("./"), dir("a/"), file("a/one", "1"), file("two", "2")],
            vec![dir("./").mode(0o711), file(".wh..wh..opq", ""), dir("a/"), file("a/three", "3")],
            vec![file("four", "4")],
        ]);
    }
}

root_test_once! {
    fn an_app_is_stopped_by_the_signal_that_its_image_names(s) {
        needs!();
        let Some(busybox) = tests::isolated::find("busybox") else {
            skip!("needs busybox (Debian: busybox-static)");
        };
        let busybox = std::fs::read(busybox).expect("a program of the host");
        let layer = Layer::of(&[dir("./"), dir("bin/"), Entry::program("bin/busybox", busybox), Entry::symlink("bin/sh", "busybox")]);
        let mut layout = Layout::new(&s.at("layout"));
        let script = "trap 'echo asked by USR2; exit 0' USR2; echo ready; while :; do /bin/busybox sleep 1; done";
        layout.image("x", &[layer], &json!({"Entrypoint": ["/bin/sh", "-c", script], "StopSignal": "SIGUSR2"}));
        let id = fetch(s, &format!("{}:x", layout.dir().display()));
        let save = s.at("uuid");
        let mut pod = rkt(s)
            .args(["run", "--net=none", &format!("--uuid-file-save={}", save.display()), &id])
            .spawn();
        tests::proc::eventually("the app is ready", || pod.stdout().contains("ready").then_some(()));
        let uuid = std::fs::read_to_string(&save).expect("the UUID was saved");
        rkt(s).args(["stop", &uuid]).run().ok();
        tests::proc::eventually("the pod is over", || (!pod.alive()).then_some(()));
        assert!(pod.stdout().contains("asked by USR2"), "{}", pod.stdout());
    }
}

root_test_once! {
    fn an_image_of_another_platform_is_named_as_such(s) {
        needs!();
        let mut layout = Layout::new(&s.at("layout"));
        let descriptor = layout.manifest(&[Layer::of(&[dir("./")])], "s390x", &json!({"Cmd": ["/x"]}));
        layout.tag(descriptor, "x");
        let image = format!("{}:x", layout.dir().display());
        rkt(s).args(["fetch", &image]).run().ok().stderr_has("warning: the image is for");
    }
}
