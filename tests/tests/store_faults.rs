//! The store under kills and a failing disk: whatever is interrupted, an image is there whole or not at all.
//!
//! strace interrupts the n-th call of one kind, by SIGKILL or by an errno, for n = 1, 2, … until a run gets through
//! (it counts in each thread on its own, so the reading and the writing thread are both walked). After each step the
//! store must tell the truth, take the same image again, and hold no rubbish once `image gc` has passed.
//!
//! The first 40 calls of a kind are hit one by one: they are all different. Further on they repeat (one write per
//! file, one unlink per file), so every 13th is taken, and none past `FAR`. That keeps all of it near two minutes.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use tests::isolated::{Mode, find, isolated_in};
use tests::tar::{self, Entry};
use tests::{Aci, Output, Rkt, Scratch, skip};

const DENSE: u32 = 40;
const STRIDE: u32 = 13;
const FAR: u32 = 250;

const KILL: &str = "signal=KILL";

/// What changes the disk; `openat` as a whole, since strace cannot tell those that create from those that only read.
const CHANGING: &[&str] = &[
    "rename,renameat,renameat2",
    "mkdir,mkdirat",
    "unlink,unlinkat,rmdir",
    "link,linkat,symlink,symlinkat",
    "fsync,syncfs,fdatasync",
    "write,pwrite64,writev,copy_file_range,sendfile",
    "openat,openat2",
    "fchmod,fchmodat,fchown,fchownat,utimensat,ftruncate,setxattr,fsetxattr,lsetxattr",
    "flock",
];

/// Where a disk that is full or dying answers.
const FILLING: &[&str] = &[
    "write,pwrite64,writev,copy_file_range",
    "mkdir,mkdirat",
    "rename,renameat,renameat2",
    "fsync,syncfs,fdatasync",
];

/// A store of one image, and the call on it that is interrupted.
struct Walk {
    scratch: Scratch,
    aci: PathBuf,
    image: String,
    /// What makes the call have its work to do; called before each step.
    ready: fn(&Walk),
    args: Vec<String>,
    steps: u32,
    wrong: Vec<String>,
}

impl Walk {
    fn new(name: &str, aci: &Aci, ready: fn(&Walk), args: &[&str]) -> Walk {
        let scratch = Scratch::new(name);
        let path = aci.write(scratch.path());
        let args = args
            .iter()
            .map(|a| a.replace("{aci}", &path.display().to_string()))
            .map(|a| a.replace("{image}", &aci.name))
            .collect();
        Walk {
            scratch,
            aci: path,
            image: aci.name.clone(),
            ready,
            args,
            steps: 0,
            wrong: Vec::new(),
        }
    }

    fn call(&self, args: &[&str]) -> Output {
        Rkt::new(&self.scratch).args(args).run()
    }

    fn fetch(&self) {
        Rkt::new(&self.scratch)
            .arg("fetch")
            .arg(&self.aci)
            .run()
            .ok();
    }

    /// IDs that `image list` shows.
    fn listed(&self) -> Vec<String> {
        let fields = ["image", "list", "--full", "--no-legend", "--fields=id"];
        let out = self.call(&fields).ok();
        assert!(
            out.stderr.is_empty(),
            "the list complains about the store\n{out}"
        );
        out.stdout.lines().map(|l| l.trim().to_owned()).collect()
    }

