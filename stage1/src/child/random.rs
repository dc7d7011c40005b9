//! Ten thousand random sandboxes, and the kernel's own word on each: a forked
//! child takes on an app's identity, capabilities and filter by the very code that
//! an app goes through, then makes system calls that cannot do anything.
//!
//! What the kernel answers must be what the plan says: to each call, what it said
//! before the filter was there, the denial, or ENOSYS; and the capability sets as
//! `/proc/self/status` and PR_CAPBSET_READ have them, before and after exec.
//!
//! Each failure prints a seed; `RKT_SEED` starts with that case.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::os::fd::AsFd;

use model::{App, Isolator};
use pod::rootfs::Rootfs;
use rustix::process::{Resource, getrlimit, setrlimit};
use sys::ask::{Asker, Board, Question, fork, harmless};
use sys::caps;
use sys::process::{self, Ended};
use sys::seccomp::Insn;

use super::identity::Identity;
use super::{PTRACE, take_on};
use crate::plan::caps::effective;
use crate::plan::seccomp::Policy;
use crate::plan::seccomp::dice::Dice;
use crate::plan::{AppPlan, AppSpec, unconfined};

const CASES: u64 = 10_000;
/// Of these, one in so many goes through exec as well.
const EXEC_EVERY: u64 = 40;
const ADMIN: u64 = 1 << caps::SYS_ADMIN;
const SIGSYS: i32 = 31;

// What filters return.
const ALLOW: u32 = 0x7fff_0000;
const KILL: u32 = 0x8000_0000;
const ERRNO: u32 = 0x0005_0000;

// Cells of the board.
const STAGE: usize = 0;
const SETS: usize = 1;
const BOUNDING_READ: usize = 7;
const BEFORE: usize = 16;
const MOST: usize = 64;
const AFTER: usize = BEFORE + MOST;
const CELLS: usize = AFTER + MOST;

const FAILED: i64 = 1;
const LOADED: i64 = 2;

/// As `/proc/PID/status` has them, and NoNewPrivs.
const FIELDS: [&str; 6] = [
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
];

fn sets(status: &str) -> [u64; 6] {
    FIELDS.map(|field| {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let word = line.unwrap().trim_start_matches(':').trim();
        u64::from_str_radix(word, 16).unwrap()
    })
}

fn own_sets() -> [u64; 6] {
    sets(&std::fs::read_to_string("/proc/self/status").unwrap())
}

/// One random sandbox.
struct Case {
    seed: u64,
    plan: Box<AppPlan>,
    policy: Option<Policy>,
    identity: Identity,
    /// The capabilities that the isolators mean.
    meant: u64,
    questions: Vec<Question>,
    isolators: [Vec<Isolator>; 2],
}

/// Judged by their first argument; the flags make clone fail in any case
/// (CLONE_THREAD alone), as its type of all ones does socket.
const JUDGED: [(&str, &[u64]); 3] = [
    (
        "clone",
        &[0x1_0000, 0x3_0000, 0x1001_0000, 0x4001_0011, 0x0201_0000],
    ),
    (
        "personality",
        &[0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff, 1, 0x4_0000],
    ),
    ("socket", &[1, 2, 10, 16, 38, 40]),
];

impl Case {
    /// `Err` for what cannot start an app and is refused as such. `plan` is used
    /// again for each case.
    fn draw(seed: u64, mut plan: Box<AppPlan>) -> Result<Case, Box<AppPlan>> {
        let mut dice = Dice::new(seed);
        let seccomp = dice.seccomp_here();
        let (capabilities, meant) = dice.capabilities();
        let caps = effective(&capabilities).unwrap();
        assert_eq!(caps.bits(), meant, "RKT_SEED={seed} {capabilities:?}");
        let policy = match Policy::of(&seccomp, &caps) {
            Ok(policy) => policy,
            Err(fault) => {
                let known = fault.cause.contains("which starts the app itself");
                assert!(known, "RKT_SEED={seed} {fault} {seccomp:?}");
                return Err(plan);
            }
        };
        let uid = [0, 0, 1000, 65_534][dice.below(4)];
        let kills = policy.as_ref().is_some_and(|policy| policy.kills());
        let questions = questions(&mut dice, policy.as_ref(), if kills { 3 } else { 28 });
        plan.bounding = caps.bits();
        plan.seccomp = policy.as_ref().map(Policy::compile);
        plan.no_new_privs = dice.percent(30);
        Ok(Case {
            seed,
            plan,
            policy,
            identity: Identity {
                uid,
                gid: uid,
                groups: vec![uid],
            },
            meant,
            questions,
            isolators: [seccomp, capabilities],
        })
    }

