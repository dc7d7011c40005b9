//! `run`: prepares a pod and becomes its stage1.
//!
//! The process is replaced: the exit status is stage1's, and the lock on the
//! pod directory goes along with its fd. Everything that can be refused is
//! refused before a pod exists.

use crate::entrypoint::Stage1;
use crate::env::Env;
use crate::etc;
use crate::metadata::client;
use crate::net::Net;
use crate::prepare::{Checked, PrepareRequest, make_dirs};
use crate::stage1_image::{Flavor, Selected};
use model::Fault;
use model::fault::Result;
use model::options::{DnsOptions, HostsMode, ResolvMode};
use pod::entry::{DnsMode, Entry, IpcMode, LOCK_FD, MDS_TOKEN, RunArgs};
use pod::entry::{SELINUX_CONTEXT, SELINUX_MOUNT_CONTEXT};
use pod::{Pod, layout};
use std::os::fd::AsFd;

/// What `run` and `run-prepared` were asked for beyond the pod itself.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// The words of all `--net` flags; empty when there is none.
    pub net: Vec<String>,
    pub interactive: bool,
    /// `--hostname`; empty means `rkt-<uuid>`.
    pub hostname: String,
    pub dns: DnsOptions,
    /// `--ipc`; empty means auto.
    pub ipc: String,
    pub mds_register: bool,
    /// Return once the pod is up.
    pub detach: bool,
    /// Remove the pod when it has ended.
    pub rm: bool,
    /// The caller's descriptor that is told when the pod is ready.
    pub notify_fd: Option<i32>,
}

/// `--notify-fd`: a descriptor that the caller has left open for us. What rkt opens itself is
/// closed at exec, which tells the two apart.
pub fn notify_fd(word: &str) -> Result<i32> {
    let number: Option<i32> = word.parse().ok().filter(|number| *number > 2);
    let number = number.ok_or_else(|| {
        Fault::usage(format!("invalid --notify-fd {word:?}")).hint("give a number above 2")
    })?;
    match sys::process::is_inherited(number) {
        true => Ok(number),
        false => Err(
            Fault::usage(format!("--notify-fd={number}: no such descriptor is open")).hint(
                format!("in a shell: rkt run --notify-fd={number} ... {number}>FILE"),
            ),
        ),
    }
}

#[derive(Clone, Debug, Default)]
pub struct RunRequest {
    pub prepare: PrepareRequest,
    pub options: RunOptions,
}

/// Returns only with a failure.
pub fn run(env: &Env, request: &RunRequest) -> Fault {
    match try_run(env, request) {
        Ok(fault) | Err(fault) => fault,
    }
}

fn try_run(env: &Env, request: &RunRequest) -> Result<Fault> {
    let checked = Checked::of(env, &request.prepare)?;
    if request.options.interactive && request.prepare.pod.apps.len() > 1 {
        return Err(Fault::usage("interactive option only supports one image"));
    }
    let settings = Settings::for_stage1(&request.options, flavor_of(&checked.stage1))?;
    if !request.prepare.pod.ports.is_empty() && !matches!(settings.net, Net::Named(_)) {
        let net = settings.net.word();
        return Err(Fault::usage(format!(
            "--port flag does not work with '{net}' networking"
        )));
    }
    if request.options.mds_register {
        client::check_available()?;
    }
    let found = checked.find_images()?;
    let (pod, manifest) = checked.make(found)?;
    if manifest.apps.is_empty() && !request.prepare.pod.mutable {
        return Err(Fault::invalid("pod must contain at least one application"));
    }
    let stage1 = Stage1::of(env, &pod)?;
    crate::selinux::label(&env.dir, &pod)?;
    start(env, pod, &request.options, &settings, &stage1)
}

fn flavor_of(stage1: &Selected) -> Option<Flavor> {
    match stage1 {
        Selected::BuiltIn(flavor) => Some(*flavor),
        Selected::Image(_) => None,
    }
}

/// Options that were understood.
pub(crate) struct Settings {
    net: Net,
    ipc: Option<IpcMode>,
}

impl Settings {
    pub(crate) fn of(options: &RunOptions, stage1: &Stage1) -> Result<Settings> {
        let flavor = match stage1 {
            Stage1::BuiltIn(flavor) => Some(*flavor),
            Stage1::Image(_) => None,
        };
        Settings::for_stage1(options, flavor)
    }

