//! Fetching real images from a registry on the loopback, against skopeo with umoci and against podman: time until the
//! files are safely on disk, processor seconds, and rkt's peak memory. Caches are dropped before each turn, every tool
//! is followed by the same sync, and all have the same images of Debian packages in front of them.
//!
//! Everything runs in a network namespace of its own: the bench starts itself again in one.

use crate::clock;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tests::registry::{Registry, images};
use tests::{Scratch, isolated};

/// The word by which the bench, started by itself, measures one command as its only child.
pub(crate) const MEASURE: &str = "--measure";
const TURNS: usize = 5;

/// Runs the rest of the command line as a child and prints its cost as `seconds cpu-seconds peak-kilobytes`.
pub(crate) fn measure(words: &[String]) -> ! {
    let begun = Instant::now();
    let status = Command::new(&words[0]).args(&words[1..]).status();
    let took = begun.elapsed();
    let usage = sys::process::children_usage();
    match status {
        Ok(status) if status.success() => {
            println!(
                "{} {} {}",
                took.as_secs_f64(),
                usage.cpu.as_secs_f64(),
                usage.max_rss_kb
            );
            std::process::exit(0)
        }
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(e) => {
            eprintln!("{}: {e}", words[0]);
            std::process::exit(127)
        }
    }
}

#[derive(Clone, Copy)]
struct Cost {
    time: Duration,
    cpu: Duration,
    peak_kb: u64,
}

