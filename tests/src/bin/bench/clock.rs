//! Measuring commands against each other: turns are interleaved in blocks, so that a slow moment hits all alike, and
//! medians are compared.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A command with a name, run again and again.
pub(crate) struct Peer {
    pub name: &'static str,
    /// What to run in turn `n`; runc and crun want a fresh container id each time.
    pub command: Box<dyn Fn(u32) -> Command>,
}

impl Peer {
    fn once(&self, turn: u32) -> Option<Duration> {
        let mut command = (self.command)(turn);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let begin = Instant::now();
        let output = command.output().ok()?;
        let took = begin.elapsed();
        if !output.status.success() {
            eprintln!(
                "  {} failed: {}",
                self.name,
                String::from_utf8_lossy(&output.stderr).trim_end()
            );
            return None;
        }
        Some(took)
    }

    pub(crate) fn shown(&self) -> String {
        let command = (self.command)(0);
        let words: Vec<String> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|w| w.to_string_lossy().into_owned())
            .collect();
        words.join(" ")
    }
}

/// Medians in the order of the peers; a peer that fails has none.
pub(crate) fn medians(
    peers: &[Peer],
    blocks: u32,
    block: u32,
    pause: Duration,
) -> Vec<Option<Duration>> {
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); peers.len()];
    let mut broken = vec![false; peers.len()];
    let mut turn = 0;
    for round in 0..=blocks {
        for (i, peer) in peers.iter().enumerate() {
            for _ in 0..block {
                if broken[i] {
                    continue;
                }
                std::thread::sleep(pause);
                turn += 1;
                match peer.once(turn) {
                    // The first round warms the caches.
                    Some(_) if round == 0 => {}
                    Some(took) => times[i].push(took),
                    None => broken[i] = true,
                }
            }
        }
    }
    times.into_iter().map(median).collect()
}

pub(crate) fn median(mut times: Vec<Duration>) -> Option<Duration> {
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

/// One line per peer: its median, and how many times that is the first one's.
pub(crate) fn print(title: &str, peers: &[Peer], medians: &[Option<Duration>]) {
    println!("\n{title}");
    let own = medians.first().copied().flatten();
    for (peer, took) in peers.iter().zip(medians) {
        let (shown, ratio) = match (took, own) {
            (Some(took), Some(own)) => (
                format!("{:9.2} ms", ms(*took)),
                format!("{:6.2}", ms(own) / ms(*took)),
            ),
            (Some(took), None) => (format!("{:9.2} ms", ms(*took)), "     -".to_owned()),
            (None, _) => ("   failed".to_owned(), "     -".to_owned()),
        };
        println!(
            "  {:12} {shown}  rkt/{:<8} {ratio}   {}",
            peer.name,
            peer.name,
            peer.shown()
        );
    }
}

pub(crate) fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1000.0
}
