//! fly: one app in a chroot, with the host's processes, network and devices.
//!
//! No namespaces of its own but one: its mounts. So when it ends the kernel
//! takes them away, where rkt's fly left them on the host for gc. A parent
//! waits: it holds the pod's lock, which the app never does, and no directory
//! fd is open in the app, since it could walk out of its chroot through one.

use std::os::fd::{AsFd, OwnedFd};

use model::isolator::{APPARMOR, RLIMITS, SELINUX};
use model::options::Readiness;
use model::{AcName, App, Fault, VolumeKind, fault::Result};
use pod::entry::{EnterArgs, RunArgs, StopArgs};
use pod::layout;
use pod::rootfs::Rootfs;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::Pid;
use sys::clone::{Forked, Namespaces, fork_into};
use sys::fs::InRoot;
use sys::mount::{self, Flags};
use sys::process::{self, Ended};
use sys::signal::{self, Signals};
use sys::{creds, ns};

use crate::apply::{app_root, building, building_rx, label, rootfs};
use crate::child::{identity, program, step_into, texts};
use crate::load::{self, Loaded};
use crate::outer::network::metadata_url;
use crate::plan::{self, AppPlan, MountLabel};
use crate::say;
use crate::starter::Starter;

/// The app in the pod in the current directory; its exit status. What goes
/// wrong is told in the name of `run`, as ever with fly.
pub fn run(args: &RunArgs, lock: OwnedFd, starter: Starter) -> Result<i32> {
    run_app(args, lock, starter).or_else(|fault| Ok(say::fault("run", &fault)))
}

fn run_app(args: &RunArgs, lock: OwnedFd, starter: Starter) -> Result<i32> {
    if args.private_users.is_some() || args.mutable || args.ipc.is_some() {
        return Err(
            Fault::usage("--private-users, --mutable and --ipc are unknown to stage1 fly").exit(2),
        );
    }
    if args.hostname.is_some() {
        crate::say::out(format_args!("Warning: -hostname not supported; ignoring"));
    }
    if args.detach {
        return Err(
            Fault::unsupported("--detach is not available with stage1 fly")
                .hint("start it in the background of your shell or service manager"),
        );
    }
    if starter.has_sockets() {
        return Err(
            Fault::unsupported("LISTEN_FDS: stage1 fly hands no sockets to its app")
                .hint("use the container stage1, or unset LISTEN_FDS"),
        );
    }
    let signals = Signals::take(&[
        signal::CHLD,
        signal::TERM,
        signal::HUP,
        signal::INT,
        signal::QUIT,
    ])
    .map_err(|err| Fault::io("cannot read", "signals", err))?;
    let loaded = load::load()?;
    let fly = Fly::decide(args, &loaded)?;
    fly.write_env(&loaded)?;
    let (report, reporter) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|err| Fault::io("cannot make", "a pipe", err))?;
    match fork_into(Namespaces::MOUNT, None)
        .map_err(|err| Fault::io("cannot fork", "the app", err))?
    {
        Forked::Child => {
            drop((report, lock, starter));
            fly.become_app(reporter)
        }
        Forked::Parent(pid) => {
            drop(reporter);
            // None: its leader lives outside this pid namespace and has no number here.
            if let Some(group) = process::group() {
                load::write(&loaded.dir, layout::PGID, format!("{group}\n").as_bytes())?;
            }
            load::write(&loaded.dir, layout::PID, format!("{pid}\n").as_bytes())?;
            follow(pid, &report, &signals, starter, args.uuid.as_str())
        }
    }
}

