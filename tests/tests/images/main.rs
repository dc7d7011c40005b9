//! Images from real registries, layouts and archives: fetched, compared to the last bit with what umoci makes of them,
//! run, exported and removed. As root, in namespaces of the test's own, where the only network is the loopback.

mod cosign;
mod discovery;
mod forms;
mod hostile;
mod interrupt;
mod layers;
mod registry;
mod review;
mod site;
mod trust;
mod unprivileged;

use std::path::{Path, PathBuf};
use tests::registry::tool;
use tests::tree::{Facts, facts};
use tests::{Output, Rkt, Scratch};

/// `rkt --insecure-options=image,http` in the scratch directory.
fn rkt(scratch: &Scratch) -> Rkt {
    Rkt::secure(scratch).arg("--insecure-options=image,http")
}

/// Fetches an image and gives its full ID.
#[track_caller]
fn fetch(scratch: &Scratch, image: &str) -> String {
    let out = rkt(scratch).args(["fetch", "--full", image]).run().ok();
    let id = out.stdout.trim().to_owned();
    assert!(
        id.starts_with("sha512-") && id.len() == 71,
        "no image ID\n{out}"
    );
    id
}

/// All that the store holds: every path but its own folders, and what `image list` says.
fn stored(scratch: &Scratch) -> Vec<String> {
    let mut all = Vec::new();
    let store = scratch.data().join("store");
    let mut waiting = vec![store.clone()];
    while let Some(dir) = waiting.pop() {
        for entry in std::fs::read_dir(dir)
            .into_iter()
            .flatten()
            .map(|entry| entry.expect("a listed entry"))
        {
            let path = entry.path();
            // These come with the first fetch, whatever becomes of it.
            let below = path.strip_prefix(&store).expect("found below it");
            let folder = below.components().count() == 1
                || below == Path::new("packed/tmp")
                || below == Path::new("packed/urls");
            if !folder {
                all.push(path.display().to_string());
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push(entry.path());
            }
        }
    }
    all.sort();
    let list = rkt(scratch)
        .args(["image", "list", "--full", "--no-legend", "--fields=id,name"])
        .run()
        .ok();
    all.extend(list.stdout.lines().map(str::to_owned));
    all
}

/// What `umoci unpack` makes of a tag of a layout.
fn umoci(scratch: &Scratch, layout: &Path, tag: &str) -> Facts {
    let bundle = scratch.at(&format!("umoci-{tag}"));
    tool(
        "umoci",
        &[
            "unpack",
            "--image",
            &format!("{}:{tag}", layout.display()),
            &bundle.display().to_string(),
        ],
    );
    let all = facts(&bundle.join("rootfs"));
    std::fs::remove_dir_all(&bundle).expect("umoci's bundle can be removed");
    all
}

/// The image as `image render` writes it.
fn rendered(scratch: &Scratch, id: &str) -> Facts {
    let dir = scratch.at("rendered");
    rkt(scratch)
        .args(["image", "render", "--rootfs-only", id])
        .arg(&dir)
        .run()
        .ok();
    let all = facts(&dir);
    std::fs::remove_dir_all(&dir).expect("a rendered image can be removed");
    all
}

/// The image as a pod's overlay shows it: mounted here from the lower directories that `prepare` has noted.
fn overlaid(scratch: &Scratch, id: &str) -> Facts {
    let out = rkt(scratch).args(["prepare", "--quiet", id]).run().ok();
    let uuid = out.stdout.trim().to_owned();
    let pod = scratch.data().join("pods/prepared").join(&uuid);
    let apps: Vec<PathBuf> = std::fs::read_dir(pod.join("appsinfo"))
        .expect("a prepared pod has apps")
        .map(|entry| entry.expect("a listed entry").path())
        .collect();
    let text = std::fs::read_to_string(apps[0].join("rootfs")).expect("prepare notes the root");
    let json: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(json["kind"], "overlay", "{text}");
    let lowers = json["lowers"].as_array().expect("a list of directories");
    let target = scratch.mkdir("overlaid");
    let mut links = Vec::new();
    // Short names without `:` and `,`: the classic option string is one page.
    for (number, lower) in lowers.iter().enumerate() {
        let link = scratch.at(&format!("L{number}"));
        std::os::unix::fs::symlink(lower.as_str().expect("a path"), &link).expect("a symlink");
        links.push(format!("L{number}"));
    }
    if links.len() == 1 {
        // An overlay takes two at least.
        scratch.mkdir("empty");
        links.push("empty".to_owned());
    }
    let here = std::env::current_dir().expect("a working directory");
    std::env::set_current_dir(scratch.path()).expect("the scratch directory");
    let options = std::ffi::CString::new(format!("lowerdir={}", links.join(":"))).expect("no NUL");
    let mounted = rustix::mount::mount(
        "overlay",
        &target,
        "overlay",
        rustix::mount::MountFlags::RDONLY,
        Some(options.as_c_str()),
    );
    std::env::set_current_dir(here).expect("the old working directory");
    mounted.unwrap_or_else(|e| panic!("mount overlay of {} layers: {e}", links.len()));
    let all = facts(&target);
    rustix::mount::unmount(&target, rustix::mount::UnmountFlags::empty())
        .expect("nobody uses the overlay");
    for number in 0..lowers.len() {
        std::fs::remove_file(scratch.at(&format!("L{number}"))).expect("our link");
    }
    rkt(scratch).args(["rm", &uuid]).run().ok();
    all
}

/// Refused for these reasons, and the store as it was.
#[track_caller]
fn refused(s: &Scratch, rkt: Rkt, words: &[&str]) -> Output {
    let before = stored(s);
    let out = rkt.run().code(254);
    for word in words {
        assert!(out.stderr.contains(word), "it does not say {word:?}\n{out}");
    }
    assert_eq!(stored(s), before, "the store has changed\n{out}");
    out
}
