//! From a kernel that has just started to a machine that pods can run on.
//!
//! Mounts, modules, cgroups, names, the loopback, disks, in the order in which each
//! needs the other. What is missing is complained of and done without; only a disk
//! that was asked for and cannot be had is an error.

use crate::console::Console;
use crate::modules::{self, Modules, Wanted};
use crate::settings::Settings;
use crate::{cgroups, disks, mounts};
use model::Fault;
use std::collections::HashSet;

/// Modules that are wanted whatever the command line says.
const LIST: &str = "/etc/rkt/modules";
const MAX_TEXT: u64 = 64 << 10;

/// What the kernel was told.
pub(crate) fn settings(console: &mut Console) -> Settings {
    let complaints = mounts::all();
    console.reopen();
    for complaint in complaints {
        console.complain(&complaint);
    }
    let text = match std::fs::read("/proc/cmdline") {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(err) => {
            console.complain(&Fault::io("read", "/proc/cmdline", err));
            String::new()
        }
    };
    let (settings, complaints) = Settings::parse(&text);
    for complaint in complaints {
        console.complain(&complaint);
    }
    settings
}

/// Everything else. Sets the data directory that is used.
pub(crate) fn machine(settings: &mut Settings, console: &mut Console) -> Result<(), Fault> {
    load_modules(settings, console);
    // A module may have brought the one there is.
    console.reopen();
    let mut complaints = cgroups::mount_all(settings.cgroups);
    complaints.extend(name(settings).err());
    let up = sys::net::loopback_up();
    complaints.extend(
        up.err()
            .map(|err| Fault::io("cannot bring up", "the loopback", err)),
    );
    for complaint in complaints {
        console.complain(&complaint);
    }
    for disk in &settings.disks {
        disks::mount_disk(disk, settings.wait)?;
    }
    settings.dir = disks::data_directory(settings)?;
    Ok(())
}

fn load_modules(settings: &Settings, console: &mut Console) {
    let mut wanted = match std::fs::exists(LIST) {
        Ok(true) => small_text(LIST)
            .map(|text| modules::listed(&text))
            .unwrap_or_else(|fault| {
                console.complain(&fault);
                Vec::new()
            }),
        _ => Vec::new(),
    };
    wanted.extend(settings.modules.iter().map(|name| Wanted {
        name: name.clone(),
        options: Vec::new(),
    }));
    if wanted.is_empty() {
        return;
    }
    let modules = match Modules::of_this_kernel() {
        Ok(modules) => modules,
        Err(fault) => return console.complain(&fault.message("no module can be loaded")),
    };
    let mut loaded = HashSet::new();
    for wanted in wanted {
        if let Err(fault) = modules.load(&wanted, &settings.module_options, &mut loaded) {
            console.complain(&fault);
        }
    }
}

/// The command line's word, else /etc/hostname's, else the kernel's.
fn name(settings: &Settings) -> Result<(), Fault> {
    let from_file = || {
        small_text("/etc/hostname")
            .ok()
            .and_then(|text| text.lines().next().map(str::trim).map(str::to_string))
    };
    let Some(name) = settings
        .hostname
        .clone()
        .or_else(from_file)
        .filter(|name| !name.is_empty())
    else {
        return Ok(());
    };
    rustix::system::sethostname(name.as_bytes())
        .map_err(|err| Fault::io("cannot set", format!("the host name \"{name}\""), err))
}

fn small_text(path: &str) -> Result<String, Fault> {
    use std::io::Read;
    let fail = |err| Fault::io("read", path, err);
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(fail)?;
    file.take(MAX_TEXT)
        .read_to_string(&mut text)
        .map_err(fail)?;
    Ok(text)
}