fn cost(script: &str) -> Result<Cost, String> {
    let own = std::env::current_exe().map_err(|e| format!("/proc/self/exe: {e}"))?;
    let output = Command::new(own)
        .args([MEASURE, "sh", "-c", script])
        .output()
        .map_err(|e| e.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = said.lines().last().unwrap_or_default();
    let mut numbers = last.split(' ').map(|word| word.parse::<f64>().ok());
    match (
        output.status.success(),
        numbers.next(),
        numbers.next(),
        numbers.next(),
    ) {
        (true, Some(Some(time)), Some(Some(cpu)), Some(Some(peak))) => Ok(Cost {
            time: Duration::from_secs_f64(time),
            cpu: Duration::from_secs_f64(cpu),
            peak_kb: peak as u64,
        }),
        _ => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

/// All tools, both images.
pub(crate) fn fetch(scratch: &Scratch) {
    if std::env::var_os("RKT_BENCH_NET").is_none() {
        let status = Command::new("unshare")
            .args([
                "--net",
                "sh",
                "-c",
                "ip link set lo up && exec \"$0\" fetch",
            ])
            .arg(std::env::current_exe().expect("/proc/self/exe is readable"))
            .env("RKT_BENCH_NET", "1")
            .status();
        if !status.is_ok_and(|status| status.success()) {
            println!(
                "missing: `unshare --net` with `ip link set lo up` (Debian: util-linux iproute2)"
            );
        }
        return;
    }
    if let Some(reason) = Registry::missing() {
        return println!("missing peer: {reason}");
    }
    let layout = match images() {
        Ok(layout) => layout,
        Err(reason) => return println!("missing images: {reason}"),
    };
    let registry = Registry::plain(scratch);
    for tag in ["redis", "python"] {
        registry.push(&format!("oci:{}:{tag}", layout.display()), tag);
        compare(scratch, &registry, tag);
        again(scratch, &registry, tag);
    }
}

/// The tools' scripts, each with `$D` for a fresh directory.
fn scripts(registry: &Registry, tag: &str) -> Vec<(&'static str, String)> {
    let rkt = tests::rkt::binary().display().to_string();
    let host = registry.host();
    let mut all = vec![
        (
            "rkt",
            format!(
                "{rkt} --dir=$D/rkt --insecure-options=image,http fetch docker://{host}/{tag} >/dev/null"
            ),
        ),
        (
            "skopeo+umoci",
            format!(
                "skopeo copy -q --insecure-policy --src-tls-verify=false docker://{host}/{tag} oci:$D/layout:{tag} && \
                 umoci unpack --image $D/layout:{tag} $D/bundle >/dev/null"
            ),
        ),
    ];
    match isolated::find("podman") {
        Some(_) => all.push((
            "podman",
            format!(
                "podman --root $D/root --runroot $D/run --tmpdir $D/tmp --storage-driver overlay pull -q --tls-verify=false {host}/{tag} >/dev/null"
            ),
        )),
        None => println!("missing peer: podman (Debian: podman)"),
    }
    all
}

fn compare(scratch: &Scratch, registry: &Registry, tag: &str) {
    let scripts = scripts(registry, tag);
    let conf = scratch.write(
        "containers.conf",
        "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n",
    );
    let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); scripts.len()];
    for turn in 0..=TURNS {
        for ((name, script), costs) in scripts.iter().zip(&mut costs) {
            // Short: podman takes no run directory of more than 50 characters.
            let dir = std::env::temp_dir().join(format!("rkt-test-{turn}-{}", std::process::id()));
            if let Err(e) = std::fs::create_dir(&dir) {
                println!("  {name}: {}: {e}", dir.display());
                continue;
            }
            drop_caches();
            let whole = format!(
                "export D={} CONTAINERS_CONF={}; {script} && sync -f $D",
                dir.display(),
                conf.display()
            );
            match cost(&whole) {
                // The first turn warms the programs, not the files: caches are dropped.
                Ok(_) if turn == 0 => {}
                Ok(cost) => costs.push(cost),
                Err(why) => println!("  {name} failed: {why}"),
            }
            clear(&dir);
        }
    }
    println!(
        "\nfetch {tag} from a registry on the loopback to files safely on disk, caches dropped, median of {TURNS}"
    );
    let medians: Vec<Option<Cost>> = costs.into_iter().map(middle).collect();
    let own = medians.first().copied().flatten();
    for ((name, script), median) in scripts.iter().zip(&medians) {
        let (Some(median), Some(own)) = (median, own) else {
            println!("  {name:12}    failed");
            continue;
        };
        println!(
            "  {name:12} {:7.0} ms  cpu {:6.0} ms  peak {:6.1} MB   rkt/{name}: time {:.2}, cpu {:.2}   {script} && sync -f $D",
            clock::ms(median.time),
            clock::ms(median.cpu),
            median.peak_kb as f64 / 1000.0,
            own.time.as_secs_f64() / median.time.as_secs_f64(),
            own.cpu.as_secs_f64() / median.cpu.as_secs_f64(),
        );
    }
}

/// A second fetch of an unchanged tag: which requests the registry saw.
fn again(scratch: &Scratch, registry: &Registry, tag: &str) {
    let dir = scratch.mkdir("again");
    let script = format!("D={}; {}", dir.display(), scripts(registry, tag)[0].1);
    if cost(&script).is_ok() {
        let before = registry.requests().len();
        if let Ok(cost) = cost(&script) {
            let asked = registry.requests().split_off(before);
            println!(
                "  rkt, unchanged tag {:7.1} ms: {}",
                clock::ms(cost.time),
                asked.join(", ")
            );
        }
    }
    clear(&dir);
}

fn middle(mut costs: Vec<Cost>) -> Option<Cost> {
    costs.sort_unstable_by_key(|cost| cost.time);
    let time = costs.get(costs.len() / 2)?.time;
    costs.sort_unstable_by_key(|cost| cost.cpu);
    let cpu = costs.get(costs.len() / 2)?.cpu;
    let peak_kb = costs.iter().map(|cost| cost.peak_kb).max()?;
    Some(Cost { time, cpu, peak_kb })
}

fn drop_caches() {
    rustix::fs::sync();
    if let Err(e) = std::fs::write("/proc/sys/vm/drop_caches", "3") {
        println!("  note: caches are not dropped: {e}");
    }
}

/// A peer may leave mounts below its directory.
fn clear(dir: &Path) {
    for mount in tests::host::mounts_below(dir).into_iter().rev() {
        let _ = rustix::mount::unmount(&mount, rustix::mount::UnmountFlags::DETACH);
    }
    if tests::host::mounts_below(dir).is_empty() {
        let _ = std::fs::remove_dir_all(dir);
    }
}
