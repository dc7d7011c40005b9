//! Debian's redis-server as an image, and the few words of its protocol that the tests need.
//!
//! The image is made of what the host has installed: the program and the libraries that its loader names. Nothing
//! is downloaded; where redis-server is missing the test is skipped.

use crate::tar::Entry;
use crate::{Aci, isolated};
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The image, or why there is none.
pub fn image(dir: &Path) -> Result<PathBuf, String> {
    let server =
        isolated::find("redis-server").ok_or("needs redis-server (Debian: redis-server)")?;
    let mut aci = Aci::new("example.com/redis", &["/redis-server"])
        .app("mountPoints", json!([{"name": "data", "path": "/data"}]))
        .with(Entry::dir("rootfs/data"))
        .with(Entry::dir("rootfs/etc"));
    let read = |p: &Path| std::fs::read(p).map_err(|e| format!("cannot read {}: {e}", p.display()));
    aci = aci.with(Entry::program("rootfs/redis-server", read(&server)?));
    for library in libraries(&server)? {
        let inside = format!("rootfs{}", library.display());
        aci = aci.with(Entry::program(&inside, read(&library)?));
    }
    Ok(aci.write(dir))
}

fn libraries(program: &Path) -> Result<Vec<PathBuf>, String> {
    let listed = Command::new("ldd")
        .arg(program)
        .output()
        .map_err(|e| format!("needs ldd: {e}"))?;
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    Ok(text
        .split_whitespace()
        .filter(|w| w.starts_with('/'))
        .map(PathBuf::from)
        .collect())
}

/// A connection to a Redis on the loopback.
#[derive(Debug)]
pub struct Redis {
    stream: BufReader<TcpStream>,
}

impl Redis {
    pub fn connect(port: u16) -> Option<Redis> {
        let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .ok()?;
        let mut redis = Redis {
            stream: BufReader::new(stream),
        };
        (redis.ask("PING")? == "PONG").then_some(redis)
    }

    /// Sends an inline command and gives the reply without its type byte.
    pub fn ask(&mut self, command: &str) -> Option<String> {
        self.stream
            .get_mut()
            .write_all(format!("{command}\r\n").as_bytes())
            .ok()?;
        let mut line = String::new();
        self.stream.read_line(&mut line).ok()?;
        let line = line.trim_end();
        let (kind, rest) = line.split_at_checked(1)?;
        if kind != "$" {
            return Some(rest.to_owned());
        }
        let mut value = String::new();
        if rest != "-1" {
            self.stream.read_line(&mut value).ok()?;
        }
        Some(value.trim_end().to_owned())
    }
}
