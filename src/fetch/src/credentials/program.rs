//! Docker's credential helpers: `docker-credential-X get` reads a server's name
//! on stdin and writes `{"ServerURL", "Username", "Secret"}`.
//!
//! The program is the user's own, but neither its time nor its output is without
//! bounds. It keeps our environment and stderr: some ask for a passphrase.

use super::Login;
use model::config::{BasicCredentials, Secret};
use model::fault::{Fault, Kind, Result};
use model::json::{self, Cursor};
use model::text::quote;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// A person may have to type a passphrase meanwhile.
pub(super) const TIME_OUT: Duration = Duration::from_secs(30);
const MAX_OUTPUT: usize = 64 << 10;
/// What every helper says, on stdout, when it has no login for a server.
const NOT_FOUND: &str = "credentials not found in native keychain";
/// The user name that tells that the secret is an identity token.
const TOKEN: &str = "<token>";

/// Asks the helper `suffix` for the login to `server`; `path` is a `PATH`.
pub(super) fn get(
    suffix: &str,
    server: &str,
    path: Option<&OsStr>,
    time_out: Duration,
) -> Result<Option<Login>> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if suffix.is_empty() || suffix.len() > 128 || !suffix.bytes().all(plain) {
        return Err(Fault::invalid(format!(
            "{} cannot be the name of a credential helper",
            quote(suffix)
        )));
    }
    let name = format!("docker-credential-{suffix}");
    let program = find(&name, path)
        .ok_or_else(|| Fault::not_found(format!("credential helper {name} is not in $PATH")))?;
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|err| Fault::io("exec", &name, err))?;
    let answer = converse(&mut child, server, Instant::now() + time_out);
    // Harmless if it has ended; else it goes now, whatever it was doing.
    let _ = child.kill();
    let status = child
        .wait()
        .map_err(|err| Fault::io("wait for", &name, err))?;
    let (output, ended) = answer.map_err(|why| match why {
        Trouble::Late => Fault::new(
            Kind::TimedOut,
            format!("{name} did not answer within {} s", time_out.as_secs()),
        ),
        Trouble::Long => Fault::invalid(format!("{name} wrote more than {MAX_OUTPUT} bytes")),
        Trouble::Os(err) => Fault::io("read from", &name, err),
    })?;
    if ended && status.success() {
        return parse(&output).map_err(|fault| {
            let cause = format!("{name}: {}", fault.cause);
            Fault { cause, ..fault }
        });
    }
    let text = String::from_utf8_lossy(&output);
    if text.contains(NOT_FOUND) {
        return Ok(None);
    }
    // What it said may hold anything, a secret too: only a failure's first line.
    let said = text.lines().next().unwrap_or("").trim();
    let said: String = said.chars().take(200).collect();
    Err(Fault::refused(format!(
        "{name} failed ({status}){}{}",
        if said.is_empty() { "" } else { ": " },
        said.escape_debug()
    )))
}

enum Trouble {
    Late,
    Long,
    Os(std::io::Error),
}

/// Its output to the end, and whether the program has ended by itself.
fn converse(
    child: &mut Child,
    server: &str,
    deadline: Instant,
) -> Result<(Vec<u8>, bool), Trouble> {
    if let Some(mut stdin) = child.stdin.take() {
        // Fits into the pipe. A helper that does not listen is no failure.
        let _ = stdin.write_all(server.as_bytes());
    }
    let mut output = Vec::new();
    if let Some(mut stdout) = child.stdout.take() {
        let mut piece = [0; 4096];
        loop {
            wait_readable(&stdout, deadline)?;
            match stdout.read(&mut piece) {
                Ok(0) => break,
                Ok(n) => output.extend_from_slice(&piece[..n]),
                Err(err) if err.kind() == std::io::ErrorKind::Interrupted => {}
                Err(err) => return Err(Trouble::Os(err)),
            }
            if output.len() > MAX_OUTPUT {
                return Err(Trouble::Long);
            }
        }
    }
    loop {
        match child.try_wait() {
            Ok(Some(_)) => return Ok((output, true)),
            Ok(None) if Instant::now() >= deadline => return Err(Trouble::Late),
            Ok(None) => std::thread::sleep(Duration::from_millis(2)),
            Err(err) => return Err(Trouble::Os(err)),
        }
    }
}

fn wait_readable(stdout: &ChildStdout, deadline: Instant) -> Result<(), Trouble> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Trouble::Late);
        }
        let left = Timespec {
            tv_sec: left.as_secs().cast_signed(),
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::new(stdout, PollFlags::IN)], Some(&left)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(err) => return Err(Trouble::Os(err.into())),
        }
    }
}

/// In an absolute directory of `path`: never in the working directory.
fn find(name: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    std::env::split_paths(path?)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(name))
        .find(|file| {
            std::fs::metadata(file)
                .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        })
}

fn parse(output: &[u8]) -> Result<Option<Login>> {
    // A syntax error tells line and column, never the text.
    let value = json::parse(output)?;
    let mut fields = Cursor::new(&value).fields()?;
    let (user, secret) = (fields.text("Username")?, fields.text("Secret")?);
    if user.chars().chain(secret.chars()).any(char::is_control) {
        return Err(Fault::invalid("a login contains a control character"));
    }
    let secret = Secret::new(secret);
    Ok(match user.as_str() {
        "" => None,
        TOKEN => Some(Login::Identity(secret)),
        _ => Some(Login::Basic(BasicCredentials {
            user,
            password: secret,
        })),
    })
}