    /// One interrupted call; nothing if the run made fewer calls than `n`.
    fn interrupted(&self, calls: &str, fault: &str, n: u32) -> Option<Output> {
        // `?`: not every architecture knows every call.
        let marked: Vec<String> = calls.split(',').map(|c| format!("?{c}")).collect();
        let calls = marked.join(",");
        let command = Rkt::new(&self.scratch).args(&self.args).command();
        let log = self.scratch.at("strace");
        let output = Command::new("strace")
            .args(["-f", "-qqq", "-o"])
            .arg(&log)
            .args(["-e", &format!("trace={calls}")])
            .args(["-e", &format!("inject={calls}:{fault}:when={n}")])
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::null())
            .output()
            .expect("strace was found");
        let text = std::fs::read(&log).expect("strace wrote its log");
        let text = String::from_utf8_lossy(&text);
        let hit = text.contains("(INJECTED)") || text.contains("+++ killed by SIGKILL");
        hit.then(|| Output::of(format!("{command:?}\n{text}"), &output))
    }

    /// What must be true after any interruption.
    fn check(&self) {
        let listed = self.listed();
        for id in &listed {
            self.call(&["image", "verify", id]).ok();
            self.call(&["image", "cat-manifest", id]).ok();
        }
        self.fetch();
        self.call(&["image", "verify", &self.image]).ok();
        self.call(&["image", "gc"]).ok();
        let now = self.listed();
        let lost: Vec<_> = listed.iter().filter(|id| !now.contains(id)).collect();
        assert!(lost.is_empty(), "gc took {lost:?}");
        let left = leaves(&self.scratch.data());
        assert!(left.is_empty(), "left in tmp: {left:?}");
        let layers: BTreeSet<String> = names(&self.scratch.data().join("store/layers"))
            .into_iter()
            .filter(|n| n.starts_with("sha512-"))
            .collect();
        let images: BTreeSet<String> = now.into_iter().collect();
        assert_eq!(layers, images, "a layer without an image, or the other way");
    }

    fn step(&self, calls: &str, fault: &str, n: u32) -> bool {
        (self.ready)(self);
        let Some(out) = self.interrupted(calls, fault, n) else {
            return false;
        };
        if fault != KILL && out.code != 0 {
            assert!(
                out.code == 254 || out.code == 1,
                "a failing disk is an ordinary error, not exit {}\n{out}",
                out.code
            );
            // Where stderr itself is hit, there is no one to tell.
            let told = !out.stderr.trim().is_empty() || out.command.contains("write(2, ");
            assert!(told, "fails without a word\n{out}");
            let left = leaves(&self.scratch.data());
            assert!(left.is_empty(), "left in tmp: {left:?}\n{out}");
        }
        let checked = catch_unwind(AssertUnwindSafe(|| self.check()));
        if let Err(why) = checked {
            panic!("{}\nafter\n{out}", text(why.as_ref()));
        }
        true
    }

    fn walk(&mut self, kinds: &[&str], fault: &str) {
        for calls in kinds {
            let mut n = 1;
            while n < FAR && self.wrong.len() < 12 {
                match catch_unwind(AssertUnwindSafe(|| self.step(calls, fault, n))) {
                    Ok(true) => self.steps += 1,
                    Ok(false) => break,
                    Err(why) => {
                        let told = text(why.as_ref()).replace('\n', "\n    ");
                        self.wrong
                            .push(format!("{fault} at call {n} of {calls}: {told}"));
                        // The next step starts from nothing.
                        let _ = std::fs::remove_dir_all(self.scratch.data());
                    }
                }
                n += if n < DENSE { 1 } else { STRIDE };
            }
        }
    }

    #[track_caller]
    fn end(self, least: u32) {
        assert!(
            self.wrong.is_empty(),
            "{} of {} steps leave something wrong\n{}",
            self.wrong.len(),
            self.steps as usize + self.wrong.len(),
            self.wrong.join("\n")
        );
        assert!(
            self.steps >= least,
            "only {} steps: the walk does not reach rkt",
            self.steps
        );
        eprintln!("{} steps", self.steps);
    }
}

fn text(why: &(dyn std::any::Any + Send)) -> &str {
    why.downcast_ref::<String>()
        .map_or("panicked", String::as_str)
}

fn names(dir: &Path) -> Vec<String> {
    std::fs::read_dir(dir)
        .map(|entries| {
            entries
                .flatten()
                .map(|e| e.file_name().to_string_lossy().into_owned())
                .collect()
        })
        .unwrap_or_default()
}

fn leaves(data: &Path) -> Vec<String> {
    names(&data.join("store/tmp"))
}

/// A few files of each kind.
fn small(name: &str) -> Aci {
    Aci::new(name, &["/app"])
        .with(Entry::program("rootfs/app", "#!/bin/true\n"))
        .with(Entry::dir("rootfs/etc"))
        .with(Entry::file("rootfs/etc/passwd", "root:x:0:0::/root:/app\n"))
        .with(Entry::hardlink("rootfs/etc/again", "rootfs/app"))
        .with(Entry::symlink("rootfs/etc/mtab", "../proc/mounts"))
}

/// Past the first megabyte reading and writing are two threads.
fn large(name: &str) -> Aci {
    let mut aci = small(name);
    let bytes = |i: usize| -> Vec<u8> { (0..900_000).map(|b| (b * (i + 3) / 7) as u8).collect() };
    for i in 0..4 {
        aci.entries
            .push(Entry::file(&format!("rootfs/data-{i}"), bytes(i)));
    }
    aci
}

/// The store has no image: the fetch has all its work to do.
fn emptied(walk: &Walk) {
    if !walk.listed().is_empty() {
        walk.call(&["image", "rm", &walk.image]).ok();
    }
}

