//! A stage1 from an image, by rkt's contract: annotations of its manifest name
//! programs in its rootfs, and stage0 mounts that rootfs (`S`, with the apps'
//! below it) before it runs them.
//!
//! Prepare leaves in the pod `stage1/manifest`, `stage1TreeStoreID` and, which
//! 1.30 did not have, `stage1/tree`: the layers of the tree. A pod without it is
//! one that 1.30 made, whose trees lie in `cas/tree`.
//!
//! All mounts are made in a mount namespace of the pod's own, so the kernel
//! takes them away with its last process. The entry points that come later join
//! that namespace or mount the same once more; see [`mounts`].

mod mounts;

use crate::copy::copy_into;
use crate::env::Env;
use crate::prepare::{make_dirs, make_dirs_at};
use crate::users::Range;
use model::{AcName, Context, Fault, ImageId, ImageManifest, PodManifest, fault::Result};
use pod::entry::{Entry, INTERFACE_VERSION, Interface};
use pod::{Pod, Rootfs, State, layout};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, UTIME_NOW};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use store::{Store, Tree};

/// Layers of the stage1 tree, written like an app's `rootfs` record.
pub(crate) const TREE: &str = "stage1/tree";

/// An image in the store that can be a stage1.
#[derive(Clone, Debug)]
pub(crate) struct Stage1Image {
    pub(crate) id: ImageId,
}

impl Stage1Image {
    /// What could never run is refused before a pod exists.
    pub(crate) fn of(store: &Store, id: ImageId) -> Result<Stage1Image> {
        let manifest = store.manifest(&id)?;
        entry_path(&manifest, Entry::Run)?;
        interface(&manifest)?;
        Ok(Stage1Image { id })
    }

    /// Makes it the stage1 of a pod that is being prepared. The tree is held
    /// from here on; without overlay its files are copied.
    pub(crate) fn give(
        &self,
        store: &Store,
        pod: &Pod,
        overlay: bool,
        users: Option<Range>,
    ) -> Result<()> {
        let tree = crate::prepare::render(store, &self.id, overlay)?;
        let root = make_dirs(pod, layout::STAGE1_ROOTFS)?;
        if overlay {
            crate::prepare::hold(store, &tree, pod)?;
        } else {
            copy_into(&tree, root.as_fd(), users)?;
        }
        pod.write_file(layout::STAGE1_MANIFEST, &store.manifest_bytes(&self.id)?)?;
        pod.write_file(TREE, record(&tree, overlay)?.to_json().as_bytes())?;
        pod.write_file(layout::STAGE1_TREE, tree.tree_id.as_bytes())
    }
}

fn record(tree: &Tree, overlay: bool) -> Result<Rootfs> {
    let tree_id = tree.tree_id.clone();
    if !overlay {
        return Ok(Rootfs::Copied { tree_id });
    }
    let lowers = tree.lowers.iter().map(|path| crate::prepare::utf8(path));
    let lowers = lowers.collect::<Result<_>>()?;
    Ok(Rootfs::Overlay { tree_id, lowers })
}

/// The stage1 image of a pod.
#[derive(Clone, Debug)]
pub(crate) struct Legacy {
    manifest: ImageManifest,
    pub(crate) interface: Interface,
    tree: StageTree,
    /// 1.30 made the pod.
    pub(crate) old: bool,
}

/// The layers of a stage1, topmost first, and what its writable part is named
/// after. No layers: its files were copied.
#[derive(Clone, Debug)]
struct StageTree {
    id: String,
    lowers: Vec<PathBuf>,
}

impl Legacy {
    /// `None` for a pod of a built-in stage1: it names no tree.
    pub(crate) fn of(env: &Env, pod: &Pod) -> Result<Option<Legacy>> {
        let Some(id) = tree_of(pod)? else {
            return Ok(None);
        };
        let bytes = pod.read_file(layout::STAGE1_MANIFEST)?.unwrap_or_default();
        let manifest =
            ImageManifest::parse(&bytes).link(|| "cannot load stage1 manifest".to_string())?;
        let record = pod.read_file(TREE)?;
        let old = record.is_none();
        let lowers = match record {
            Some(bytes) => match Rootfs::parse(&bytes).map_err(|fault| fault.link(TREE))? {
                Rootfs::Overlay { lowers, .. } => lowers.into_iter().map(PathBuf::from).collect(),
                Rootfs::Copied { .. } => Vec::new(),
            },
            None if pod.is_overlay() => vec![old_tree(env, &id)],
            None => Vec::new(),
        };
        Ok(Some(Legacy {
            interface: interface(&manifest)?,
            manifest,
            tree: StageTree { id, lowers },
            old,
        }))
    }