/// Waits for the app; `^C` on a terminal reaches it without us.
fn follow(
    pid: i32,
    report: &OwnedFd,
    signals: &Signals,
    mut starter: Starter,
    uuid: &str,
) -> Result<i32> {
    let mut bytes = [0; 4096];
    let length = rustix::io::retry_on_intr(|| rustix::io::read(report, &mut bytes)).unwrap_or(0);
    if length == 0 {
        starter.ready(uuid, None);
    }
    loop {
        let mut fds = [rustix::event::PollFd::new(
            signals,
            rustix::event::PollFlags::IN,
        )];
        // EINTR: go round.
        let _ = rustix::event::poll(&mut fds, None);
        while let Some(received) = signals.next() {
            match received.signal {
                signal::CHLD => {
                    let mut app = None;
                    while let Some((child, ended)) = process::reap_any() {
                        app = app.or((child == pid).then_some(ended));
                    }
                    match app {
                        Some(_) if length > 0 => {
                            let text = String::from_utf8_lossy(&bytes[..length]);
                            crate::say::err(format_args!("run: {text}"));
                            return Ok(254);
                        }
                        Some(Ended::Exited(status)) => return Ok(status),
                        Some(Ended::Signalled(number)) => return Ok(128 + number),
                        None => {}
                    }
                }
                // The terminal sends these to the app itself.
                signal::INT | signal::QUIT if received.sender == 0 => {}
                number => {
                    starter.stopping();
                    drop(signal::send(pid, number));
                }
            }
        }
    }
}

/// What is mounted where, decided before the fork.
struct Fly<'a> {
    app: AppPlan,
    rootfs: &'a Rootfs,
    volumes: Vec<(String, String, bool, bool)>,
    resolv_conf: Option<String>,
    hosts: Option<String>,
    hosts_from_host: bool,
    resolv_from_host: bool,
    /// Without it the app would run in a pod that counts as exited.
    parent: Pid,
}

