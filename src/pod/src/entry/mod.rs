//! The doors of stage1: names of its entry points, and the words that they
//! are called with. Both stages use this one description, so that what one
//! writes the other reads.
//!
//! An external stage1 gets rkt's interface (interface versions 1
//! to 6); the built-in flavours understand version 6 and our own words.

mod others;
mod words;

pub use others::{AppArgs, EnterArgs, GcArgs, StopArgs};

use model::{Fault, PodUuid, fault::Result};
use std::fmt;

use words::{Flag, Words};

/// An entry point of stage1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    Run,
    Enter,
    Gc,
    Stop,
    AppAdd,
    AppRm,
    AppStart,
    AppStop,
    Attach,
}

impl Entry {
    pub const ALL: [Entry; 9] = [
        Entry::Run,
        Entry::Enter,
        Entry::Gc,
        Entry::Stop,
        Entry::AppAdd,
        Entry::AppRm,
        Entry::AppStart,
        Entry::AppStop,
        Entry::Attach,
    ];

    /// Annotation of a stage1 image that names the executable.
    pub fn annotation(self) -> &'static str {
        match self {
            Entry::Run => "coreos.com/rkt/stage1/run",
            Entry::Enter => "coreos.com/rkt/stage1/enter",
            Entry::Gc => "coreos.com/rkt/stage1/gc",
            Entry::Stop => "coreos.com/rkt/stage1/stop",
            Entry::AppAdd => "coreos.com/rkt/stage1/app/add",
            Entry::AppRm => "coreos.com/rkt/stage1/app/rm",
            Entry::AppStart => "coreos.com/rkt/stage1/app/start",
            Entry::AppStop => "coreos.com/rkt/stage1/app/stop",
            Entry::Attach => "coreos.com/rkt/stage1/attach",
        }
    }

    /// The word after `rkt stage1` that enters a built-in flavour.
    pub fn word(self) -> &'static str {
        match self {
            Entry::Run => "run",
            Entry::Enter => "enter",
            Entry::Gc => "gc",
            Entry::Stop => "stop",
            Entry::AppAdd => "app-add",
            Entry::AppRm => "app-rm",
            Entry::AppStart => "app-start",
            Entry::AppStop => "app-stop",
            Entry::Attach => "attach",
        }
    }

    pub fn from_word(word: &str) -> Option<Entry> {
        Entry::ALL.into_iter().find(|entry| entry.word() == word)
    }

    /// The failure of a stage1 image that does not have it.
    pub fn missing(self) -> Fault {
        Fault::unsupported(format!("entrypoint {:?} not found", self.annotation()))
    }
}

/// Annotation with the interface version of a stage1 image; none means 1.
pub const INTERFACE_VERSION: &str = "coreos.com/rkt/stage1/interface-version";
/// Exit status of a built-in `gc` that could not leave a network: somebody else
/// knows of the pod still.
pub const NETWORK_STAYS: i32 = 75;
/// Environment variable with the number of the lock fd.
pub const LOCK_FD: &str = "RKT_LOCK_FD";
/// Environment variables with the SELinux labels of processes and mounts.
pub const SELINUX_CONTEXT: &str = "RKT_SELINUX_CONTEXT";
pub const SELINUX_MOUNT_CONTEXT: &str = "RKT_SELINUX_MOUNT_CONTEXT";
/// Environment variable with the token for the metadata service, of a built-in
/// flavour.
pub const MDS_TOKEN: &str = "RKT_MDS_TOKEN";
/// Environment of the app entry points and attach.
pub const ENTER_CMD: &str = "RKT_STAGE1_ENTERCMD";
pub const ENTER_PID: &str = "RKT_STAGE1_ENTERPID";

/// What a stage1 understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    pub version: u32,
    /// One of ours: also takes the words that rkt does not have.
    pub builtin: bool,
}

impl Interface {
    pub const BUILTIN: Interface = Interface {
        version: 6,
        builtin: true,
    };

    /// An external stage1 image of this interface version.
    pub fn external(version: u32) -> Interface {
        Interface {
            version,
            builtin: false,
        }
    }
}

/// Where `/etc/resolv.conf` or `/etc/hosts` of the apps comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DnsMode {
    /// From the host.
    Host,
    /// From the flags of `rkt run`.
    Stage0,
    /// Not touched; only resolv.conf.
    None,
    #[default]
    Default,
}