    fn told(&self) -> String {
        let known = self.isolators.iter().flatten().map(|one| &one.known);
        let known: Vec<_> = known.collect();
        format!("RKT_SEED={} uid {} {known:?}", self.seed, self.identity.uid)
    }

    fn says(&self, question: &Question) -> u32 {
        match &self.policy {
            _ if question.compat && self.policy.is_some() => KILL,
            None => ALLOW,
            Some(policy) => policy.says(question.number, question.argument),
        }
    }
}

fn questions(dice: &mut Dice, policy: Option<&Policy>, count: usize) -> Vec<Question> {
    const ALL_ONES: u64 = !0;
    let native = |number, argument| Question {
        number,
        argument,
        compat: false,
    };
    let mut list: Vec<Question> = (0..count)
        .map(|_| native(dice.below(480) as u32, ALL_ONES))
        .collect();
    let at = dice.below(JUDGED.len());
    let (name, arguments) = JUDGED[at];
    if let Some(number) = policy.and_then(|policy| policy.number(name)) {
        // The kernel does not read the high half, and neither must the filter.
        let high = if dice.percent(30) { 1 << 40 } else { 0 };
        list.retain(|question| question.number != number);
        list.push(native(
            number,
            arguments[dice.below(arguments.len())] | high,
        ));
    }
    list.retain(|question| {
        let judged = |(name, _): &(&str, _)| policy.and_then(|policy| policy.number(name));
        let bare = question.argument == ALL_ONES;
        harmless(question.number)
            && !(bare
                && JUDGED
                    .iter()
                    .filter_map(judged)
                    .any(|n| n == question.number))
    });
    // x32's numbers, and numbers that nobody has.
    list.push(native(0x4000_0000 | dice.below(480) as u32, ALL_ONES));
    list.push(native(500 + dice.below(1 << 20) as u32, ALL_ONES));
    list.retain(|question| harmless(question.number));
    if cfg!(target_arch = "x86_64") && dice.percent(3) {
        // getpid by the 32-bit entry.
        list.push(Question {
            number: 20,
            argument: 0,
            compat: true,
        });
    }
    list
}

/// An app's plan with nothing in it.
fn blank() -> Box<AppPlan> {
    let manifest =
        br#"{"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/random",
        "labels": [{"name": "os", "value": "linux"}, {"name": "arch", "value": "amd64"}]}"#;
    let spec = AppSpec {
        image: model::ImageManifest::parse(manifest).unwrap(),
        rootfs: Rootfs::Copied {
            tree_id: "none".into(),
        },
    };
    Box::new(unconfined("random", &App::default(), &spec))
}

/// In the child: what the product does to an app, and the questions.
fn live(case: &Case, asker: &Asker, board: &Board, from: usize, privileged: bool) {
    board.set(STAGE, FAILED);
    if !privileged {
        sys::creds::no_new_privs().unwrap();
    } else if become_app(case).is_err() {
        return;
    }
    let questions = &case.questions[from..];
    if from == 0 {
        for (cell, set) in (SETS..).zip(own_sets()) {
            board.set(cell, set as i64);
        }
        board.set(BOUNDING_READ, asker.bounding() as i64);
        asker.ask(questions, board, BEFORE);
    }
    if let Some(program) = &case.plan.seccomp
        && sys::seccomp::load(program).is_err()
    {
        return;
    }
    board.set(STAGE, LOADED);
    asker.ask(questions, board, AFTER + from);
}