impl<'a> Fly<'a> {
    fn decide(args: &RunArgs, loaded: &'a Loaded) -> Result<Fly<'a>> {
        let ([runtime], [spec]) = (&loaded.manifest.apps[..], &loaded.apps[..]) else {
            return Err(Fault::unsupported(
                "fly only supports 1 application per Pod for now",
            ));
        };
        if Readiness::of(&runtime.annotations, &[])? != Readiness::Exec {
            return Err(Fault::unsupported(
                "--readiness: a fly pod is ready when its app was started",
            )
            .hint("use the container stage1, or --readiness=exec"));
        }
        let app = runtime.app.as_ref().or(spec.image.app.as_ref());
        let app = app.filter(|app| !app.exec.is_empty()).ok_or_else(|| {
            let image = spec.image.name.as_str();
            Fault::invalid(format!(
                "image \"{image}\" has an empty \"exec\" (try --exec=BINARY)"
            ))
        })?;
        let of_pod = loaded.manifest.isolators.iter();
        let of_pod = of_pod
            .map(|isolator| isolator.name.as_str())
            .filter(|name| ![SELINUX, APPARMOR].contains(name));
        for wish in unbounded(app, runtime.read_only_rootfs)
            .into_iter()
            .chain(of_pod)
        {
            crate::say::err(format_args!(
                "run: warning: {wish} not supported by stage1 fly; ignoring"
            ));
        }
        let etc = load::etc_files(loaded.dir.as_fd(), args, "")?;
        use pod::entry::DnsMode;
        let mut app_plan = plan::unconfined(runtime.name.as_str(), app, spec);
        app_plan.label = plan::lsm::explicit(&loaded.manifest.isolators, app)?;
        label::check_label(&app_plan.label)?;
        app_plan.mount_label =
            MountLabel(loaded.labels.as_ref().map(|labels| labels.mount.clone()));
        if let Some(token) = &args.mds_token {
            app_plan.tell_metadata_url(&metadata_url(&"127.0.0.1", token));
        }
        Ok(Fly {
            app: app_plan,
            rootfs: &spec.rootfs,
            volumes: volumes(loaded, app)?,
            resolv_from_host: args.resolv_conf == DnsMode::Host,
            resolv_conf: etc.resolv_conf,
            hosts_from_host: args.hosts == DnsMode::Host,
            hosts: etc.hosts,
            parent: rustix::process::getpid(),
        })
    }

    /// `S/rkt/env/<app>`, which enter reads.
    fn write_env(&self, loaded: &Loaded) -> Result<()> {
        let mut at = String::from(layout::STAGE1_ROOTFS);
        for part in layout::ENV.split('/') {
            at = format!("{at}/{part}");
            match rustix::fs::mkdirat(&loaded.dir, at.as_str(), Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(err) => return Err(Fault::io("mkdir", at, err)),
            }
        }
        let name = AcName::new(&self.app.name)?;
        let text: String = self
            .app
            .env
            .iter()
            .map(|(key, value)| format!("{key}={value}\n"))
            .collect();
        load::write(&loaded.dir, &layout::env(&name), text.as_bytes())
    }

    /// In the child, in a mount namespace of its own.
    fn become_app(&self, reporter: OwnedFd) -> ! {
        let told = |fault: &Fault, reporter: &OwnedFd| -> ! {
            let _ = rustix::io::write(reporter, fault.to_string().as_bytes());
            process::exit_now(254)
        };
        if let Err(fault) = self.build() {
            told(&fault, &reporter);
        }
        // No directory of the host may be open in a chroot.
        let Ok(reporter) = process::close_all_but(reporter) else {
            process::exit_now(254)
        };
        match self.execute() {
            Ok(fault) | Err(fault) => told(&fault, &reporter),
        }
    }

    fn build(&self) -> Result<()> {
        mount::propagation("/", Flags::SLAVE).map_err(building("mount propagation"))?;
        let target = format!(
            "{}/opt/stage2/{}/rootfs",
            layout::STAGE1_ROOTFS,
            self.app.name
        );
        rootfs::enter_fly(&self.app, self.rootfs, &target)?;
        let root = InRoot::at(".").map_err(building(&target))?;
        for name in ["/dev", "/proc", "/sys"] {
            app_root::attach_at(&root, open(name)?, name, true, false)?;
        }
        let tmp = root
            .mkdir_all("tmp", Mode::from_raw_mode(0o1777))
            .map_err(building("/tmp"))?;
        let through = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&tmp));
        mount::mount("tmpfs", through, "tmpfs", Flags::NONE, "mode=1777")
            .map_err(building("/tmp"))?;
        for (source, target, recursive, read_only) in &self.volumes {
            let source = open(source)
                .map_err(|fault| fault.message(format!("stat of host path {source}")))?;
            app_root::attach_at(&root, source, target, *recursive, *read_only)?;
        }
        self.etc(&root)
    }

    fn etc(&self, root: &InRoot) -> Result<()> {
        for (path, from_host, content) in [
            ("/etc/resolv.conf", self.resolv_from_host, &self.resolv_conf),
            ("/etc/hosts", self.hosts_from_host, &self.hosts),
        ] {
            if from_host && content.is_some() {
                app_root::attach_at(root, open(path)?, path, false, false)?;
            } else if let Some(content) = content {
                replace(root, path, content)?;
            }
        }
        if self.hosts.is_none() && root.open("etc/hosts", OFlags::PATH, Mode::empty()).is_err() {
            replace(root, "/etc/hosts", "127.0.0.1 localhost localdomain\n")?;
        }
        Ok(())
    }

    fn execute(&self) -> Result<Fault> {
        rustix::process::chroot(".").map_err(building_rx("the app's root (chroot)"))?;
        mount::chdir("/").map_err(building("the app's root"))?;
        execute(
            &self.app,
            &self.app.exec,
            "can't execute",
            Some(self.parent),
        )
    }
}

/// The app's identity, then its program: no capability is taken from root, as
/// ever with fly.
fn execute(
    app: &AppPlan,
    words: &[String],
    verb: &'static str,
    parent: Option<Pid>,
) -> Result<Fault> {
    signal::reset();
    let identity = identity::resolve(app).map_err(|fault| {
        Fault::not_found(fault.cause).message("failed to lookup process credentials")
    })?;
    // While this is root, a link of procfs would lead out of the chroot.
    step_into(&app.working_directory).map_err(|failure| Fault::not_found(failure.text()))?;
    label::at_exec(&app.label)?;
    let program = program::find(&words[0], app)?;
    let argv = texts(words.iter().cloned())?;
    let env = texts(
        app.env
            .iter()
            .map(|(name, value)| format!("{name}={value}")),
    )?;
    let path = texts(std::iter::once(program.clone()))?.remove(0);
    let mut groups = vec![identity.gid];
    groups.extend(identity.groups.iter().filter(|gid| **gid != identity.gid));
    creds::set_groups(identity.gid, &groups).map_err(building("groups"))?;
    creds::set_user(identity.uid).map_err(building("the user"))?;
    if let Some(parent) = parent {
        // After the change of user, which would clear it.
        creds::die_with_parent(signal::KILL).map_err(building("the parent's watch"))?;
        if rustix::process::getppid() != Some(parent) {
            return Err(Fault::conflict("rkt was killed"));
        }
    }
    let err = process::exec(&path, &argv, &env);
    Ok(Fault::io(verb, format!("\"{program}\""), err))
}

