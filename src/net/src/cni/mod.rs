//! External CNI programs, by the specification 0.1.0 to 1.1.0.
//!
//! One call is one process: the variables and the configuration in
//! (`request`), a result or an error out (`answer`), with bounded output and
//! bounded patience (`exec`). `cache` remembers what was answered, for leaving
//! needs it again.

mod answer;
pub(crate) mod cache;
mod exec;
mod names;
pub(crate) mod request;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub(crate) use names::{check_identifier, check_interface, is_interface};
pub(crate) use request::Told;

use crate::Outcome;
use crate::attach::{Call, Dirs, Site};
use exec::{End, Ran};
use model::text::quote;
use model::{Fault, Value, fault::Result};
use std::path::{Path, PathBuf};

/// The program for a plugin of this type: the first regular file of that name,
/// symbolic links followed. Absolute.
pub fn find(dirs: &Dirs, kind: &str) -> Option<PathBuf> {
    if kind.is_empty() || kind.contains('/') {
        return None;
    }
    let mut paths = dirs.plugins.iter().map(|dir| dir.join(kind));
    let path = paths.find(|path| path.metadata().is_ok_and(|data| data.is_file()))?;
    // It is executed in `/`.
    std::path::absolute(path).ok()
}

fn program(site: &Site<'_>, kind: &str) -> Result<PathBuf> {
    find(site.dirs, kind).ok_or_else(|| missing(site.dirs, kind))
}

/// No program and nothing built in of this type.
pub(crate) fn missing(dirs: &Dirs, kind: &str) -> Fault {
    let dirs: Vec<String> = dirs
        .plugins
        .iter()
        .map(|dir| dir.display().to_string())
        .collect();
    Fault::not_found(format!("Could not find plugin {}", quote(kind)))
        .hint(format!("CNI programs are searched in {}", dirs.join(", ")))
}

/// ADD. Returns the result as it was written as well, for the next plugin: it
/// may have more in it than is understood here.
pub(crate) fn add(call: &Call<'_>, program: &Path, told: &Told<'_>) -> Result<(Outcome, Value)> {
    let ran = run(call, program, told, "ADD")?;
    let answer = match ran.end {
        End::Exited(0) => answer::result(&ran.stdout),
        _ => Err(answer::failure(&ran, call.site.patience)),
    };
    let (outcome, value) = answer.map_err(|fault| about(fault, program))?;
    let version = call.network.version.as_str();
    match value.get("cniVersion").and_then(Value::as_str) {
        Some(theirs) if theirs == version => Ok((outcome, value)),
        theirs => {
            call.site.note(format!(
                "{} answered in version {} and not in {version}: converted",
                program.display(),
                quote(theirs.unwrap_or("0.1.0")),
            ));
            let value = outcome.to_json(version);
            Ok((outcome, value))
        }
    }
}

/// What a program's ADD printed, or the error that it reports there. Pure.
pub fn outcome(stdout: &[u8]) -> Result<Outcome> {
    answer::result(stdout).map(|(outcome, _)| outcome)
}

/// DEL. A program that knows of nothing to be undone has done its work.
pub(crate) fn del(call: &Call<'_>, program: &Path, told: &Told<'_>) -> Result<()> {
    let ran = run(call, program, told, "DEL")?;
    match ran.end {
        End::Exited(0) => Ok(()),
        _ if answer::unknown_container(&ran) => {
            call.site.note(format!(
                "{} does not know {} (any more)",
                program.display(),
                call.site.id
            ));
            Ok(())
        }
        _ => Err(about(answer::failure(&ran, call.site.patience), program)),
    }
}

/// Lets the CNI program `kind` give addresses on behalf of a built-in plugin.
/// After a failure it was told to forget.
pub fn delegate_add(call: &Call<'_>, kind: &str) -> Result<Outcome> {
    let program = program(call.site, kind)?;
    let capabilities = request::capability_args(call.site.mappings);
    let previous = call.previous.map(|p| p.to_json(&call.network.version));
    let told = Told {
        previous: previous.as_ref(),
        capabilities: &capabilities,
    };
    add(call, &program, &told)
        .map(|(outcome, _)| outcome)
        .inspect_err(|_| {
            let forgot = del(
                call,
                &program,
                &Told {
                    previous: None,
                    ..told
                },
            );
            note_failed(call.site, "forget what was not given", forgot);
        })
}

/// Lets it take them back.
pub fn delegate_del(call: &Call<'_>, kind: &str) -> Result<()> {
    let Some(program) = find(call.site.dirs, kind) else {
        // Nobody can tell whether it ever gave one.
        let fault = missing(call.site.dirs, kind);
        call.site
            .note(format!("no address was given back: {fault}"));
        return Ok(());
    };
    let capabilities = request::capability_args(call.site.mappings);
    let previous = call.previous.map(|p| p.to_json(&call.network.version));
    let told = Told {
        previous: previous.as_ref().filter(|_| request::tells_del(call)),
        capabilities: &capabilities,
    };
    del(call, &program, &told)
}

fn run(call: &Call<'_>, program: &Path, told: &Told<'_>, command: &str) -> Result<Ran> {
    let input = request::input(call, told);
    let env = request::environment(call, command)?;
    let wait = exec::Wait {
        patience: call.site.patience,
        interruptible: command == "ADD",
    };
    let ran = exec::run(program, &input, &env, wait).map_err(|fault| about(fault, program))?;
    if let Some(text) = answer::shown(&ran.stderr) {
        let path = program.display();
        call.site.note(format!("{path} {command} wrote: {text}"));
    }
    Ok(ran)
}

fn about(fault: Fault, program: &Path) -> Fault {
    fault.hint(format!("the CNI plugin is {}", program.display()))
}

/// A failure on the way out of another one: told, but not in its place.
pub(crate) fn note_failed(site: &Site<'_>, what: &str, result: Result<()>) {
    if let Err(fault) = result {
        site.note(format!("cannot {what}: {fault}"));
    }
}
