//! The static program inside every test image: a handful of plain commands, and `facts`, which reports what a
//! process in the pod can see and do, and `report`, which tells the same for comparisons, in full.
//!
//! Commands are chained with the word `then`: `probe echo one then write /data/x hi then exit 3`. Facts are lines
//! `key=value`, with the error's name where something is refused, so that a test asserts on text.

mod facts;
mod report;
mod starter;
mod terminal;

use std::path::Path;
use std::time::Duration;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    for command in words.split(|w| w == "then") {
        let Some((verb, args)) = command.split_first() else {
            continue;
        };
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        if let Err(e) = run(verb, &args) {
            eprintln!("probe: {verb}: {e}");
            std::process::exit(1);
        }
    }
}

fn run(verb: &str, args: &[&str]) -> Result<(), String> {
    match (verb, args) {
        ("echo", _) => println!("{}", args.join(" ")),
        ("warn", _) => eprintln!("{}", args.join(" ")),
        ("exit", [code]) => std::process::exit(number(code)?),
        ("abort", []) => std::process::abort(),
        ("sleep", [seconds]) => std::thread::sleep(Duration::from_secs(number(seconds)?)),
        ("forever", []) => loop {
            std::thread::sleep(Duration::from_secs(3600));
        },
        ("env", []) => std::env::vars().for_each(|(k, v)| println!("{k}={v}")),
        ("cwd", []) => println!("{}", said(std::env::current_dir())?.display()),
        ("cat", [path]) => print!("{}", said(std::fs::read_to_string(path))?),
        ("show", [path]) => match std::fs::read_to_string(path) {
            Ok(text) => print!("=== {path} is\n{text}"),
            Err(e) => println!("=== {path} is not: {e}"),
        },
        ("stdin", []) => print!("{}", said(std::io::read_to_string(std::io::stdin()))?),
        ("ls", [path]) => list(path)?,
        ("write", [path, text]) => said(std::fs::write(path, format!("{text}\n")))?,
        ("try-write", [path]) => println!("write={}", facts::outcome(std::fs::write(path, "x"))),
        ("make-writable", [path]) => println!("remount={}", facts::make_writable(path)),
        ("exists", [path]) => println!("exists={}", Path::new(path).symlink_metadata().is_ok()),
        ("stat", [path]) => facts::stat(path),
        ("await", [path]) => {
            while !Path::new(path).exists() {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        ("lines", [count]) => (0..number::<u64>(count)?).for_each(|i| println!("line {i}")),
        ("eat", [megabytes]) => eat(number(megabytes)?),
        ("spin", [seconds]) => {
            let end = std::time::Instant::now() + Duration::from_secs(number(seconds)?);
            while std::time::Instant::now() < end {}
        }
        ("serve", [port]) => {
            said(tests::talk::serve_everywhere(number(port)?))?;
            println!("serving={port}");
        }
        ("serve-at", [address]) => {
            said(tests::talk::serve(number(address)?))?;
            println!("serving={address}");
        }
        ("ask", [protocol, address]) => {
            let protocol = tests::talk::Protocol::parse(protocol).ok_or("no such protocol")?;
            match tests::talk::ask(protocol, number(address)?) {
                Ok(seen) => println!("seen={seen}"),
                Err(e) => println!("seen={e}"),
            }
        }
        ("orphan", rest) => {
            said(
                std::process::Command::new("/proc/self/exe")
                    .args(rest)
                    .spawn(),
            )?;
        }
        ("notify", [text]) => starter::notify(text)?,
        ("notify-lingering", [text]) => starter::notify_lingering(text)?,
        ("linger", [port, text]) => starter::linger(number(port)?, text)?,
        ("ready-fd", [fd]) => starter::line(number(fd)?)?,
        ("answer-sockets", []) => starter::answer()?,
        ("facts", []) => facts::all(),
        ("report", words) => report::all(words)?,
        ("ps", []) => facts::processes(),
        ("terminals", []) => terminal::streams(),
        ("sized", [size]) => terminal::sized(size)?,
        ("resized", [size]) => terminal::resized(size)?,
        _ => return Err(format!("unknown command with {} words", args.len())),
    }
    Ok(())
}

fn number<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not what is expected here"))
}

fn said<T>(result: std::io::Result<T>) -> Result<T, String> {
    result.map_err(|e| e.to_string())
}

fn list(path: &str) -> Result<(), String> {
    let mut names: Vec<String> = said(std::fs::read_dir(path))?
        .filter_map(|e| Some(e.ok()?.file_name().to_string_lossy().into_owned()))
        .collect();
    names.sort();
    println!("{}", names.join(" "));
    Ok(())
}

/// Touches every page, so that the memory is really taken.
fn eat(megabytes: usize) {
    let mut held = Vec::new();
    for _ in 0..megabytes {
        let mut block = vec![0_u8; 1 << 20];
        block.iter_mut().step_by(4096).for_each(|b| *b = 1);
        held.push(std::hint::black_box(block));
    }
    println!("ate={megabytes}");
}