/// A command in the root of a fly app, as its user and with its environment.
pub fn enter(args: &EnterArgs) -> Result<i32> {
    enter_app(args).or_else(|fault| Ok(say::fault("fly-enter", &fault)))
}

fn enter_app(args: &EnterArgs) -> Result<i32> {
    let loaded = load::load()?;
    let name = args.app.as_str();
    let ([runtime], [spec]) = (&loaded.manifest.apps[..], &loaded.apps[..]) else {
        return Err(Fault::unsupported(
            "fly only supports 1 application per Pod for now",
        ));
    };
    let here = std::env::current_dir().unwrap_or_default();
    let path = here.join(layout::env(&args.app));
    let bytes = load::read(loaded.dir.as_fd(), &path.to_string_lossy())
        .map_err(|fault| fault.message("Failed to read app env"))?;
    let app = runtime.app.as_ref().or(spec.image.app.as_ref());
    let app = app.ok_or_else(|| Fault::not_found(format!("nonexistent app \"{name}\"")))?;
    let mut plan = plan::unconfined(name, app, spec);
    plan.label = plan::lsm::explicit(&loaded.manifest.isolators, app)?;
    plan.env = String::from_utf8_lossy(&bytes)
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect();
    plan.working_directory = "/".to_string();
    let root = open(&format!("/proc/{}/root", args.pid))?;
    let mounts = rustix::fs::open(
        format!("/proc/{}/ns/mnt", args.pid),
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|err| Fault::io("open", "the app's mounts", err))?;
    ns::set(mounts.as_fd(), Namespaces::MOUNT).map_err(building("the app's mounts"))?;
    rustix::process::fchdir(&root).map_err(building_rx("the app's root"))?;
    rustix::process::chroot(".").map_err(building_rx("the app's root (chroot)"))?;
    // Nothing of the host may be open while paths of the app are walked.
    let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|err| Fault::io("open", "/dev/null", err))?;
    drop((loaded, root, mounts));
    let _null = process::close_all_but(null).map_err(building("open files"))?;
    let failure = execute(&plan, &args.command, "exec", None)?;
    let cause = failure
        .cause
        .rsplit(": ")
        .next()
        .unwrap_or_default()
        .to_string();
    Err(Fault::not_found(cause).message("exec failed"))
}

/// Ends the app, or when that is gone already, what else is of its process
/// group.
pub fn stop(args: &StopArgs) -> Result<i32> {
    let number = if args.force {
        signal::KILL
    } else {
        signal::TERM
    };
    let pid = number_in(layout::PID).map_err(|fault| fault.message("error reading pid"))?;
    match signal::send(pid, number) {
        Err(err) if err.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {}
        sent => {
            return sent
                .map(|()| 0)
                .map_err(|err| Fault::io("error stopping process", pid, err));
        }
    }
    let group = match number_in(layout::PGID) {
        // It had none here, see `run`.
        Err(fault) if fault.errno() == Some(rustix::io::Errno::NOENT.raw_os_error()) => {
            return Ok(0);
        }
        other => other.map_err(|fault| fault.message("error reading pgid"))?,
    };
    // Started from a script, the group is the script's, and maybe ours.
    if process::group() == Some(group) {
        return Ok(0);
    }
    match signal::send(-group, number) {
        Err(err) if err.raw_os_error() != Some(rustix::io::Errno::SRCH.raw_os_error()) => {
            Err(Fault::io("error stopping process group", group, err))
        }
        _ => Ok(0),
    }
}

