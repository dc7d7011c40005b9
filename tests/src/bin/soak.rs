//! `soak SECONDS`: random pods, verbs and kills for a long time, and the host compared with what it was at the end.
//!
//! The random numbers come from a seed that is printed and may be given as a second argument, so that a bad night can
//! be repeated. Runs inside its own mount, network and pid namespace; needs root.

use std::time::{Duration, Instant};
use tests::host::{Traces, assert_nothing_left};
use tests::isolated::sweep;
use tests::rkt::Running;
use tests::{Aci, Rkt, Scratch};

/// xorshift64*: enough to choose with.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % sides
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize| words.get(i).and_then(|w| w.parse::<u64>().ok());
    let seconds = number(0).unwrap_or(600);
    let seed = number(1).unwrap_or_else(|| {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(1, |d| d.as_secs())
            | 1
    });
    if !tests::isolated::inside() {
        if let Some(reason) = tests::isolated::missing() {
            println!("SKIP soak: {reason}");
            return;
        }
        let status = std::process::Command::new("unshare")
            .args([
                "--mount",
                "--net",
                "--pid",
                "--fork",
                "--kill-child",
                "--propagation",
                "private",
            ])
            .args([
                "sh",
                "-c",
                "mount -t proc proc /proc && { \"$0\" \"$@\"; exit $?; }",
            ])
            .arg(std::env::current_exe().expect("/proc/self/exe is readable"))
            .args([seconds.to_string(), seed.to_string()])
            .env("RKT_TEST_INSIDE", "private")
            .status()
            .expect("`unshare` was found above");
        std::process::exit(status.code().unwrap_or(1));
    }
    println!("soak: {seconds} s, seed {seed}");
    let rounds = soak(Duration::from_secs(seconds), Dice(seed));
    println!("PASS soak: {rounds} rounds with seed {seed}, nothing left");
}

fn soak(long: Duration, mut dice: Dice) -> u64 {
    let scratch = Scratch::new("soak");
    let before = Traces::now(scratch.path());
    let image = Aci::probe("example.com/probe").write(scratch.path());
    Rkt::new(&scratch).arg("fetch").arg(&image).run().ok();
    let end = Instant::now() + long;
    let mut rounds = 0;
    let mut running: Vec<Running> = Vec::new();
    while Instant::now() < end {
        rounds += 1;
        turn(&scratch, &image, &mut dice, &mut running);
        running.retain_mut(Running::alive);
    }
    for pod in &running {
        pod.signal(rustix::process::Signal::TERM);
    }
    running.into_iter().for_each(|pod| drop(pod.end()));
    sweep(&scratch);
    assert_nothing_left(&before, scratch.path());
    rounds
}

fn turn(scratch: &Scratch, image: &std::path::Path, dice: &mut Dice, running: &mut Vec<Running>) {
    let rkt = || Rkt::new(scratch);
    let image_id = image.display().to_string();
    match dice.roll(12) {
        0..=3 if running.len() < 20 => {
            let mut args = vec!["run".to_owned(), "--net=none".to_owned(), image_id];
            if dice.roll(3) == 0 {
                args.push("--memory=32Mi".to_owned());
            }
            args.push("--".to_owned());
            args.extend(match dice.roll(5) {
                0 => vec!["forever".to_owned()],
                1 => vec!["sleep".to_owned(), "1".to_owned()],
                2 => vec!["exit".to_owned(), dice.roll(256).to_string()],
                3 => vec!["eat".to_owned(), (8 + dice.roll(60)).to_string()],
                _ => vec!["lines".to_owned(), dice.roll(3000).to_string()],
            });
            running.push(rkt().args(&args).spawn());
        }
        4 => drop(rkt().arg("prepare").arg(image).run()),
        5 | 6 if !running.is_empty() => {
            let at = usize::try_from(dice.roll(running.len() as u64)).unwrap_or(0);
            let signal = if dice.roll(2) == 0 {
                rustix::process::Signal::KILL
            } else {
                rustix::process::Signal::TERM
            };
            running[at].signal(signal);
        }
        7 => drop(rkt().args(["gc", "--grace-period=0s"]).run().ok()),
        8 => drop(rkt().args(["list", "--format=json"]).run().ok().json()),
        9 => {
            let listed = rkt().args(["list", "--full", "--no-legend"]).run().ok();
            let uuids: Vec<&str> = listed
                .stdout
                .lines()
                .filter_map(|l| l.split('\t').next())
                .collect();
            if let Some(uuid) = uuids.get(usize::try_from(dice.roll(40)).unwrap_or(0)) {
                let verb = ["stop", "rm", "status", "cat-manifest"]
                    [usize::try_from(dice.roll(4)).unwrap_or(0)];
                rkt().args([verb, uuid]).run();
            }
        }
        10 => drop(rkt().arg("fetch").arg(image).run().ok()),
        _ => std::thread::sleep(Duration::from_millis(dice.roll(50))),
    }
}