    /// Refuses a prepared pod that could only fail, before it counts as run.
    pub(crate) fn check(&self, pod: &Pod) -> Result<()> {
        entry_path(&self.manifest, Entry::Run)?;
        let Some(gone) = self.tree.lowers.iter().find(|lower| !lower.is_dir()) else {
            return Ok(());
        };
        let uuid = pod.uuid().as_str();
        let who = if self.old { " by an older rkt" } else { "" };
        Err(Fault::not_found(format!(
            "pod {uuid:?} was prepared{who}, and its stage1 {:?} is gone",
            gone.display().to_string()
        ))
        .hint("prepare it again; rkt cat-manifest shows what it was made of"))
    }

    /// Mounts the stage1 and the apps in a mount namespace that this process
    /// now has for itself, and leaves what the contract asks for in them. The
    /// result is `S`.
    pub(crate) fn set_up(&self, env: &Env, pod: &Pod) -> Result<OwnedFd> {
        mounts::leave_host()?;
        let label = pod.labels()?.map(|labels| labels.mount);
        let label = label.as_ref();
        mounts::stage1(&pod.path(), &self.tree, label)?;
        mounts::note_namespace(pod)?;
        let root = open(&pod.path().join(layout::STAGE1_ROOTFS))?;
        let status = make_dirs_at(root.as_fd(), layout::STATUS)?;
        // The first write to the overlay copies the directory up; stage1 may
        // hold it open from now on.
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        };
        let times = Timestamps {
            last_access: now,
            last_modification: now,
        };
        rustix::fs::futimens(&status, &times).map_err(|e| Fault::io("touch", layout::STATUS, e))?;
        for app in &manifest_of(pod)?.apps {
            let target = format!("opt/stage2/{}/rootfs", app.name.as_str());
            let rootfs = make_dirs_at(root.as_fd(), &target)?;
            let rootfs = match app_rootfs(env, pod, &app.name)? {
                Rootfs::Overlay { tree_id, lowers } => {
                    mounts::app(&pod.path(), &app.name, &tree_id, &lowers, &rootfs, label)?;
                    // The directory below the mount is not what is to be seen.
                    make_dirs_at(root.as_fd(), &target)?
                }
                Rootfs::Copied { .. } => rootfs,
            };
            make_mtab(&rootfs)?;
        }
        Ok(root)
    }

    /// Makes `S` visible to this process, which executes an entry point next.
    pub(crate) fn show(&self, pod: &Pod) -> Result<()> {
        if self.tree.lowers.is_empty() {
            return Ok(());
        }
        let running = pod.state() == State::Running;
        mounts::show(pod, &self.tree, running)
    }

    /// The program of an entry point. `enter` is run from the tree, out of the
    /// reach of the pod's apps.
    pub(crate) fn program(&self, pod: &Pod, entry: Entry) -> Result<PathBuf> {
        let inside = entry_path(&self.manifest, entry)?;
        let in_pod = pod.path().join(layout::STAGE1_ROOTFS).join(inside);
        if entry != Entry::Enter {
            return Ok(in_pod);
        }
        let in_tree = self.tree.lowers.iter().map(|lower| lower.join(inside));
        Ok(in_tree
            .into_iter()
            .find(|path| path.is_file())
            .unwrap_or(in_pod))
    }
}

/// The tree id of the stage1 image, if the pod has one.
fn tree_of(pod: &Pod) -> Result<Option<String>> {
    let Some(bytes) = pod.read_file(layout::STAGE1_TREE)? else {
        return Ok(None);
    };
    let tree = String::from_utf8_lossy(&bytes).trim().to_string();
    check_tree_id(&tree)?;
    Ok(Some(tree))
}

/// It becomes the name of a directory.
fn check_tree_id(tree: &str) -> Result<()> {
    if tree.is_empty() || tree.contains(['/', '\0']) || tree.starts_with('.') {
        return Err(Fault::corrupt(format!("{tree:?} is no tree id")));
    }
    Ok(())
}

fn old_tree(env: &Env, tree: &str) -> PathBuf {
    env.dir.join("cas/tree").join(tree).join("rootfs")
}