/// The image is there, and rubbish of a killed import beside it.
fn filled(walk: &Walk) {
    if walk.listed().is_empty() {
        walk.fetch();
    }
    let stale = walk.scratch.data().join("store/tmp/0123456789abcdef");
    std::fs::create_dir_all(stale.join("layer/rootfs")).expect("a directory in the store");
    std::fs::write(stale.join("layer/rootfs/half"), "ha").expect("a file in the store");
}

fn no_strace() -> bool {
    let missing = find("strace").is_none();
    if missing {
        tests::skip::record("needs strace (Debian: strace)");
    }
    missing
}

#[test]
fn a_small_fetch_killed() {
    if no_strace() {
        return;
    }
    let mut walk = Walk::new(
        "fault-small",
        &small("example.com/small"),
        emptied,
        &["fetch", "{aci}"],
    );
    walk.walk(CHANGING, KILL);
    walk.end(30);
}

#[test]
fn a_large_fetch_killed() {
    if no_strace() {
        return;
    }
    let mut walk = Walk::new(
        "fault-large",
        &large("example.com/large"),
        emptied,
        &["fetch", "{aci}"],
    );
    walk.walk(&["write,pwrite64,writev,copy_file_range,sendfile"], KILL);
    walk.walk(&["rename,renameat,renameat2", "futex"], KILL);
    walk.end(20);
}

#[test]
fn a_fetch_onto_a_failing_disk() {
    if no_strace() {
        return;
    }
    let mut walk = Walk::new(
        "fault-disk",
        &small("example.com/small"),
        emptied,
        &["fetch", "{aci}"],
    );
    walk.walk(FILLING, "error=ENOSPC");
    walk.walk(FILLING, "error=EIO");
    walk.end(40);
    let mut walk = Walk::new(
        "fault-disk",
        &large("example.com/large"),
        emptied,
        &["fetch", "{aci}"],
    );
    walk.walk(&FILLING[..1], "error=ENOSPC");
    walk.walk(&["read,pread64"], "error=EIO");
    walk.end(15);
}

/// An image over another one, so that rendering makes a tree in the store.
fn stacked(walk: &Walk) {
    if !walk.listed().is_empty() {
        // The tree of the step before.
        walk.call(&["image", "gc"]).ok();
        return;
    }
    let base = small("example.com/base").write(walk.scratch.path());
    Rkt::new(&walk.scratch).arg("fetch").arg(&base).run().ok();
    walk.fetch();
}

#[test]
fn a_render_interrupted() {
    if no_strace() {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        skip!("needs root: rendering gives files their owners");
    }
    let top = Aci::new("example.com/top", &["/app"])
        .top(
            "dependencies",
            serde_json::json!([{"imageName": "example.com/base"}]),
        )
        .with(Entry::file("rootfs/top", "top"));
    // A directory around it: each kill leaves one `.rendered.<random>` beside the target.
    let scratch = Scratch::new("fault-rendered");
    let out = scratch.at("rendered");
    let to = out.display().to_string();
    let mut walk = Walk::new(
        "fault-render",
        &top,
        stacked,
        &["image", "render", "--overwrite", "{image}", &to],
    );
    walk.walk(CHANGING, KILL);
    walk.walk(FILLING, "error=ENOSPC");
    // And to the end, over what the last step has left there.
    walk.call(&["image", "render", "--overwrite", "example.com/top", &to])
        .ok();
    let whole = ["app", "top", "etc/passwd"].map(|f| out.join("rootfs").join(f).exists());
    assert_eq!(whole, [true; 3]);
    walk.end(20);
}

#[test]
fn image_rm_interrupted() {
    if no_strace() {
        return;
    }
    let mut walk = Walk::new(
        "fault-rm",
        &small("example.com/small"),
        filled,
        &["image", "rm", "{image}"],
    );
    walk.walk(CHANGING, KILL);
    walk.walk(&["rename,renameat,renameat2"], "error=ENOSPC");
    walk.end(8);
}

#[test]
fn image_gc_interrupted() {
    if no_strace() {
        return;
    }
    let mut walk = Walk::new(
        "fault-gc",
        &small("example.com/small"),
        filled,
        &["image", "gc", "--grace-period=0s"],
    );
    walk.walk(CHANGING, KILL);
    walk.walk(&["rename,renameat,renameat2"], "error=ENOSPC");
    walk.end(8);
}