impl DnsMode {
    fn word(self) -> &'static str {
        match self {
            DnsMode::Host => "host",
            DnsMode::Stage0 => "stage0",
            DnsMode::None => "none",
            DnsMode::Default => "default",
        }
    }

    fn parse(word: &str) -> Option<DnsMode> {
        [
            DnsMode::Host,
            DnsMode::Stage0,
            DnsMode::None,
            DnsMode::Default,
        ]
        .into_iter()
        .find(|mode| mode.word() == word)
    }
}

impl fmt::Display for DnsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpcMode {
    Auto,
    Private,
    Parent,
}

impl IpcMode {
    pub fn parse(word: &str) -> Result<IpcMode> {
        match word {
            "auto" => Ok(IpcMode::Auto),
            "private" => Ok(IpcMode::Private),
            "parent" => Ok(IpcMode::Parent),
            _ => Err(Fault::usage(format!(
                "unknown value for --ipc parameter: {word}"
            ))),
        }
    }
}

impl fmt::Display for IpcMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IpcMode::Auto => "auto",
            IpcMode::Private => "private",
            IpcMode::Parent => "parent",
        })
    }
}

/// Words of `run`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunArgs {
    pub debug: bool,
    /// Value of `--net`, e.g. `default` or `none`; never empty.
    pub net: String,
    pub interactive: bool,
    /// Shift and count of the user namespace.
    pub private_users: Option<(u32, u32)>,
    /// 32 hex digits.
    pub mds_token: Option<String>,
    pub local_config: Option<String>,
    pub hostname: Option<String>,
    pub resolv_conf: DnsMode,
    /// Never [`DnsMode::None`].
    pub hosts: DnsMode,
    pub disable_capabilities: bool,
    pub disable_paths: bool,
    pub disable_seccomp: bool,
    pub mutable: bool,
    pub ipc: Option<IpcMode>,
    /// Ours: return once the pod is up.
    pub detach: bool,
    /// Ours: remove the pod when it has ended.
    pub rm: bool,
    /// Ours: the inherited descriptor that is told when the pod is ready.
    pub notify_fd: Option<i32>,
    pub uuid: PodUuid,
}

impl RunArgs {
    /// Nothing but defaults.
    pub fn new(uuid: PodUuid) -> RunArgs {
        RunArgs {
            debug: false,
            net: "default".to_string(),
            interactive: false,
            private_users: None,
            mds_token: None,
            local_config: None,
            hostname: None,
            resolv_conf: DnsMode::Default,
            hosts: DnsMode::Default,
            disable_capabilities: false,
            disable_paths: false,
            disable_seccomp: false,
            mutable: false,
            ipc: None,
            detach: false,
            rm: false,
            notify_fd: None,
            uuid,
        }
    }

    /// The words after the executable, in rkt's order, and a warning for each
    /// wish that this stage1 does not know of.
    pub fn to_words(&self, to: Interface) -> (Vec<String>, Vec<&'static str>) {
        let mut words = Vec::new();
        let mut warnings = Vec::new();
        let mut flag = |set: bool, word: &str| {
            if set {
                words.push(word.to_string());
            }
        };
        flag(self.debug, "--debug");
        flag(true, &format!("--net={}", self.net));
        flag(self.interactive, "--interactive");
        if let Some((shift, count)) = self.private_users {
            flag(true, &format!("--private-users={shift}:{count}"));
        }
        if let Some(token) = &self.mds_token {
            // Everybody may read a command line: ours takes it from MDS_TOKEN.
            flag(!to.builtin, &format!("--mds-token={token}"));
        }
        if let Some(dir) = &self.local_config {
            flag(true, &format!("--local-config={dir}"));
        }
        if let Some(hostname) = &self.hostname {
            flag(to.version > 1, &format!("--hostname={hostname}"));
            if to.version <= 1 {
                warnings.push("warning: --hostname option is not supported by stage1");
            }
        }
        if (self.resolv_conf, self.hosts) != (DnsMode::Default, DnsMode::Default) {
            let (resolv, hosts) = (self.resolv_conf.word(), self.hosts.word());
            flag(
                to.version > 3,
                &format!("--dns-conf-mode=resolv={resolv},hosts={hosts}"),
            );
            if to.version <= 3 {
                warnings.push("warning: --dns-conf-mode option not supported by stage1");
            }
        }
        let can_disable = to.version > 2;
        flag(
            self.disable_capabilities && can_disable,
            "--disable-capabilities-restriction",
        );
        flag(self.disable_paths && can_disable, "--disable-paths");
        flag(self.disable_seccomp && can_disable, "--disable-seccomp");
        flag(self.mutable, "--mutable");
        if let Some(ipc) = self.ipc {
            flag(to.version >= 6, &format!("--ipc={ipc}"));
            if to.version < 6 {
                warnings.push("warning: --ipc option is not supported by stage1");
            }
        }
        flag(self.detach && to.builtin, "--detach");
        flag(self.rm && to.builtin, "--rm");
        if let Some(number) = self.notify_fd.filter(|_| to.builtin) {
            flag(true, &format!("--notify-fd={number}"));
        }
        words.push(self.uuid.as_str().to_string());
        (words, warnings)
    }