/// What an app's root is made of; a pod of 1.30 names its tree only.
pub(crate) fn app_rootfs(env: &Env, pod: &Pod, app: &AcName) -> Result<Rootfs> {
    if pod.read_file(&layout::app_rootfs_record(app))?.is_some() {
        return pod.rootfs(app);
    }
    let Some(bytes) = pod.read_file(&layout::app_tree(app))? else {
        let tree_id = String::new();
        return Ok(Rootfs::Copied { tree_id });
    };
    let tree_id = String::from_utf8_lossy(&bytes).trim().to_string();
    check_tree_id(&tree_id)?;
    let lowers = vec![crate::prepare::utf8(&old_tree(env, &tree_id))?];
    Ok(Rootfs::Overlay { tree_id, lowers })
}

fn manifest_of(pod: &Pod) -> Result<PodManifest> {
    let path = pod.path().join(layout::POD);
    let bytes = std::fs::read(&path).map_err(|e| Fault::io("open", path.display(), e))?;
    PodManifest::parse(&bytes).message(|| "cannot load the pod manifest".into())
}

/// `etc/mtab` for an app that has `/etc` and none of its own.
fn make_mtab(rootfs: &OwnedFd) -> Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(etc) = rustix::fs::openat(rootfs, "etc", flags, Mode::empty()) else {
        return Ok(());
    };
    if rustix::fs::statat(&etc, "mtab", AtFlags::SYMLINK_NOFOLLOW).is_ok() {
        return Ok(());
    }
    rustix::fs::symlinkat("../proc/self/mounts", &etc, "mtab")
        .map_err(|e| Fault::io("symlink", "etc/mtab", e))
}

/// Where in the rootfs an entry point lies.
fn entry_path(manifest: &ImageManifest, entry: Entry) -> Result<&Path> {
    let missing = || match entry {
        Entry::Stop => Fault::unsupported("rkt stop not implemented for pod's stage1"),
        entry => entry
            .missing()
            .message(format!("error determining '{}' entrypoint", entry.word())),
    };
    let text = manifest
        .annotation(entry.annotation())
        .ok_or_else(missing)?;
    let path = Path::new(text.trim_start_matches('/'));
    let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if path.as_os_str().is_empty() || !path.components().all(inside) {
        return Err(Fault::invalid(format!(
            "annotation {:?} of the stage1 image: {text:?} is no path inside of it",
            entry.annotation()
        )));
    }
    Ok(path)
}

fn interface(manifest: &ImageManifest) -> Result<Interface> {
    let Some(text) = manifest.annotation(INTERFACE_VERSION) else {
        return Ok(Interface::external(1));
    };
    text.parse().map(Interface::external).map_err(|_| {
        Fault::invalid(format!(
            "annotation {INTERFACE_VERSION:?} of the stage1 image: {text:?} is no version"
        ))
    })
}

fn open(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
        .map_err(|e| Fault::io("open", path.display(), e))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use model::{AcIdentifier, Annotation};

    fn manifest(annotations: &[(&str, &str)]) -> ImageManifest {
        let name = AcIdentifier::new("example.com/stage1").unwrap();
        let mut manifest = ImageManifest::new(name);
        for (name, value) in annotations {
            let annotation = Annotation::new(name, value.to_string()).unwrap();
            manifest.annotations.push(annotation);
        }
        manifest
    }

    #[test]
    fn entry_points_are_paths_in_the_image() {
        let with = |path| manifest(&[(Entry::Run.annotation(), path)]);
        for path in ["/init", "init", "//usr/bin/init", "/usr/./init"] {
            assert!(entry_path(&with(path), Entry::Run).unwrap().is_relative());
        }
        for path in ["", "/", "/../bin/sh", "/usr/../../bin/sh"] {
            assert!(entry_path(&with(path), Entry::Run).is_err(), "{path:?}");
        }
        let none = manifest(&[]);
        for (entry, text) in [
            (
                Entry::Run,
                "error determining 'run' entrypoint: entrypoint \"coreos.com/rkt/stage1/run\" not found",
            ),
            (
                Entry::Enter,
                "error determining 'enter' entrypoint: entrypoint \"coreos.com/rkt/stage1/enter\" not found",
            ),
            (Entry::Stop, "rkt stop not implemented for pod's stage1"),
        ] {
            assert_eq!(entry_path(&none, entry).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn an_image_without_a_version_speaks_the_first() {
        let version = |text| interface(&manifest(&[(INTERFACE_VERSION, text)]));
        assert_eq!(interface(&manifest(&[])).unwrap(), Interface::external(1));
        assert_eq!(version("6").unwrap(), Interface::external(6));
        for text in ["", "-1", "six", "99999999999"] {
            assert!(version(text).is_err(), "{text:?}");
        }
    }
}
