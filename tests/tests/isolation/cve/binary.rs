//! Overwriting the runtime's program from a pod.
//!
//! What a pod sees of rkt is `/proc/<pid>/exe` of its supervisor and of whoever enters; an image can also name that link
//! as its own entry point, so that rkt itself is executed in the pod, where nothing keeps it from being opened.

use super::{assert_nothing_reached, call, handled, hostile, run, start};
use std::path::PathBuf;
use tests::tar::Entry;
use tests::{Aci, Rkt, Scratch, root_test_once};

/// The words of an entry point that leads to rkt, and of one that leads there as an interpreter.
const ENTRIES: [&[&str]; 3] = [
    &["/proc/self/exe", "version"],
    &["/interpreted"],
    &["/proc/1/exe", "version"],
];

fn hash() -> Vec<u8> {
    use sha2::Digest;
    let program = std::fs::read(tests::rkt::binary()).expect("the binary under test is readable");
    sha2::Sha256::digest(program).to_vec()
}

fn victim(number: usize) -> Aci {
    hostile(&format!("victim{number}")).with(Entry::program(
        "rootfs/interpreted",
        "#!/proc/self/exe version\n",
    ))
}

fn image(s: &Scratch, name: &str, exec: &[&str]) -> PathBuf {
    hostile(name)
        .with(Entry::program(
            "rootfs/interpreted",
            "#!/proc/self/exe version\n",
        ))
        .exec(exec)
        .write(s.path())
}

root_test_once! {
    fn an_entry_point_that_is_the_runtime_itself(s) {
        let before = hash();
        let striker = image(s, "striker", &["/intruder", "overwrite", "/dev/shm/over"]);
        for (number, entry) in ENTRIES.iter().enumerate() {
            // As a handler, and as the app.
            let over = &["/intruder", "touch", "/dev/shm/over"];
            let victims = [handled(victim(number), "pre-start", entry).exec(over), handled(victim(number), "post-stop", over).exec(entry)];
            for victim in victims {
                let out = run(s).arg(&striker).arg(victim.write(s.path())).run();
                assert_nothing_reached(&out.stdout);
                assert_eq!(hash(), before, "{entry:?} changed the program\n{out}");
            }
        }
    }
}

root_test_once! {
    fn who_enters_is_not_written_to(s) {
        let before = hash();
        let image = image(s, "striker", &["/intruder", "echo", "ready", "then", "overwrite", "/over"]);
        let (pod, uuid) = start(s, |rkt| rkt.arg(&image));
        for round in 0..6 {
            let entry = ENTRIES[round % ENTRIES.len()];
            let words: Vec<&str> = ["enter", uuid.as_str()].into_iter().chain(entry.iter().copied()).collect();
            call(s, &words);
            call(s, &["enter", &uuid, "/probe", "echo", "x"]);
        }
        call(s, &["enter", &uuid, "/intruder", "touch", "/over"]).ok();
        let out = pod.end();
        assert_nothing_reached(&out.stdout);
        assert_eq!(hash(), before, "the pod changed the program\n{out}");
    }
}

root_test_once! {
    fn where_the_kernel_has_no_detached_mounts(s) {
        if tests::isolated::find("strace").is_none() {
            tests::skip!("needs `strace`, which plays the old kernel");
        }
        let before = hash();
        let image = image(s, "striker", &["/intruder", "overwrite", "4", "then", "echo", "done"]);
        let out = Rkt::new(s).old_kernel().args(["run", "--net=none"]).arg(&image).run();
        assert_nothing_reached(&out.stdout);
        let entered = self::image(s, "self", &["/proc/self/exe", "version"]);
        let out = Rkt::new(s).old_kernel().args(["run", "--net=none"]).arg(&entered).run();
        assert_eq!(hash(), before, "the pod changed the program\n{out}");
    }
}
