//! The flags that several commands share, in the groups in which they share
//! them.

use super::Flag;

/// Before or after any command.
pub const GLOBAL: &[Flag] = &[
    Flag::text("cpuprofile", "", "accepted for old scripts, does nothing").hide(),
    Flag::bool("debug", false, "say more about what happens, on stderr"),
    Flag::word(
        "dir",
        "/var/lib/rkt",
        "directory that holds images and pods; of an ordinary user ~/.local/share/rkt",
    )
    .checked(directory),
    Flag::word(
        "insecure-options",
        "none",
        "security features to switch off, separated by commas; known are \"none\", \"image\", \
         \"tls\", \"ondisk\", \"http\", \"pubkey\", \"capabilities\", \"paths\", \"seccomp\", \
         \"all-fetch\", \"all-run\", \"all\"",
    )
    .checked(insecure),
    Flag::word(
        "local-config",
        "/etc/rkt",
        "configuration of this machine's administrator",
    )
    .checked(directory),
    Flag::text("memprofile", "", "accepted for old scripts, does nothing").hide(),
    Flag::word(
        "system-config",
        "/usr/lib/rkt",
        "configuration that came with the system",
    )
    .checked(directory),
    Flag::bool(
        "trust-keys-from-https",
        false,
        "believe signing keys found over https without asking",
    ),
    Flag::word("user-config", "", "configuration of the calling user").checked(directory),
];

fn directory(value: &str) -> Result<(), String> {
    match value {
        "" => Err("\"\" is not a valid directory".to_string()),
        _ => Ok(()),
    }
}

fn insecure(value: &str) -> Result<(), String> {
    model::options::InsecureOptions::parse(value)
        .map(drop)
        .map_err(|fault| fault.to_string())
}

/// Which stage1 image: at most one of these in a call.
pub const STAGE1: &[Flag] = &[
    Flag::list(
        "stage1-from-dir",
        "take stage1 from this file in the directory of stage1 images",
    ),
    Flag::list("stage1-hash", "take stage1 from the image with this ID"),
    Flag::list("stage1-name", "take stage1 from the image with this name"),
    Flag::list("stage1-path", "take stage1 from this file"),
    Flag::list("stage1-url", "take stage1 from this URL"),
];

/// Name resolution in the pod.
pub const DNS: &[Flag] = &[
    Flag::list(
        "dns",
        "addresses of name servers for the pod; 'host' takes the host's resolv.conf, 'none' \
         ignores what the networks say",
    ),
    Flag::text("dns-domain", "", "domain line of the pod's resolv.conf"),
    Flag::list("dns-opt", "option for the pod's resolv.conf"),
    Flag::list("dns-search", "domain in which the pod searches names"),
    Flag::list(
        "hosts-entry",
        "IP=NAME pairs for the pod's /etc/hosts; 'host' takes the host's file",
    ),
];

/// How a pod is run, whether it is prepared now or was before.
pub const RUN: &[Flag] = &[
    Flag::text(
        "hostname",
        "",
        "host name of the pod; left empty it is \"rkt-$PODUUID\"",
    ),
    Flag::bool(
        "interactive",
        false,
        "connect the terminal with the pod's only app",
    ),
    Flag::text(
        "ipc",
        "",
        "whose IPC namespace the pod uses: auto, private or parent",
    ),
    Flag::bool(
        "mds-register",
        false,
        "make the pod known to the metadata service",
    ),
    Flag::word_or(
        "net",
        "default",
        "networks of the pod, separated by commas, each with its arguments if any. Syntax: \
         --net[=n[:args], ...]",
    )
    .repeated(),
    Flag::text(
        "notify-fd",
        "",
        "write a line to this descriptor when the pod is ready, then close it",
    ),
];

/// What a pod is made of.
pub const POD: &[Flag] = &[
    Flag::bool(
        "inherit-env",
        false,
        "hand on the caller's environment where apps set nothing",
    ),
    Flag::bool(
        "no-overlay",
        false,
        "copy the images instead of using overlayfs",
    ),
    Flag::text("pod-manifest", "", "run exactly the pod of this manifest"),
    Flag::list(
        "port",
        "make a port of an app reachable. Syntax: --port=NAME:[HOSTIP:]HOSTPORT",
    ),
    Flag::bool(
        "private-users",
        false,
        "give the pod a user namespace of its own",
    ),
    Flag::list(
        "set-env",
        "variable for every app, as NAME=VALUE; wins over --environment",
    ),
    Flag::list(
        "set-env-file",
        "file with one NAME=VALUE per line for every app",
    ),
    Flag::list(
        "sysctl",
        "set a setting of the pod's own namespaces (example: '--sysctl=net.core.somaxconn=256')",
    ),
    Flag::list(
        "volume",
        "storage that apps can mount. Syntax: --volume=NAME,kind=KIND,...",
    ),
];