    /// `None` is a stage1 image.
    fn for_stage1(options: &RunOptions, flavor: Option<Flavor>) -> Result<Settings> {
        let net = Net::parse(&options.net)?;
        if flavor != Some(Flavor::Native) && options.detach {
            return Err(Fault::unsupported(
                "--detach works with the built-in container stage1 only",
            )
            .hint("start it in the background of your shell or service manager"));
        }
        if flavor == Some(Flavor::Native) && matches!(net, Net::Named(_)) && !cfg!(feature = "net")
        {
            return Err(
                Fault::unsupported("this build of rkt has no networks for pods")
                    .hint("--net=host shares the host's network, --net=none gives loopback only"),
            );
        }
        if flavor == Some(Flavor::Native) {
            net.check_without_links(options.mds_register)?;
        }
        if flavor.is_none() && options.notify_fd.is_some() {
            return Err(
                Fault::unsupported("--notify-fd works with the built-in stage1 only")
                    .hint("rkt status --wait-ready waits for the pod"),
            );
        }
        if flavor.is_none() && options.rm {
            return Err(
                Fault::unsupported("--rm works with the built-in stage1 only")
                    .hint("rkt rm or rkt gc removes the pod when it has ended"),
            );
        }
        if options.mds_register && net == Net::None {
            return Err(Fault::usage(
                "--mds-register flag does not work with --net=none. Please use 'host', \
                 'default' or an equivalent network",
            ));
        }
        let ipc = match options.ipc.as_str() {
            "" => None,
            word => Some(IpcMode::parse(word)?),
        };
        Ok(Settings { net, ipc })
    }
}

/// Moves the pod to `run` and becomes its stage1.
pub(crate) fn start(
    env: &Env,
    mut pod: Pod,
    options: &RunOptions,
    settings: &Settings,
    stage1: &Stage1,
) -> Result<Fault> {
    pod.to_run()?;
    // The files of an ordinary user are that user's alone.
    if !sys::userns::confined() && crate::group::lookup("rkt").is_none() {
        env.note(
            "",
            "group \"rkt\" not found, will use default gid when rendering images",
        );
    }
    match stage1 {
        Stage1::BuiltIn(_) => {
            let root = make_dirs(&pod, layout::STAGE1_ROOTFS)?;
            etc::write(root.as_fd(), &options.dns)?;
        }
        Stage1::Image(legacy) => {
            let root = legacy.set_up(env, &pod)?;
            etc::write_beside_image(root.as_fd(), &options.dns)?;
        }
    }
    let mut args = run_args(env, &pod, options, settings)?;
    if options.mds_register {
        args.mds_token = Some(client::register(&pod)?);
    }
    let (words, warnings) = args.to_words(stage1.interface());
    for warning in warnings {
        env.note("", warning);
    }
    crate::doctor::tell_own_binary(env);
    env.debug_note(
        "stage0",
        &format!("execing [stage1 run {}]", words.join(" ")),
    );
    let lock = pod.pass_lock()?;
    let token = args.mds_token.clone().unwrap_or_default();
    let labels = pod.labels()?;
    let (process, mount) = labels.map_or_else(Default::default, |labels| {
        (labels.process.to_string(), labels.mount.to_string())
    });
    let extra = [
        (MDS_TOKEN, token),
        (LOCK_FD, lock.to_string()),
        (SELINUX_CONTEXT, process),
        (SELINUX_MOUNT_CONTEXT, mount),
    ];
    Ok(stage1.become_it(&pod, Entry::Run, &words, &extra))
}

fn run_args(env: &Env, pod: &Pod, options: &RunOptions, settings: &Settings) -> Result<RunArgs> {
    let mut args = RunArgs::new(pod.uuid().clone());
    args.debug = env.debug;
    args.net = settings.net.word().to_string();
    args.interactive = options.interactive;
    args.private_users = pod.private_users()?;
    args.local_config = Some(env.local_config.display().to_string());
    args.hostname = Some(options.hostname.clone()).filter(|name| !name.is_empty());
    args.resolv_conf = match options.dns.resolv {
        ResolvMode::Default => DnsMode::Default,
        ResolvMode::None => DnsMode::None,
        ResolvMode::Host => DnsMode::Host,
        ResolvMode::Stage0 => DnsMode::Stage0,
    };
    args.hosts = match options.dns.hosts {
        HostsMode::Default => DnsMode::Default,
        HostsMode::Host => DnsMode::Host,
        HostsMode::Stage0 => DnsMode::Stage0,
    };
    args.disable_capabilities = env.insecure.skip_capabilities();
    args.disable_paths = env.insecure.skip_paths();
    args.disable_seccomp = env.insecure.skip_seccomp();
    args.ipc = settings.ipc;
    args.detach = options.detach;
    args.rm = options.rm;
    args.notify_fd = options.notify_fd;
    Ok(args)
}