/// A pid or group in a file of the pod; never one that stands for others.
fn number_in(name: &str) -> Result<i32> {
    let text = std::fs::read_to_string(name).map_err(|err| Fault::io("open", name, err))?;
    let number = text.trim().parse::<i32>().ok().filter(|number| *number > 1);
    number.ok_or_else(|| Fault::corrupt(format!("\"{}\" is no number of a process", text.trim())))
}

/// Bounds that a user could rely on and does not get, as ever with fly.
fn unbounded(app: &App, read_only_rootfs: bool) -> Vec<&str> {
    let names = app.isolators.iter().map(|isolator| isolator.name.as_str());
    let resources = names.filter(|name| name.starts_with("resource/") || *name == RLIMITS);
    let root = read_only_rootfs.then_some("--readonly-rootfs");
    resources.chain(root).collect()
}

/// Volumes join by name; what fly cannot do is an error, never left out.
fn volumes(loaded: &Loaded, app: &App) -> Result<Vec<(String, String, bool, bool)>> {
    let runtime = &loaded.manifest.apps[0];
    let find = |name: &AcName| {
        loaded
            .manifest
            .volumes
            .iter()
            .find(|volume| volume.name == *name)
    };
    let mut wanted: Vec<(AcName, String, bool)> = Vec::new();
    for mount in &runtime.mounts {
        if wanted.iter().any(|(name, ..)| *name == mount.volume) {
            return Err(Fault::invalid(format!(
                "duplicate mount given: \"{}\"",
                mount.volume
            )));
        }
        let point = app
            .mount_points
            .iter()
            .find(|point| point.name == mount.volume);
        if point.is_some_and(|point| point.path != mount.path) {
            return Err(Fault::invalid(format!(
                "conflicting path information from mount and mountpoint \"{}\"",
                mount.volume
            )));
        }
        wanted.push((
            mount.volume.clone(),
            mount.path.clone(),
            point.is_some_and(|point| point.read_only),
        ));
    }
    for point in &app.mount_points {
        if wanted.iter().all(|(name, ..)| *name != point.name) {
            wanted.push((point.name.clone(), point.path.clone(), point.read_only));
        }
    }
    let mut volumes = Vec::with_capacity(wanted.len());
    for (name, target, read_only) in wanted {
        let missing = || Fault::invalid(format!("missing volume for mountpoint \"{name}\""));
        let volume = find(&name).ok_or_else(missing)?;
        let VolumeKind::Host { source } = &volume.kind else {
            // What its mount would have come to.
            let root = layout::app_rootfs(&runtime.name);
            let flags = if volume.recursive == Some(true) {
                20480
            } else {
                4096
            };
            return Err(Fault::unsupported("invalid argument")
                .message(format!(
                    "can't mount \"\" on \"{root}{target}\" with flags {flags}"
                ))
                .hint("fly makes no empty volumes: use kind=host"));
        };
        let recursive = volume.recursive.unwrap_or(false);
        volumes.push((
            source.clone(),
            target,
            recursive,
            volume.read_only.unwrap_or(read_only),
        ));
    }
    volumes.sort_by_key(|(_, target, ..)| target.matches('/').count());
    Ok(volumes)
}

fn open(path: &str) -> Result<OwnedFd> {
    rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|err| Fault::io("stat", path, err))
}

/// Writes a file of the app's root anew, whatever the image has there.
fn replace(root: &InRoot, path: &str, content: &str) -> Result<()> {
    let (directory, _) = path
        .trim_start_matches('/')
        .rsplit_once('/')
        .unwrap_or_default();
    root.mkdir_all(directory, Mode::from_raw_mode(0o755))
        .map_err(building(path))?;
    let (parent, name) = root.parent(path).map_err(building(path))?;
    let _ = rustix::fs::unlinkat(&parent, &name, rustix::fs::AtFlags::empty());
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&parent, &name, flags, Mode::from_raw_mode(0o644))
        .map_err(building_rx(path))?;
    rustix::io::write(&file, content.as_bytes()).map_err(building_rx(path))?;
    Ok(())
}
