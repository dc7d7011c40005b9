//! The work: two threads, one of which brings and removes images, the other pods, so that a cut hits a fetch in a run
//! and a collection in a removal. What fails without a reason is reported as a failed verdict of the rig.

use crate::promises::Log;
use crate::{Rkt, images};
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};
use tests::http::{Reply, Server};

struct Work<'w> {
    rkt: &'w Rkt,
    dir: &'w str,
    log: Mutex<Log>,
}

/// Numbers of no quality.
struct Dice(u64);

impl Dice {
    fn new(salt: u64) -> Dice {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Dice((now.as_nanos() as u64 ^ salt) | 1)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % end.max(1)
    }

    fn one_of<'a>(&mut self, all: impl Iterator<Item = &'a String>) -> Option<String> {
        let all: Vec<&String> = all.collect();
        let at = self.below(all.len());
        all.get(at).map(|one| (*one).clone())
    }
}

/// The images' server, and the work that needs it.
fn with_server(rkt: &Rkt, log: &str, dir: &str, act: impl FnOnce(&Work<'_>)) {
    let files = dir.to_owned();
    let _server = Server::plain_at(images::PORT, move |asked| {
        let name = asked.path.trim_start_matches('/');
        if name.starts_with("v2/") {
            return tests::oci::answer(&Path::new(&files).join("layout"), asked);
        }
        match std::fs::read(Path::new(&files).join(name)) {
            Ok(bytes) => Reply::ok(bytes),
            Err(_) => Reply::new(404),
        }
    });
    act(&Work {
        rkt,
        dir,
        log: Mutex::new(Log::open(log).expect("the log can be opened")),
    });
}

/// So many prepared pods are kept through the cuts, as far as the dice allow.
const KEPT: usize = 4;

/// All images and some pods, so that there is something to lose from the first cut on.
pub fn fill(rkt: &Rkt, log: &str, dir: &str) {
    with_server(rkt, log, dir, |work| {
        for (name, word) in images::WORDS {
            work.fetch(name, word);
        }
        let ids: Vec<String> = work.log().images.keys().cloned().collect();
        for id in ids.iter().take(KEPT) {
            work.prepare(id);
        }
    });
}

pub fn forever(rkt: &Rkt, log: &str, dir: &str) {
    with_server(rkt, log, dir, |work| {
        std::thread::scope(|scope| {
            scope.spawn(|| work.images(Dice::new(1)));
            scope.spawn(|| work.pods(Dice::new(2)));
        });
    });
}

impl Work<'_> {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().expect("no thread dies with the log")
    }

    fn done(&self, what: Result<String, String>) -> Option<String> {
        what.map_err(|why| println!("\n@@ FAIL work\n{why}")).ok()
    }

    fn images(&self, mut dice: Dice) {
        loop {
            match dice.below(8) {
                0..5 => {
                    let (name, word) = images::WORDS[dice.below(images::WORDS.len())];
                    if name == "above" {
                        self.fetch("small", images::WORDS[0].1);
                    }
                    self.fetch(name, word);
                }
                5 | 6 => {
                    let id = dice.one_of(self.log().images.keys());
                    id.into_iter().for_each(|id| self.remove(&id));
                }
                _ => {
                    self.done(self.rkt.says(&["image", "gc", "--grace-period=720h"]));
                }
            }
        }
    }

    fn fetch(&self, name: &str, word: &str) {
        let word = word.replace("DIR", self.dir);
        if let Some(id) = self.done(self.rkt.says(&["fetch", "--full", &word])) {
            self.log().say(&format!("+ image {} {name}", id.trim()));
        }
    }

    /// What another image depends on goes after that.
    fn remove(&self, id: &str) {
        let mut ids = vec![id.to_owned()];
        let mut log = self.log();
        if log.images.get(id).is_some_and(|name| name == "small") {
            ids.extend(
                log.images
                    .iter()
                    .filter(|(_, name)| *name == "above")
                    .map(|(id, _)| id.clone()),
            );
        }
        ids.reverse();
        for id in ids {
            log.say(&format!("- image {id}"));
            self.done(self.rkt.says(&["image", "rm", &id]));
        }
    }

    fn pods(&self, mut dice: Dice) {
        let mut running: Vec<String> = Vec::new();
        loop {
            let image = dice.one_of(self.log().images.keys());
            let pod = dice.one_of(self.log().pods.keys());
            let kept = self.log().pods.len();
            match (dice.below(10), image, pod) {
                (0..4, Some(image), _) => self.prepare(&image),
                (4, Some(image), _) => {
                    let said = self
                        .rkt
                        .says(&["run", "--net=none", &image, "--", "echo", "out"]);
                    self.unless_removed(&image, said);
                }
                (5, Some(image), _) if running.len() < 2 => {
                    let file = format!("/run/powercut-{}", dice.below(1 << 30));
                    let save = format!("--uuid-file-save={file}");
                    let said = self.rkt.says(&[
                        "run",
                        "--net=default",
                        "--detach",
                        &save,
                        &image,
                        "--",
                        "forever",
                    ]);
                    if self.unless_removed(&image, said).is_some() {
                        running.extend(std::fs::read_to_string(&file));
                    }
                }
                (6, _, Some(pod)) if kept > KEPT => {
                    self.log().say(&format!("- pod {pod}"));
                    self.done(self.rkt.says(&["run-prepared", "--net=none", &pod]));
                }
                (7, _, Some(pod)) if kept > KEPT + 2 => {
                    self.log().say(&format!("- pod {pod}"));
                    self.done(self.rkt.says(&["rm", &pod]));
                }
                (8, ..) => {
                    if let Some(pod) = running.pop() {
                        self.done(self.rkt.says(&["stop", "--force", &pod]));
                    }
                }
                (9, ..) => {
                    self.done(self.rkt.says(&["gc", "--grace-period=0s"]));
                }
                _ => std::thread::sleep(std::time::Duration::from_millis(20)),
            }
        }
    }

    fn prepare(&self, image: &str) {
        let said = self
            .rkt
            .says(&["prepare", "--quiet", image, "--", "echo", "kept"]);
        if let Some(uuid) = self.unless_removed(image, said) {
            let uuid = uuid.lines().last().unwrap_or_default().trim().to_owned();
            self.log().say(&format!("+ pod {uuid}"));
        }
    }

    /// An image may go between its choice and its use, and come back since.
    fn unless_removed(&self, image: &str, said: Result<String, String>) -> Option<String> {
        match said {
            Err(why)
                if why.contains("no image IDs found") || !self.log().images.contains_key(image) =>
            {
                None
            }
            said => self.done(said),
        }
    }
}
