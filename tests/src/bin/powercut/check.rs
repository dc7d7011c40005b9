//! What the disk holds after a cut: is it sound, does it keep what was promised, and does it come clean? First what the
//! commands say, then the directories themselves, as docs/on-disk.md has them.

use crate::Rkt;
use crate::promises::Log;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use tests::isolated::POD_PLACES;

const LEASES: &str = "/var/lib/cni/networks";

/// Everything that is wrong.
pub fn all(rkt: &Rkt, log: &str) -> Vec<String> {
    let mut log = match Log::open(log) {
        Ok(log) => log,
        Err(why) => return vec![format!("the log cannot be read: {why}")],
    };
    let mut wrong = Vec::new();
    let data = Path::new(&rkt.data);
    for listing in [&["list", "--full"][..], &["image", "list", "--full"]] {
        wrong.extend(rkt.says(listing).err());
    }
    places(data, &log, &mut wrong);
    images(rkt, &log, &mut wrong);
    store_files(&data.join("store"), &mut wrong);
    let pod = log.pods.keys().next_back().cloned();
    if let Some(pod) = pod {
        log.say(&format!("- pod {pod}"));
        match rkt.says(&["run-prepared", "--net=none", &pod]) {
            Ok(said) if said.contains("kept") => {}
            Ok(said) => wrong.push(format!("pod {pod} says {said:?}")),
            Err(why) => wrong.push(why),
        }
    }
    collected(rkt, data, &mut wrong);
    println!(
        "{} images and {} prepared pods were promised",
        log.images.len(),
        log.pods.len()
    );
    wrong
}

fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let name = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    entries.flatten().map(name).collect()
}

/// No pod is in two states, and each that was prepared is.
fn places(data: &Path, log: &Log, wrong: &mut Vec<String>) {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for place in POD_PLACES {
        for uuid in names(&data.join("pods").join(place)) {
            if let Some(other) = seen.insert(uuid.clone(), place) {
                wrong.push(format!("pod {uuid} is in {other} and in {place}"));
            }
        }
    }
    for uuid in log.pods.keys() {
        if seen.get(uuid) != Some(&"prepared") {
            wrong.push(format!(
                "pod {uuid} was prepared, and is in {:?}",
                seen.get(uuid)
            ));
        }
    }
}

/// Each image that is there is what its ID says, and each that was fetched is there.
fn images(rkt: &Rkt, log: &Log, wrong: &mut Vec<String>) {
    let listed = rkt.says(&["image", "list", "--full", "--no-legend", "--fields=id"]);
    let listed = listed.unwrap_or_default();
    let listed: Vec<&str> = listed.split_whitespace().collect();
    for (id, name) in &log.images {
        if !listed.contains(&id.as_str()) {
            wrong.push(format!("image {id} ({name}) was fetched, and is not there"));
        }
    }
    for id in listed {
        match rkt.says(&["image", "verify", id]) {
            Ok(said) if said.contains("successfully verified") || said.contains("not rendered") => {
            }
            Ok(said) => wrong.push(said),
            // Of a removal that was cut off between an image and what depends on it.
            Err(why)
                if why.contains("cannot find aci satisfying name")
                    && !log.images.contains_key(id) => {}
            Err(why) => wrong.push(why),
        }
    }
}

/// Nothing that has its final name is empty.
fn store_files(store: &Path, wrong: &mut Vec<String>) {
    let mut filled: Vec<PathBuf> = Vec::new();
    for id in names(&store.join("images")) {
        let dir = store.join("images").join(id);
        // Without a record it is what a removal or an import has left, for the next gc.
        if dir.join("record").exists() {
            filled.extend([dir.join("record"), dir.join("manifest")]);
        }
    }
    filled.extend(
        names(&store.join("urls"))
            .iter()
            .map(|name| store.join("urls").join(name)),
    );
    for (area, seals) in [
        ("layers", &["recipe", "index"][..]),
        ("trees", &["sources"]),
    ] {
        for name in names(&store.join(area)) {
            let dir = store.join(area).join(name);
            filled.extend(
                seals
                    .iter()
                    .map(|seal| dir.join(seal))
                    .filter(|seal| seal.exists()),
            );
        }
    }
    for file in filled {
        match std::fs::read(&file) {
            Ok(bytes) if bytes.iter().any(|byte| *byte != 0) => {}
            Ok(bytes) => wrong.push(format!(
                "{} is {} bytes of nothing",
                file.display(),
                bytes.len()
            )),
            Err(why) => wrong.push(format!("{}: {why}", file.display())),
        }
    }
}

/// Both collections end well, and nothing is left over.
fn collected(rkt: &Rkt, data: &Path, wrong: &mut Vec<String>) {
    for words in [
        &["gc", "--grace-period=0s"][..],
        &["image", "gc", "--grace-period=720h"],
    ] {
        let output = rkt.call(words);
        let said = crate::text(&output.stderr);
        let troubled = ["problem", "cannot", "failed:", "unable", "error"];
        if !output.status.success() || troubled.iter().any(|word| said.contains(word)) {
            wrong.push(format!(
                "rkt {}: {}: {said}",
                words.join(" "),
                output.status
            ));
        }
    }
    for place in POD_PLACES.into_iter().filter(|place| *place != "prepared") {
        for uuid in names(&data.join("pods").join(place)) {
            wrong.push(format!("after gc pod {uuid} is in {place}"));
        }
    }
    let store = data.join("store");
    for place in ["tmp", "packed/tmp"] {
        for name in names(&store.join(place)) {
            wrong.push(format!("after gc {place}/{name} is there"));
        }
    }
    let held = |key: &str| -> Vec<String> { names(&store.join("holds").join(key)) };
    let pods = names(&data.join("pods/prepared"));
    for key in names(&store.join("holds")) {
        for pod in held(&key).iter().filter(|pod| !pods.contains(pod)) {
            wrong.push(format!("after gc pod {pod} is gone and holds {key}"));
        }
    }
    for (area, seals) in [
        ("layers", &["recipe", "index"][..]),
        ("trees", &["sources"]),
    ] {
        for name in names(&store.join(area)) {
            let dir = store.join(area).join(&name);
            if !seals.iter().any(|seal| dir.join(seal).exists()) {
                wrong.push(format!("after gc {area}/{name} is there without its seal"));
            }
        }
    }
    // No pod runs: nobody has an address.
    for network in names(Path::new(LEASES)) {
        let dir = Path::new(LEASES).join(&network);
        let ours = |name: &String| name.starts_with('.') || name.parse::<IpAddr>().is_ok();
        for name in names(&dir).iter().filter(|name| ours(name)) {
            wrong.push(format!("after gc network {network} has {name}"));
        }
    }
    let images = names(&store.join("images"));
    for id in &images {
        if !store.join("images").join(id).join("record").exists() {
            wrong.push(format!("after gc images/{id} has no record"));
        }
    }
    for name in names(&store.join("names")) {
        for id in names(&store.join("names").join(&name)) {
            if !images.contains(&id) {
                wrong.push(format!(
                    "after gc names/{name} leads to {id}, which is not there"
                ));
            }
        }
    }
    for link in names(&store.join("l")) {
        if !store.join("l").join(&link).exists() {
            wrong.push(format!("after gc l/{link} leads nowhere"));
        }
    }
}
