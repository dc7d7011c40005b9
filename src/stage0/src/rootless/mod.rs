//! The way of an ordinary user into rkt: the whole process moves into a user
//! namespace where it is root, and goes on as ever.
//!
//! Whose data directory it is decides ([`Standing`]): root needs nothing of
//! this over its own, and becomes the owner of another's first ([`become_owner`]);
//! the owner enters, and anybody else may look at images, and fetch as a member of
//! the directory's group. Entering has to come before any thread and
//! before any fd of a directory that something will be mounted on.
//!
//! From then on the effective uid is 0. Who has to act differently in there asks
//! `sys::userns::confined` or `can_give_files_away`.

mod account;
mod join;
mod maps;
mod owner;
mod places;
mod probe;
mod ranges;
mod refusal;

use crate::env::Env;
use maps::{Mapper, Plan};
use model::fault::{Kind, Result};
use model::{Context, Fault};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use sys::clone::Namespaces;
use sys::{mount, ns, userns};

pub(crate) use join::join;
pub(crate) use maps::program as mapping_program;
pub use owner::become_owner;
pub(crate) use places::{data_dir, run_dir};
pub(crate) use probe::{Found, probe};

/// What the caller is to a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Root,
    /// It belongs to this ordinary user, or is this user's to make.
    Owner,
    Guest,
}

impl Standing {
    pub fn of(dir: &Path) -> Standing {
        let own = rustix::process::geteuid();
        if own.is_root() {
            return Standing::Root;
        }
        let ours = match std::fs::metadata(dir) {
            Ok(meta) => meta.is_dir() && meta.uid() == own.as_raw(),
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => can_make(dir),
            Err(_) => false,
        };
        match ours {
            true => Standing::Owner,
            false => Standing::Guest,
        }
    }
}

/// Whether this user can make `dir`, with what is missing above it.
fn can_make(dir: &Path) -> bool {
    use rustix::fs::{Access, access};
    let above = dir
        .ancestors()
        .skip(1)
        .find(|dir| dir.symlink_metadata().is_ok());
    above.is_some_and(|dir| access(dir, Access::WRITE_OK | Access::EXEC_OK).is_ok())
}

/// Lets through who may change pods of this data directory.
pub fn check(env: &Env) -> Result<Standing> {
    match Standing::of(&env.dir) {
        Standing::Guest => Err(Fault::refused("cannot run as unprivileged user").hint(format!(
            "\"{}\" belongs to somebody else; a user's own pods are below $HOME/.local/share/rkt, or \
             where --dir says",
            env.dir.display()
        ))),
        standing => Ok(standing),
    }
}

/// The beginning of a verb that changes pods. Comes back in the namespace that
/// an owner needs; root stays where it is.
pub fn for_pods(env: &Env) -> Result<Standing> {
    check(env)?;
    as_owner(env)
}

/// An owner goes where the files of all ids are its own; anybody else stays.
pub fn as_owner(env: &Env) -> Result<Standing> {
    let standing = Standing::of(&env.dir);
    if standing == Standing::Owner {
        enter(env)?;
    }
    Ok(standing)
}

/// The beginning of a verb that changes images. Without a namespace an owner
/// can fetch all the same: images stay packed until a pod needs them.
pub fn for_images(env: &Env) -> Result<()> {
    match as_owner(env) {
        Err(fault) if fault.kind == Kind::Unsupported => {
            env.note("", &format!("images stay packed: {fault}"));
            Ok(())
        }
        entered => entered.map(drop),
    }
}

/// What `--private-users` asks for is what an ordinary user's pods have anyway.
pub fn no_private_users() -> Fault {
    Fault::unsupported("--private-users works for root only").hint(
        "leave it out: the pods of an ordinary user are in a user namespace of that user as it is",
    )
}

/// Into a user namespace with all ids that this user has been given. A refusal
/// of the kernel is `Kind::Unsupported`, and nothing has happened then.
fn enter(env: &Env) -> Result<()> {
    if let Some(fault) = refusal::beforehand() {
        return Err(fault);
    }
    make_dir(&env.dir)?;
    let plan = enter_unchecked()?;
    if let Plan::OneId { why } = plan {
        env.debug_note(
            "stage0",
            &format!("apps can only run as root of the pod: {why}"),
        );
    }
    Ok(())
}

/// What lies in there is root's own in the namespace, setuid programs among it:
/// nobody else on the host may come near.
fn make_dir(dir: &Path) -> Result<()> {
    if dir.exists() {
        return Ok(());
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|err| Fault::io("mkdir", dir.display(), err))
}

fn enter_unchecked() -> Result<Plan> {
    let (uid, gid) = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    let plan = maps::plan(uid, gid);
    let mapper = match &plan {
        Plan::Ranges(ranges) => Some(Mapper::start(ranges)?),
        Plan::OneId { .. } => None,
    };
    if let Err(err) = ns::unshare(Namespaces::USER.and(Namespaces::MOUNT)) {
        if let Some(mapper) = mapper {
            mapper.dismiss();
        }
        return Err(refusal::of_namespace(&err));
    }
    match mapper {
        Some(mapper) => mapper.finish()?,
        None => userns::map_to_zero(uid, gid)
            .map_err(|err| refusal::inside("write", "the id map of a user namespace", &err))?,
    }
    settle()?;
    Ok(plan)
}

/// Root of the namespace that this process has just come into, with mounts of
/// its own.
fn settle() -> Result<()> {
    userns::become_zero()
        .map_err(|err| refusal::inside("become", "root of the user namespace", &err))?;
    mount::propagation("/", mount::Flags::SLAVE)
        .map_err(|err| refusal::inside("change", "mounts in the user namespace", &err))
        .link(|| "entering the user namespace".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn whose_a_directory_is() {
        let dir = TempDir::new();
        let expected = match rustix::process::geteuid().is_root() {
            true => Standing::Root,
            false => Standing::Owner,
        };
        assert_eq!(Standing::of(dir.path()), expected);
        assert_eq!(Standing::of(&dir.path().join("not/made")), expected);
        assert!(can_make(&dir.path().join("a/b/c")));
        std::fs::write(dir.path().join("file"), "").expect("ours");
        if expected == Standing::Owner {
            assert_eq!(Standing::of(&dir.path().join("file")), Standing::Guest);
            assert_eq!(Standing::of(&dir.path().join("file/x")), Standing::Guest);
            assert_eq!(Standing::of(Path::new("/usr")), Standing::Guest);
            assert_eq!(Standing::of(Path::new("/usr/no/such")), Standing::Guest);
        }
    }
}