fn become_app(case: &Case) -> Result<(), super::Failure> {
    let held = caps::permitted().unwrap();
    caps::set_apart(held & !PTRACE, held).unwrap();
    take_on(&case.plan, &case.identity, false)
}

/// What the kernel must say of the sets, before exec.
fn expected_sets(case: &Case, held: u64, bounding: u64) -> [u64; 6] {
    let root = case.identity.uid == 0;
    let permitted = held & if root { case.meant | ADMIN } else { ADMIN };
    let locked = case.plan.no_new_privs || (!root && case.plan.seccomp.is_some());
    let locked = u64::from(locked);
    [
        0,
        permitted,
        permitted & !PTRACE,
        case.meant & bounding,
        0,
        locked,
    ]
}

#[derive(Default, Debug)]
struct Tally {
    asked: usize,
    allowed: usize,
    denied: usize,
    absent: usize,
    killed: usize,
    /// The same answer with the filter and without.
    alike: usize,
    children: usize,
    instructions: usize,
}

fn ask(case: &Case, board: &Board, privileged: bool, tally: &mut Tally) {
    let count = case.questions.len();
    assert!(count <= MOST);
    board.clear(BEFORE, MOST);
    board.clear(AFTER, MOST);
    let mut from = 0;
    while from < count {
        board.set(STAGE, 0);
        let pid = fork(|asker| live(case, asker, board, from, privileged)).unwrap();
        let ended = process::wait(pid).unwrap();
        tally.children += 1;
        assert_eq!(
            board.get(STAGE),
            LOADED,
            "not loaded: {ended:?} {}",
            case.told()
        );
        // A call that is deadly without a filter would have been the end before.
        match (from..count).find(|at| board.fatal(AFTER + at)) {
            None => break,
            Some(at) => {
                assert_eq!(
                    ended,
                    Ended::Signalled(SIGSYS),
                    "{:?} {}",
                    case.questions[at],
                    case.told()
                );
                from = at + 1;
            }
        }
    }
}

fn judge(case: &Case, board: &Board, tally: &mut Tally) {
    for (at, question) in case.questions.iter().enumerate() {
        let (before, after) = (board.answer(BEFORE + at), board.answer(AFTER + at));
        let says = case.says(question);
        let told = || {
            format!(
                "{question:?} {says:#x} before {before:?} after {after:?}: {}",
                case.told()
            )
        };
        tally.asked += 1;
        let right = match says {
            ALLOW => {
                tally.allowed += 1;
                after.is_some() && after == before
            }
            KILL => {
                tally.killed += 1;
                board.fatal(AFTER + at)
            }
            denied => {
                let errno = i64::from(denied & !ERRNO);
                *(if errno == 38 {
                    &mut tally.absent
                } else {
                    &mut tally.denied
                }) += 1;
                tally.alike += usize::from(before == Some(errno));
                denied & ERRNO == ERRNO && after == Some(errno)
            }
        };
        assert!(right, "{}", told());
    }
}

/// The sets that the app's program has in the end.
fn after_exec(case: &Case) -> [u64; 6] {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let pid = fork(|_| {
        process::become_std(write.as_fd(), 1).unwrap();
        if become_app(case).is_ok() {
            let words = [c"/bin/cat".to_owned(), c"/proc/self/status".to_owned()];
            process::exec(&words[0], &words, &[]);
        }
    })
    .unwrap();
    drop(write);
    let mut text = String::new();
    std::io::Read::read_to_string(&mut std::fs::File::from(read), &mut text).unwrap();
    assert_eq!(
        process::wait(pid).unwrap(),
        Ended::Exited(0),
        "{}",
        case.told()
    );
    sets(&text)
}

