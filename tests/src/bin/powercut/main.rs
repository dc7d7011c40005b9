//! The work that the power is cut in, and the check of what the disk has kept; see tests/vm/boots/powercut.
//!
//!   powercut images DIR PROGRAM   makes the images that are fetched; PROGRAM is the probe
//!   powercut check LOG DATA       exit 0 if the data directory is sound and keeps what was promised before the cut
//!   powercut fill LOG DATA DIR    fetches all images once
//!   powercut work LOG DATA DIR    fetches, prepares, runs, removes and collects until somebody ends it
//!
//! LOG is a disk of its own: a line is on it before the next step is taken, so what it says was true at the cut.

mod check;
mod images;
mod promises;
mod work;

use std::path::Path;
use std::process::{Command, ExitCode, Output};

/// `rkt` on one data directory.
#[derive(Clone, Debug)]
pub struct Rkt {
    pub data: String,
}

impl Rkt {
    fn on(data: &str) -> Rkt {
        Rkt {
            data: data.to_owned(),
        }
    }

    pub fn call(&self, args: &[&str]) -> Output {
        Command::new("rkt")
            .arg(format!("--dir={}", self.data))
            .arg("--insecure-options=image,http")
            .args(args)
            .output()
            .expect("rkt lies in the PATH")
    }

    /// What it said, if it ended well.
    pub fn says(&self, args: &[&str]) -> Result<String, String> {
        let output = self.call(args);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        match output.status.success() {
            true => Ok(out),
            false => Err(format!(
                "rkt {}: {}: {out}{err}",
                args.join(" "),
                output.status
            )),
        }
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["images", dir, program] => images::make(Path::new(dir), Path::new(program)),
        ["check", log, data] => {
            let rkt = Rkt::on(data);
            let wrong = check::all(&rkt, log);
            if wrong.is_empty() {
                return ExitCode::SUCCESS;
            }
            println!("{}", wrong.join("\n"));
            return ExitCode::FAILURE;
        }
        ["fill", log, data, dir] => work::fill(&Rkt::on(data), log, dir),
        ["work", log, data, dir] => work::forever(&Rkt::on(data), log, dir),
        _ => {
            eprintln!(
                "usage: powercut images DIR PROGRAM | check LOG DATA | fill|work LOG DATA DIR"
            );
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
