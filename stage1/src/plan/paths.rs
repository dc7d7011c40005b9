//! Paths of `/proc` and `/sys` that an app may not read, or not write.
//!
//! The two lists of rkt 1.30, and what later advisories
//! added: RAPL (GHSA-jq35-85cj-fj4p), interrupts (GHSA-6fw5-f8r9-fgfm),
//! `/proc/acpi` (CVE-2018-10892), `/proc/keys`, `/proc/scsi`; and the switches of
//! the kernel's debug messages, which ask for no capability.

/// Hidden: an empty directory or a null device lies over them.
pub const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/config.gz",
    "/proc/dynamic_debug",
    "/proc/interrupts",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/keys",
    "/proc/kmem",
    "/proc/latency_stats",
    "/proc/mem",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs",
    "/sys/hypervisor",
    "/sys/module",
    "/sys/power",
];

/// Readable only. All of `/sys` is mounted read-only, so only `/proc` here.
pub const READ_ONLY: &[&str] = &[
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];