/// Counted by the suite as skipped.
fn skip(reason: &str) {
    eprintln!("SKIP capabilities_are_the_models: {reason}");
    if let Some(path) = std::env::var_os("RKT_SKIPS") {
        let file = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path);
        let line = format!("capabilities_are_the_models: {reason}\n");
        std::io::Write::write_all(&mut file.unwrap(), line.as_bytes()).unwrap();
    }
}

/// Nobody wants the memory of a process that a filter killed.
fn no_cores() {
    let mut limit = getrlimit(Resource::Core);
    limit.current = Some(0);
    setrlimit(Resource::Core, limit).unwrap();
}

#[test]
fn the_kernel_says_what_the_model_says() {
    no_cores();
    let [_, held, _, bounding, ..] = own_sets();
    let needed = [6, 7, 8, u64::from(caps::SYS_ADMIN)];
    let privileged = needed.iter().all(|cap| held >> cap & 1 == 1);
    let board = Board::new(CELLS).unwrap();
    let (first, mut tally, mut refused, mut made) = (Dice::seed(), Tally::default(), 0, 0);
    let (mut seed, mut plan) = (first, blank());
    while made < CASES {
        let drawn = Case::draw(seed, plan);
        seed += 1;
        let case = match drawn {
            Ok(case) => case,
            Err(unused) => {
                plan = unused;
                refused += 1;
                continue;
            }
        };
        made += 1;
        let length = case.plan.seccomp.as_ref().map_or(0, Vec::<Insn>::len);
        tally.instructions = tally.instructions.max(length);
        ask(&case, &board, privileged, &mut tally);
        judge(&case, &board, &mut tally);
        if privileged {
            let got: [u64; 6] = std::array::from_fn(|at| board.get(SETS + at) as u64);
            let expected = expected_sets(&case, held, bounding);
            assert_eq!(got, expected, "{FIELDS:?} {}", case.told());
            let read = board.get(BOUNDING_READ) as u64;
            assert_eq!(read, expected[3], "PR_CAPBSET_READ {}", case.told());
        }
        if privileged && made % EXEC_EVERY == 0 {
            let expected = expected_sets(&case, held, bounding);
            // Root's exec gives what the bounding set holds; under no-new-privileges
            // only what was permitted as well.
            let own = match (case.identity.uid, expected[5]) {
                (0, 0) => expected[3],
                (0, _) => expected[3] & expected[1],
                _ => 0,
            };
            let expected = [0, own, own, expected[3], 0, expected[5]];
            assert_eq!(
                after_exec(&case),
                expected,
                "after exec {FIELDS:?} {}",
                case.told()
            );
        }
        plan = case.plan;
    }
    if !privileged {
        skip("only root can give up capabilities and change its user");
    }
    eprintln!(
        "{made} sandboxes from seed {first}, {refused} refused as none could start: {tally:?}"
    );
}

#[test]
fn how_long_a_filter_takes_to_load() {
    const TIMES: usize = 100;
    let board = Board::new(TIMES + 1).unwrap();
    let policy = Policy::of(&[], &crate::plan::caps::CapSet::DEFAULT).unwrap();
    let program = policy.unwrap().compile();
    let pid = fork(|_| {
        sys::creds::no_new_privs().unwrap();
        for cell in 0..TIMES {
            let begun = std::time::Instant::now();
            if sys::seccomp::load(&program).is_err() {
                return;
            }
            board.set(cell, begun.elapsed().as_nanos() as i64);
        }
        board.set(TIMES, 1);
    })
    .unwrap();
    process::wait(pid).unwrap();
    assert_eq!(
        board.get(TIMES),
        1,
        "the default filter is loaded many times over"
    );
    let mut times: Vec<i64> = (0..TIMES).map(|cell| board.get(cell)).collect();
    times.sort_unstable();
    eprintln!(
        "the default filter, {} instructions, loads in {} us (median of {TIMES}; least {}, most {})",
        program.len(),
        times[TIMES / 2] / 1000,
        times[0] / 1000,
        times[TIMES - 1] / 1000
    );
}
