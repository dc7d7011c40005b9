//! The fuzz targets without a fuzzer: every input of the corpora once more, and some mutations of it that are the same
//! each time.
//!
//! An input that once broke something stays in its corpus, so this is where it must not break again. `tests/fuzz/run`
//! looks for new ones.

#[path = "../fuzz/src/mutate/mod.rs"]
mod mutate;
#[path = "../fuzz/src/targets/mod.rs"]
mod targets;

use mutate::Dice;
use std::path::Path;
use targets::{TARGETS, plant};

/// Of each input; more is the fuzzer's task.
const MUTATIONS: u32 = 8;

fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(name);
    let entries = std::fs::read_dir(&dir).expect("each target has a corpus");
    let mut inputs: Vec<_> = entries
        .map(|entry| {
            let path = entry.expect("the corpus can be listed").path();
            let bytes = std::fs::read(&path).expect("an input can be read");
            (path.display().to_string(), bytes)
        })
        .collect();
    inputs.sort();
    assert!(inputs.len() >= 3, "{} holds hardly anything", dir.display());
    inputs
}

fn replay(name: &str) {
    let target = TARGETS
        .iter()
        .find(|target| target.name == name)
        .expect("the target is in the list");
    for (path, bytes) in corpus(name) {
        // Shown with a failure.
        println!("{path}");
        let before = plant::met();
        (target.run)(&bytes);
        assert_eq!(
            plant::met(),
            before,
            "{path} leads to the planted bug: the self-test would prove nothing"
        );
        for seed in 0..MUTATIONS {
            if let Some(mutated) = (target.mutate)(&mut Dice::new(seed), &bytes) {
                println!("{path}, mutation {seed}");
                (target.run)(&mutated);
            }
        }
    }
}

macro_rules! replays {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })*

        #[test]
        fn every_target_is_replayed() {
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

replays!(layer aci index image_manifest pod_manifest registry_json challenge image_string page signature
    network cni_result dhcp netlink xtables);
