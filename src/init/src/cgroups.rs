//! The cgroup trees: one of version 2 with every controller, or version 1 with
//! version 2 beside it, or none.
//!
//! What is mounted already is left as it is. Controllers are switched on for the
//! children of the root one by one: what the kernel lacks, or keeps for version 1,
//! costs nothing but itself. This process stays in the root, where the rule against
//! processes beside children does not hold.

use crate::mounts::{directory, is_mount_point, mount};
use crate::settings::Cgroups;
use model::Fault;
use sys::mount::Flags;

const ROOT: &str = "/sys/fs/cgroup";
const FLAGS: Flags = Flags::NOSUID.and(Flags::NODEV).and(Flags::NOEXEC);
/// Controllers of version 1 that everybody mounts as one.
const TOGETHER: &[(&str, &str)] = &[("cpu", "cpuacct"), ("net_cls", "net_prio")];

pub(crate) fn mount_all(way: Cgroups) -> Vec<Fault> {
    if way == Cgroups::None || is_mount_point(ROOT) {
        return Vec::new();
    }
    let mounted = match way {
        Cgroups::Hybrid => hybrid(),
        _ => unified(ROOT).map(|()| Vec::new()),
    };
    mounted.unwrap_or_else(|fault| {
        vec![fault.hint("limits of pods need cgroups; rkt.cgroups=none does without")]
    })
}

fn unified(target: &str) -> Result<(), Fault> {
    // Before Linux 4.13 there is no nsdelegate.
    mount("cgroup2", "cgroup2", target, FLAGS, "nsdelegate")
        .or_else(|_| mount("cgroup2", "cgroup2", target, FLAGS, ""))?;
    let available =
        std::fs::read_to_string(format!("{target}/cgroup.controllers")).unwrap_or_default();
    for controller in available.split_whitespace() {
        // One that cannot be given on is as good as missing, which rkt says where it matters.
        let _ = std::fs::write(
            format!("{target}/cgroup.subtree_control"),
            format!("+{controller}"),
        );
    }
    Ok(())
}

fn hybrid() -> Result<Vec<Fault>, Fault> {
    let table = std::fs::read_to_string("/proc/cgroups")
        .map_err(|err| Fault::io("read", "/proc/cgroups", err))?;
    mount("cgroup", "tmpfs", ROOT, FLAGS, "mode=0755")?;
    let mut complaints = Vec::new();
    for controllers in hierarchies(&table) {
        let target = format!("{ROOT}/{controllers}");
        let mounted = directory(&target)
            .and_then(|()| mount("cgroup", "cgroup", &target, FLAGS, &controllers));
        if let Err(fault) = mounted {
            let _ = std::fs::remove_dir(&target);
            complaints.push(fault.hint(
                "cgroup_no_v1= on the kernel's command line keeps a controller from version 1",
            ));
            continue;
        }
        for name in controllers.split(',').filter(|name| *name != controllers) {
            let _ = std::os::unix::fs::symlink(&controllers, format!("{ROOT}/{name}"));
        }
        if controllers == "memory" {
            // Limits hold for all below. Since Linux 5.11 it is so anyway.
            let _ = std::fs::write(format!("{target}/memory.use_hierarchy"), "1");
        }
    }
    let target = format!("{ROOT}/unified");
    let beside = directory(&target).and_then(|()| unified(&target));
    complaints.extend(beside.err());
    Ok(complaints)
}

/// What to mount together, from /proc/cgroups: name, hierarchy, groups, enabled.
fn hierarchies(table: &str) -> Vec<String> {
    let enabled: Vec<&str> = table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            (fields.get(3) == Some(&"1")).then(|| fields[0])
        })
        .collect();
    let has = |name: &str| enabled.contains(&name);
    enabled
        .iter()
        .filter(|name| {
            !TOGETHER
                .iter()
                .any(|(first, second)| second == *name && has(first))
        })
        .map(|name| {
            match TOGETHER
                .iter()
                .find(|(first, second)| first == name && has(second))
            {
                Some((first, second)) => format!("{first},{second}"),
                None => name.to_string(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::hierarchies;

    #[test]
    fn enabled_controllers_and_those_that_go_together() {
        let table = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t0\t1\t1\ncpu\t0\t1\t1\ncpuacct\t0\t1\t1\n\
                     memory\t0\t1\t0\nnet_prio\t0\t1\t1\npids\t0\t1\t1\nbroken\n";
        assert_eq!(
            hierarchies(table),
            ["cpuset", "cpu,cpuacct", "net_prio", "pids"]
        );
        assert_eq!(hierarchies(""), [""; 0]);
    }
}