/// Tells the reader to end when it is dropped.
struct Enough<'a>(&'a AtomicBool);

impl Drop for Enough<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Two that import one layer while a third keeps looking: the reader never sees half an image.
#[test]
fn two_writers_and_a_reader() {
    let s = Scratch::new("fault-race");
    let aci = large("example.com/race");
    let image = aci.write(s.path());
    // The same tar in another frame: the two writers are not in step.
    let plain = s.write("plain.aci", aci.tar());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Also when a writer fails the test.
        let enough = Enough(&done);
        let reader = scope.spawn(|| {
            let mut seen = 0;
            while !done.load(Ordering::Relaxed) {
                let all = Rkt::new(&s)
                    .args(["image", "list", "--full", "--no-legend", "--fields=id"])
                    .run()
                    .ok();
                assert!(all.stderr.is_empty(), "{all}");
                for id in all.stdout.lines().map(str::trim) {
                    // It may be removed between the two calls; it may not be broken.
                    let out = Rkt::new(&s).args(["image", "verify", id]).run();
                    let gone =
                        out.stderr.contains("cannot find") || out.stderr.contains("no image IDs");
                    assert!(out.code == 0 || gone, "a half image was shown\n{out}");
                    seen += 1;
                }
            }
            seen
        });
        for round in 0..12 {
            let writers: Vec<_> = [&image, &plain]
                .map(|path| Rkt::new(&s).arg("fetch").arg(path).spawn())
                .into();
            let ids: Vec<String> = writers.into_iter().map(|w| w.end().ok().stdout).collect();
            assert_eq!(ids[0], ids[1], "one tar, one ID");
            if round % 3 == 2 {
                Rkt::new(&s)
                    .args(["image", "rm", "example.com/race"])
                    .run()
                    .ok();
            }
            Rkt::new(&s).args(["image", "gc"]).run().ok();
        }
        drop(enough);
        let seen = reader.join().expect("the reader found nothing wrong");
        assert!(seen > 0, "the reader never saw the image");
    });
    assert_eq!(leaves(&s.data()), Vec::<String>::new());
}

/// A real full disk, not an injected one: 4 MB of tmpfs.
#[test]
fn a_full_disk() {
    isolated_in(&[Mode::Private], "a_full_disk", || {
        let s = Scratch::new("fault-full");
        let data = s.mkdir("data");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "small"])
            .arg(&data)
            .status()
            .expect("`mount` was looked for before");
        if !mounted.success() {
            skip!("cannot mount a tmpfs here");
        }
        let little = small("example.com/small").write(s.path());
        let big = Aci::new("example.com/big", &["/app"])
            .with(Entry::file("rootfs/a", vec![1; 1_500_000]))
            .with(Entry::file("rootfs/b", vec![2; 9_000_000]))
            .write(s.path());
        let many = {
            let mut aci = Aci::new("example.com/many", &["/app"]);
            for i in 0..3000 {
                aci.entries
                    .push(Entry::file(&format!("rootfs/f{i}"), vec![3; 4096]));
            }
            s.write("many.aci", tar::gzip(&aci.tar()))
        };
        let fetch = |path: &Path| Rkt::new(&s).arg("fetch").arg(path).run();
        fetch(&little).ok();
        for path in [&big, &many] {
            fetch(path).code(254).stderr_has("no space left on device");
            assert_eq!(
                leaves(&data),
                Vec::<String>::new(),
                "a failed fetch leaves nothing"
            );
        }
        // Full to the last block.
        let fill = data.join("fill");
        let chunk = vec![0; 4096];
        let mut file = std::fs::File::create(&fill).expect("the directory is there");
        while std::io::Write::write_all(&mut file, &chunk).is_ok() {}
        drop(file);
        fetch(&big).code(254).stderr_has("no space left on device");
        assert_eq!(leaves(&data), Vec::<String>::new());
        for verb in [
            &["image", "list"][..],
            &["image", "verify", "example.com/small"],
        ] {
            Rkt::new(&s).args(verb).run().ok();
        }
        Rkt::new(&s).args(["image", "gc"]).run().ok();
        Rkt::new(&s)
            .args(["image", "rm", "example.com/small"])
            .run()
            .ok();
        Rkt::new(&s)
            .args(["image", "gc", "--grace-period=0s"])
            .run()
            .ok();
        std::fs::remove_file(&fill).expect("the file made above");
        fetch(&little).ok();
        rustix::mount::unmount(&data, rustix::mount::UnmountFlags::DETACH)
            .expect("the mount made above");
    });
}
