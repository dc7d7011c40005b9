//! The hostile program of the test images: what known attacks on container runtimes do, as plain commands.
//!
//! Commands are chained with the word `then`, as the probe's. Whatever succeeds that must not is printed as a line
//! `reached=…`, and each attempt is bounded by a number of rounds, by a file that ends it, or by the pod's end. What is
//! overwritten or read is only what the test has put there for it.

mod neighbours;
mod races;
mod ways_out;

use rustix::fs::{Mode, OFlags};
use std::path::Path;
use std::time::Duration;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    for command in words.split(|w| w == "then") {
        let args: Vec<&str> = command.iter().map(String::as_str).collect();
        if let Err(e) = run(&args) {
            eprintln!("intruder: {args:?}: {e}");
            std::process::exit(1);
        }
    }
}

fn run(words: &[&str]) -> Result<(), String> {
    match words {
        [] => {}
        ["echo", rest @ ..] => println!("{}", rest.join(" ")),
        ["forever"] => loop {
            std::thread::sleep(Duration::from_secs(3600));
        },
        ["await", path] => {
            while !Path::new(path).exists() {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        ["touch", path] => said(std::fs::write(path, ""))?,
        ["mkdir", path] => said(std::fs::create_dir_all(path))?,
        ["link", target, path] => said(std::os::unix::fs::symlink(target, path))?,
        ["orphan", rest @ ..] => {
            let own = std::process::Command::new("/proc/self/exe")
                .args(rest.iter().map(|w| if *w == "+" { "then" } else { w }))
                .spawn();
            said(own)?;
        }
        ["exchange", one, other, end] => races::exchange(one, other, end),
        ["exchange-of", mark, one, other, end] => races::exchange_of(mark, one, other, end),
        ["overwrite", end] => neighbours::overwrite(end),
        ["spy", canary, own, end] => neighbours::spy(canary, own, end),
        ["kill-all", number] => neighbours::kill_all(number)?,
        ["sparse", path, bytes] => {
            let file = said(std::fs::File::create(path))?;
            said(file.set_len(bytes.parse().map_err(|_| "not a number")?))?;
        }
        ["node", path, kind] => node(path, kind)?,
        ["capable", path] => capable(path)?,
        ["remove", path] => {
            said(std::fs::remove_file(path).or_else(|_| std::fs::remove_dir_all(path)))?
        }
        ["plant", link, directory] => plant(link, directory)?,
        ["mounts-of", path] => mounts(path),
        ["paths", paths @ ..] => paths
            .iter()
            .for_each(|path| println!("path {path}={}", read(path))),
        ["writes", paths @ ..] => paths
            .iter()
            .for_each(|path| println!("write {path}={}", write(path))),
        ["descriptors"] => descriptors(),
        ["escape", canary] => ways_out::all(canary),
        ["abstract", names @ ..] => names
            .iter()
            .for_each(|name| println!("abstract {name}={}", connect(name))),
        ["fill", megabytes] => fill(megabytes)?,
        _ => return Err("no such command".to_owned()),
    }
    Ok(())
}

fn said<T>(result: std::io::Result<T>) -> Result<T, String> {
    result.map_err(|e| e.to_string())
}

/// The first line, or the error; never waits.
pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut bytes = [0; 128];
    let read = rustix::fs::open(path.as_ref(), flags, Mode::empty())
        .and_then(|file| rustix::io::read(&file, &mut bytes));
    match read {
        Ok(n) => String::from_utf8_lossy(&bytes[..n])
            .lines()
            .next()
            .unwrap_or("")
            .to_owned(),
        Err(e) => format!("error {}", e.raw_os_error()),
    }
}

/// Opened for writing, and nothing written.
fn write(path: &str) -> String {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(_) => "open".to_owned(),
        Err(e) => format!("error {}", e.raw_os_error()),
    }
}

/// What is mounted at a path of this mount namespace, by whatever procfs shows it.
fn mounts(procfs: &str) {
    let text = std::fs::read_to_string(format!("{procfs}/self/mountinfo")).unwrap_or_default();
    for line in text.lines() {
        let place = line.split(' ').nth(4).unwrap_or("");
        let kind = line.split(" - ").nth(1).unwrap_or("");
        println!("mounted={place} {kind}");
    }
}

/// Every open descriptor but that of the listing, with what it leads to.
fn descriptors() {
    for number in 0..256 {
        if let Ok(target) = std::fs::read_link(format!("/proc/self/fd/{number}")) {
            println!("descriptor={number} {}", target.display());
        }
    }
}

fn connect(name: &str) -> String {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixStream};
    let answer =
        SocketAddr::from_abstract_name(name).and_then(|address| UnixStream::connect_addr(&address));
    answer.map_or_else(
        |e| format!("error {}", e.raw_os_error().unwrap_or(0)),
        |_| "connected".to_owned(),
    )
}

/// A fifo, a device, or a socket where a file is expected.
fn node(path: &str, kind: &str) -> Result<(), String> {
    use rustix::fs::{CWD, FileType, makedev, mknodat};
    let _ = std::fs::remove_file(path);
    let (kind, device) = match kind {
        "fifo" => (FileType::Fifo, 0),
        "socket" => (FileType::Socket, 0),
        "zero" => (FileType::CharacterDevice, makedev(1, 5)),
        "null" => (FileType::CharacterDevice, makedev(1, 3)),
        _ => return Err("no such kind".to_owned()),
    };
    said(mknodat(CWD, path, kind, Mode::from_bits_truncate(0o666), device).map_err(Into::into))
}

/// All capabilities, permitted and inheritable, as an attribute of the file (capabilities(7), version 2).
fn capable(path: &str) -> Result<(), String> {
    let mut value = Vec::new();
    for word in [0x0200_0000_u32, u32::MAX, u32::MAX, u32::MAX, u32::MAX] {
        value.extend(word.to_le_bytes());
    }
    let set = rustix::fs::setxattr(
        path,
        "security.capability",
        &value,
        rustix::fs::XattrFlags::empty(),
    );
    println!(
        "capable={}",
        set.map_or_else(
            |e| format!("error {}", e.raw_os_error()),
            |()| "set".to_owned()
        )
    );
    Ok(())
}

/// A tree that leads astray whoever copies it: links up and out, devices, a fifo, a socket, odd names.
fn plant(target: &str, directory: &str) -> Result<(), String> {
    said(std::fs::create_dir_all(format!("{directory}/real")))?;
    let up = "../".repeat(24);
    for (name, target) in [
        ("absolute", target.to_owned()),
        ("up", format!("{up}{target}")),
        ("real/file", format!("{target}/secret")),
        ("loop", "loop".to_owned()),
        ("procfs", "/proc/1/root".to_owned()),
    ] {
        said(std::os::unix::fs::symlink(
            target,
            format!("{directory}/{name}"),
        ))?;
    }
    for kind in ["fifo", "null"] {
        node(&format!("{directory}/{kind}"), kind)?;
    }
    for name in ["new\nline", "-rf", " ", ".wh.real", ".wh..wh..opq", "..."] {
        said(std::fs::write(format!("{directory}/{name}"), "planted"))?;
    }
    Ok(())
}

/// Lines without end, as fast as they are taken.
fn fill(megabytes: &str) -> Result<(), String> {
    let count: usize = megabytes.parse().map_err(|_| "not a number")?;
    let line = [b'y'; 1023];
    let mut out = std::io::stdout().lock();
    for _ in 0..count * 1024 {
        use std::io::Write;
        said(out.write_all(&line).and_then(|()| out.write_all(b"\n")))?;
    }
    Ok(())
}