    /// Reads the words after the executable.
    pub fn parse<S: AsRef<str>>(words: &[S]) -> Result<RunArgs> {
        let mut words = Words::new(words);
        // The UUID stands last, so the flags wait for it.
        let mut seen: Vec<Flag<'_>> = Vec::new();
        while let Some(flag) = words.flag()? {
            seen.push(flag);
        }
        let mut args = RunArgs::new(words.uuid()?);
        for flag in seen {
            match flag.name {
                "debug" => args.debug = flag.bool()?,
                "net" => {
                    let value = flag.value()?;
                    args.net = if value.is_empty() { "default" } else { value }.to_string();
                }
                "interactive" => args.interactive = flag.bool()?,
                "private-users" => args.private_users = parse_range(&flag)?,
                "mds-token" => args.mds_token = flag.text()?,
                "local-config" => args.local_config = flag.text()?,
                "hostname" => args.hostname = flag.text()?,
                "dns-conf-mode" => (args.resolv_conf, args.hosts) = parse_dns(&flag)?,
                "disable-capabilities-restriction" => args.disable_capabilities = flag.bool()?,
                "disable-paths" => args.disable_paths = flag.bool()?,
                "disable-seccomp" => args.disable_seccomp = flag.bool()?,
                "mutable" => args.mutable = flag.bool()?,
                "ipc" => {
                    args.ipc = flag.text()?.map(|word| IpcMode::parse(&word)).transpose()?;
                }
                "detach" => args.detach = flag.bool()?,
                "rm" => args.rm = flag.bool()?,
                "notify-fd" => {
                    let number = flag.value()?.parse().ok().filter(|number| *number > 2);
                    args.notify_fd = Some(number.ok_or_else(|| flag.bad("expected a number"))?);
                }
                _ => return Err(flag.unknown()),
            }
        }
        Ok(args)
    }
}

fn parse_range(flag: &Flag<'_>) -> Result<Option<(u32, u32)>> {
    let value = flag.value()?;
    if value.is_empty() {
        return Ok(None);
    }
    let range = value.split_once(':').and_then(|(shift, count)| {
        let (shift, count): (u32, u32) = (shift.parse().ok()?, count.parse().ok()?);
        shift.checked_add(count).map(|_| (shift, count))
    });
    range
        .map(Some)
        .ok_or_else(|| flag.bad("expected SHIFT:COUNT"))
}

fn parse_dns(flag: &Flag<'_>) -> Result<(DnsMode, DnsMode)> {
    let (mut resolv, mut hosts) = (DnsMode::Default, DnsMode::Default);
    for pair in flag.value()?.split(',').filter(|pair| !pair.is_empty()) {
        let mode = |word| DnsMode::parse(word).ok_or_else(|| flag.bad("unknown mode"));
        match pair.split_once('=') {
            Some(("resolv", word)) => resolv = mode(word)?,
            Some(("hosts", word)) if word != "none" => hosts = mode(word)?,
            _ => return Err(flag.bad("expected resolv=MODE,hosts=MODE")),
        }
    }
    Ok((resolv, hosts))
}

#[cfg(test)]
mod tests;