/// Flags that follow the image they are about.
pub const APP: &[Flag] = &[
    Flag::list(
        "annotation",
        "annotate the app (example: '--annotation=foo=bar')",
    ),
    Flag::list("cap-remove", "take capabilities away").deprecated("use --caps-remove instead"),
    Flag::list("cap-retain", "keep only these capabilities")
        .deprecated("use --caps-retain instead"),
    Flag::list(
        "caps-remove",
        "take capabilities away (example: '--caps-remove=CAP_MKNOD')",
    ),
    Flag::list(
        "caps-retain",
        "keep only these capabilities (example: '--caps-retain=CAP_SYS_ADMIN')",
    ),
    Flag::list(
        "cpu",
        "bound the app's processor time (example: '--cpu=500m')",
    ),
    Flag::list(
        "cpu-shares",
        "weight against other apps (example: '--cpu-shares=2048')",
    ),
    Flag::list(
        "environment",
        "set a variable of the app (example: '--environment=foo=bar')",
    ),
    Flag::list("exec", "execute this instead of what the image says"),
    Flag::list("group", "run as this group (example: '--group=group')"),
    Flag::list(
        "memory",
        "bound the app's memory (example: '--memory=16Mi', '--memory=50M', '--memory=1G')",
    ),
    Flag::list(
        "mount",
        "show a volume at a path, in the image before it or else in all. Syntax: \
         --mount volume=VOL,target=PATH",
    ),
    Flag::list(
        "name",
        "call the app so (example: '--name=foo'), not after its image",
    ),
    Flag::list(
        "oom-score-adj",
        "how soon the kernel kills the app when memory is short",
    ),
    Flag::list(
        "readiness",
        "how the app says that it is ready: exec (it was started), notify ($NOTIFY_SOCKET) or fd:N",
    ),
    Flag::list(
        "readonly-rootfs",
        "forbid the app to write to its root filesystem (true or false)",
    ),
    Flag::list(
        "rlimit",
        "limit what each process may use (example: '--rlimit=nofile=1024:4096')",
    ),
    Flag::list(
        "seccomp",
        "replace the system call filter (example: '--seccomp \
         mode=retain,errno=EPERM,chmod,chown')",
    ),
    Flag::list(
        "supplementary-gids",
        "further group IDs (example: '--supplementary-gids=1024,2048')",
    ),
    Flag::list("user", "run as this user (example: '--user=user')"),
    Flag::list(
        "user-annotation",
        "set the app's user annotation (example: '--user-annotation=foo=bar')",
    ),
    Flag::list(
        "user-label",
        "set the app's user label (example: '--user-label=foo=bar')",
    ),
    Flag::list("working-dir", "start the app in this directory"),
];

/// Follows an image like those of `APP`; `fetch` has only this one.
pub const SIGNATURE: &[Flag] = &[Flag::list(
    "signature",
    "file with the detached signature of the image before it",
)];

/// The older spelling of the pull policy.
pub const STORE: &[Flag] = &[
    Flag::bool("no-store", false, "same as --pull-policy=update")
        .deprecated("please use --pull-policy=update"),
    Flag::bool("store-only", false, "same as --pull-policy=never")
        .deprecated("please use --pull-policy=never"),
];

/// A pod named by a file.
pub const UUID_FILE: &[Flag] = &[Flag::text(
    "uuid-file",
    "",
    "file that holds the pod's UUID, in place of an argument",
)];

/// Machine readable output.
pub const FORMAT: &[Flag] = &[Flag::word(
    "format",
    "",
    "print 'json' or 'json-pretty' instead of text",
)
.checked(format)];

/// Tables.
pub const TABLE: &[Flag] = &[
    Flag::bool("full", false, "print everything in full length"),
    Flag::bool(
        "no-legend",
        false,
        "leave out the line with the column names",
    ),
];

pub const PRETTY: &[Flag] = &[Flag::bool("pretty-print", true, "indent the document")];

fn format(value: &str) -> Result<(), String> {
    match value {
        "" | "json" | "json-pretty" => Ok(()),
        _ => Err(format!("Invalid format option: {value}")),
    }
}
