//! The machine's end: every process, every mount, then the power.
//!
//! The pods are stopped by then. What else runs is asked to end, then killed; file
//! systems are unmounted, last mounted first, and made read-only where that cannot
//! be, `/` too. Each step is bounded, and none that fails holds up the next.

use crate::console::Console;
use crate::settings::Last;
use rustix::mount::UnmountFlags;
use rustix::process::{Pid, WaitOptions};
use rustix::system::RebootCommand;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};
use sys::mount::Flags;
use sys::signal;

/// What holds nothing on a disk.
const IN_MEMORY: &[&str] = &[
    "proc",
    "sysfs",
    "devtmpfs",
    "devpts",
    "tmpfs",
    "ramfs",
    "rootfs",
    "cgroup",
    "cgroup2",
    "mqueue",
    "securityfs",
    "debugfs",
    "tracefs",
];
const GRACE: Duration = Duration::from_secs(3);
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Ends the machine. Comes back where the kernel refuses.
pub(crate) fn all(console: &mut Console, last: Last) -> std::io::Error {
    // Whoever is anybody else would kill strangers.
    if rustix::process::getpid() != Pid::INIT {
        return std::io::Error::other("this is not process 1");
    }
    end_processes(signal::TERM, GRACE);
    end_processes(signal::KILL, GRACE);
    rustix::fs::sync();
    // What a container sees is somebody else's, who may need it still.
    if crate::started_by_the_kernel() {
        for complaint in unmount_all() {
            console.say(&complaint);
        }
        rustix::fs::sync();
    }
    console.say(match last {
        Last::PowerOff => "power off",
        Last::Reboot => "reboot",
        Last::Halt => "halted",
    });
    console.drain(LAST_WORDS);
    power(last)
}

/// What the kernel does at last; only its refusal is seen.
pub(crate) fn power(last: Last) -> std::io::Error {
    let command = match last {
        Last::PowerOff => RebootCommand::PowerOff,
        Last::Reboot => RebootCommand::Restart,
        Last::Halt => RebootCommand::Halt,
    };
    match rustix::system::reboot(command) {
        Ok(()) => std::io::Error::other("nothing happened"),
        Err(errno) => errno.into(),
    }
}

/// Signals everybody and reaps until nobody is left, or for so long.
fn end_processes(number: i32, most: Duration) {
    let begun = Instant::now();
    // To all but this process. The kernel's own ignore it.
    let _ = signal::send(-1, number);
    while begun.elapsed() < most {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => std::thread::sleep(Duration::from_millis(10)),
            // Everybody is a child of this process, or will be.
            Err(_) => return,
        }
    }
}

fn unmount_all() -> Vec<String> {
    let table = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    let mut complaints = Vec::new();
    for target in on_disks(&table).iter().rev() {
        let path = std::ffi::OsStr::from_bytes(target);
        if target.as_slice() != b"/" && rustix::mount::unmount(path, UnmountFlags::empty()).is_ok()
        {
            continue;
        }
        if let Err(err) = sys::mount::mount("", path, "", Flags::REMOUNT | Flags::RDONLY, "") {
            let name = path.to_string_lossy();
            complaints.push(format!(
                "warning: {name} can neither be unmounted nor made read-only: {}",
                model::fault::errno_text(&err)
            ));
        }
    }
    complaints
}

/// The mount points of file systems on disks in /proc/self/mountinfo, in its order. Overlays count as such: they hold
/// what is below them.
fn on_disks(table: &[u8]) -> Vec<Vec<u8>> {
    let lines = table.split(|byte| *byte == b'\n');
    lines
        .filter_map(|line| {
            let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
            let dash = fields.iter().position(|field| *field == b"-")?;
            let fstype = std::str::from_utf8(fields.get(dash + 1)?).ok()?;
            let point = fields.get(4)?;
            (!IN_MEMORY.contains(&fstype)).then(|| sys::mount::unescape(point))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::on_disks;

    #[test]
    fn what_is_on_disks_is_unmounted() {
        let table = b"1 1 0:2 / / rw - rootfs rootfs rw\n20 1 0:20 / /proc rw shared:1 - proc proc rw\n\
            30 1 8:1 / /a\\040b rw - ext4 /dev/vda rw\n31 30 0:40 / /a\\040b/c rw - overlay overlay rw\nbroken - ext4\nbroken\n";
        let expected: Vec<Vec<u8>> = vec![b"/a b".to_vec(), b"/a b/c".to_vec()];
        assert_eq!(on_disks(table), expected);
    }
}
