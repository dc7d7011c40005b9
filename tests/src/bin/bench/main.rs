//! Ratios, measured side by side in one run: rkt against crun, bwrap and runc on the same static root file system;
//! `list` against a C loop over the same files; importing an image against gzip, tar and sync; fetching from a registry
//! against skopeo, umoci and podman; networks against podman's; and what ten pods cost in memory.
//!
//! Absolute times on a shared machine mean nothing and are printed only to show what a ratio is made of. Every figure
//! names its peer's command line; a peer that is not installed is named as missing. Nothing here passes or fails.
//! `bench [start|second|list|import|fetch|memory|network]…` runs only these.

mod clock;
mod fetch;
mod memory;
mod network;
mod start;
mod store;

use tests::Scratch;

/// One comparison, in a scratch directory of its own.
type Part = fn(&Scratch);

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == fetch::MEASURE) && words.len() > 1 {
        fetch::measure(&words[1..]);
    }
    if let Some(reason) = tests::isolated::missing() {
        println!("SKIP bench: {reason}");
        return;
    }
    // Everything in a mount namespace of its own, so that peers' leftovers die with it.
    if !tests::isolated::inside() {
        let status = std::process::Command::new("unshare")
            .args(["--mount", "--propagation", "private"])
            .arg(std::env::current_exe().expect("/proc/self/exe is readable"))
            .args(std::env::args().skip(1))
            .env("RKT_TEST_INSIDE", "private")
            .status()
            .expect("`unshare` was found above");
        std::process::exit(status.code().unwrap_or(1));
    }
    // crun refuses a hybrid hierarchy whose cgroup2 half has a controller; without that half all see plain cgroup v1.
    let unified = std::path::Path::new("/sys/fs/cgroup/unified");
    if std::fs::read_to_string(unified.join("cgroup.controllers"))
        .is_ok_and(|c| !c.trim().is_empty())
        && rustix::mount::unmount(unified, rustix::mount::UnmountFlags::DETACH).is_ok()
    {
        println!(
            "note: {} is out of sight for all, since crun refuses to run beside it",
            unified.display()
        );
    }
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    let all: [(&str, Part); 7] = [
        ("start", start::cold_start),
        ("second", start::second_app),
        ("list", store::list),
        ("import", store::import),
        ("fetch", fetch::fetch),
        ("memory", memory::ten_pods),
        ("network", network::network),
    ];
    for (name, part) in all {
        if chosen.is_empty() || chosen.iter().any(|c| c == name) {
            part(&Scratch::new(name));
        }
    }
}
