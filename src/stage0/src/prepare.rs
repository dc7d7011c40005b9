//! `prepare`: images and options in, a pod directory ready to run out.
//!
//! Everything that a user can have got wrong on the command line is found
//! before a pod exists. From then on a failure leaves an aborted prepare, which
//! gc removes. No layer can be collected between its look-up and the reference
//! that the pod takes on it: the prepare lock is held, and the rendered tree
//! keeps its files while the value lives.

use crate::env::{Env, need_root};
use crate::fetch::{PullPolicy, Remarks, fetcher, open_store};
use crate::stage1_image::{self, Choice, Flavor, Selected};
use crate::users::{self, Range};
use model::fault::Result;
use model::options::PodOptions;
use model::plan::{PlannedImage, Planner, plan_pod};
use model::{AcName, Annotation, Context, Fault, ImageId, ImageManifest, PodManifest, PodUuid};
use pod::entry::{Entry, INTERFACE_VERSION};
use pod::{AppSummary, Pod, PrepareLock, Rootfs, Summary, layout};
use rustix::fs::{AtFlags, Mode, OFlags};
use std::collections::HashMap;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use store::{Store, Tree};

/// What `prepare` and the first half of `run` were asked for.
#[derive(Clone, Debug, Default)]
pub struct PrepareRequest {
    /// Apps and pod-wide options; `pod.apps` is empty with `--pod-manifest`.
    pub pod: PodOptions,
    /// `--pod-manifest`.
    pub pod_manifest: Option<PathBuf>,
    /// A `--stage1-*` flag.
    pub stage1: Option<Choice>,
    pub pull_policy: PullPolicy,
    pub no_overlay: bool,
    pub private_users: bool,
    /// `run --uuid-file-save`.
    pub uuid_file_save: Option<PathBuf>,
}

/// Makes a pod in the state `prepared`.
pub fn prepare(env: &Env, request: &PrepareRequest) -> Result<PodUuid> {
    let checked = Checked::of(env, request)?;
    let found = checked
        .find_images()
        .message(|| "error finding images".into())?;
    let (mut pod, _) = checked.make(found)?;
    checked
        .store
        .sync_holds(pod.dir())
        .and_then(|()| pod.to_prepared())
        .message(|| "error setting up stage0".into())?;
    Ok(pod.uuid().clone())
}

/// A request without contradictions, and what it is carried out with.
pub(crate) struct Checked<'r> {
    env: &'r Env,
    request: &'r PrepareRequest,
    store: Store,
    pub(crate) stage1: Selected,
}

/// What the apps are made of: the image IDs of the command line, in its order,
/// or a manifest that names its images itself.
pub(crate) enum Found<'r> {
    Images(Vec<ImageId>),
    Manifest(&'r Path),
}

impl<'r> Checked<'r> {
    pub(crate) fn of(env: &'r Env, request: &'r PrepareRequest) -> Result<Checked<'r>> {
        need_root()?;
        let pod = &request.pod;
        match &request.pod_manifest {
            None if pod.apps.is_empty() && !pod.mutable => {
                return Err(Fault::usage(
                    "must provide at least one image or specify the pod manifest",
                ));
            }
            Some(_) if contradicts_manifest(request) => {
                return Err(Fault::usage(
                    "conflicting flags set with --pod-manifest (see --help)",
                ));
            }
            _ => {}
        }
        let store = open_store(env)?;
        if store.is_read_only() {
            let pods = layout::pods(&env.dir);
            env.debug_note(
                "stage0",
                &format!(
                    "the image store is read-only: layers need no holds, locks lie in {}",
                    layout::locks(&env.dir).display()
                ),
            );
            env.debug_note("stage0", &format!("pods are written to {}", pods.display()));
        }
        let stage1 = stage1_image::select(env, &store, request.stage1.as_ref())?;
        if request.private_users {
            users::check(&stage1)?;
        }
        Ok(Checked {
            env,
            request,
            store,
            stage1,
        })
    }

    pub(crate) fn find_images(&self) -> Result<Found<'_>> {
        let remarks = Remarks(self.env);
        let fetcher = fetcher(self.env, &self.store, self.request.pull_policy, &remarks);
        if let Some(path) = &self.request.pod_manifest {
            return Ok(Found::Manifest(path));
        }
        let apps = &self.request.pod.apps;
        let ids = apps
            .iter()
            .map(|app| fetcher.find(&app.image, app.signature.as_deref()));
        ids.collect::<Result<_>>().map(Found::Images)
    }

    /// From nothing to a pod that is prepared but for the last rename.
    pub(crate) fn make(&self, found: Found<'_>) -> Result<(Pod, PodManifest)> {
        // From before the pod is there: who holds this lock alone knows that
        // every embryo's maker is dead.
        let _held = PrepareLock::shared(&self.env.dir)?;
        let uuid = crate::random::uuid()?;
        let mut pod = Pod::create(&self.env.dir, &uuid)?;
        pod.to_prepare()?;
        if let Some(path) = &self.request.uuid_file_save {
            save_uuid(path, &uuid).message(|| "error saving pod UUID to file".into())?;
        }
        let manifest = self
            .fill(&pod, found)
            .message(|| "error setting up stage0".into())?;
        Ok((pod, manifest))
    }

    fn choose_overlay(&self, pod: &Pod, users: Option<Range>) -> bool {
        if self.request.no_overlay {
            return false;
        }
        let idmapped = |range| match self.stage1 {
            Selected::BuiltIn(_) => users::no_idmapped_overlay(self.env, pod, range),
            // It knows nothing of idmapped layers.
            Selected::Image(_) => Some("the stage1 image wants files with the pod's IDs".into()),
        };
        let unsupported = crate::overlay::unsupported(&self.env.dir);
        match unsupported.or_else(|| users.and_then(idmapped)) {
            None => true,
            Some(reason) => {
                self.env
                    .note("", &format!("disabling overlay support: {reason:?}"));
                false
            }
        }
    }

    fn fill(&self, pod: &Pod, found: Found<'_>) -> Result<PodManifest> {
        let users = match self.request.private_users {
            true => Some(users::claim(&self.env.dir, pod)?),
            false => None,
        };
        let overlay = self.choose_overlay(pod, users);
        let (manifest, bytes) = self.plan(found)?;
        self.write_stage1(pod, &manifest, overlay, users)?;
        let mut trees: HashMap<ImageId, Tree> = HashMap::new();
        let mut apps = Vec::with_capacity(manifest.apps.len());
        for app in &manifest.apps {
            let id = ImageId::new(&app.image.id)?;
            if !trees.contains_key(&id) {
                let tree = render(&self.store, &id, overlay)?;
                if overlay {
                    hold(&self.store, &tree, pod)?;
                }
                trees.insert(id.clone(), tree);
            }
            let image = self.store.manifest_bytes(&id)?;
            pod.write_image_manifest(&app.name, &image)?;
            let rootfs = self.rootfs(pod, &app.name, &trees[&id], overlay, users)?;
            pod.write_rootfs(&app.name, &rootfs)?;
            apps.push(AppSummary {
                name: app.name.clone(),
                image_id: app.image.id.clone(),
                image_name: ImageManifest::parse(&image)
                    .ok()
                    .map(|image| image.display_name()),
            });
        }
        pod.write_manifest(&bytes)?;
        if overlay {
            pod.write_file(layout::OVERLAY_PREPARED, b"")?;
        }
        pod.mark_created()?;
        // The file's own time, so that listing with and without summary agree.
        let created_ns = created_ns(pod)?;
        let mutable = pod::manifest::is_mutable(&manifest);
        pod.write_summary(&Summary {
            created_ns,
            mutable,
            apps,
        })?;
        Ok(manifest)
    }

    /// The pod manifest, and its bytes as they go to the disk.
    fn plan(&self, found: Found<'_>) -> Result<(PodManifest, Vec<u8>)> {
        match found {
            Found::Images(ids) => {
                let images = ids
                    .into_iter()
                    .map(|id| Ok((self.store.manifest(&id)?, id)))
                    .collect::<Result<Vec<_>>>()?;
                let planned: Vec<PlannedImage<'_>> = images
                    .iter()
                    .map(|(manifest, id)| PlannedImage { id, manifest })
                    .collect();
                let planner = Planner {
                    version: env!("CARGO_PKG_VERSION"),
                    uid: rustix::process::getuid().as_raw(),
                    gid: rustix::process::getgid().as_raw(),
                };
                let manifest = plan_pod(&planned, &self.request.pod, &planner)?;
                let bytes = manifest.compact().into_bytes();
                Ok((manifest, bytes))
            }
            Found::Manifest(path) => crate::given_manifest::read(&self.store, path),
        }
    }

    /// An overlay of the image's layers, or a copy of its files in the pod. Only
    /// the copy has the pod's own users on disk.
    fn rootfs(
        &self,
        pod: &Pod,
        app: &AcName,
        tree: &Tree,
        overlay: bool,
        users: Option<Range>,
    ) -> Result<Rootfs> {
        let tree_id = tree.tree_id.clone();
        if overlay {
            let lowers = tree
                .lowers
                .iter()
                .map(|path| utf8(path))
                .collect::<Result<_>>()?;
            return Ok(Rootfs::Overlay { tree_id, lowers });
        }
        let target = make_dirs(pod, &layout::app_rootfs(app))?;
        crate::copy::copy_into(tree, target.as_fd(), users)?;
        Ok(Rootfs::Copied { tree_id })
    }

    /// The stage1 goes first: where trees are copied, the apps' come to lie in it.
    fn write_stage1(
        &self,
        pod: &Pod,
        manifest: &PodManifest,
        overlay: bool,
        users: Option<Range>,
    ) -> Result<()> {
        let flavor = match &self.stage1 {
            Selected::BuiltIn(flavor) => *flavor,
            Selected::Image(image) => {
                // Both would write to one overlay.
                let twice = |app: &model::RuntimeApp| app.image.id == image.id.as_str();
                if overlay && manifest.apps.iter().any(twice) {
                    return Err(Fault::invalid("the stage1 image cannot be an app as well"));
                }
                return image.give(&self.store, pod, overlay, users);
            }
        };
        drop(make_dirs(pod, layout::STAGE1_ROOTFS)?);
        let image = stage1_manifest(flavor)?;
        pod.write_file(layout::STAGE1_MANIFEST, image.compact().as_bytes())?;
        pod.set_flavor(flavor.name())
    }
}

/// The layers for an overlay, or one directory to copy.
pub(crate) fn render(store: &Store, id: &ImageId, overlay: bool) -> Result<Tree> {
    let tree = if overlay {
        store.render(id)
    } else {
        store.render_flat(id)
    };
    tree.message(|| "error rendering tree store".into())
}

/// Keeps the layers for the pod. Where the store is read-only they cannot go; the
/// mark is for the day on which it can be written.
pub(crate) fn hold(store: &Store, tree: &Tree, pod: &Pod) -> Result<()> {
    if store.hold(tree, pod.uuid())? {
        return Ok(());
    }
    pod.write_file(layout::UNHELD, b"")
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

fn contradicts_manifest(request: &PrepareRequest) -> bool {
    let pod = &request.pod;
    !(pod.apps.is_empty()
        && pod.volumes.is_empty()
        && pod.mounts.is_empty()
        && pod.ports.is_empty()
        && pod.inherited_env.is_empty()
        && pod.env_file.is_empty()
        && pod.set_env.is_empty()
        && pod.sysctls.is_empty()
        && request.pull_policy == PullPolicy::New)
}

fn created_ns(pod: &Pod) -> Result<i64> {
    let stat = rustix::fs::statat(pod.dir(), layout::POD_CREATED, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|e| Fault::io("stat", layout::POD_CREATED, e))?;
    Ok(stat
        .st_mtime
        .saturating_mul(1_000_000_000)
        .saturating_add(stat.st_mtime_nsec as i64))
}

fn save_uuid(path: &Path, uuid: &PodUuid) -> Result<()> {
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(path)
        .map_err(|e| Fault::io("open", path.display(), e))?
        .write_all(uuid.as_str().as_bytes())
        .map_err(|e| Fault::io("write", path.display(), e))
}

pub(crate) fn utf8(path: &Path) -> Result<String> {
    let text = path.to_str().ok_or_else(|| {
        Fault::invalid(format!(
            "data directory {:?} is not UTF-8",
            path.display().to_string()
        ))
    })?;
    Ok(text.to_string())
}

/// Makes a directory below the pod with what is missing above it (0755), and
/// opens it.
pub(crate) fn make_dirs(pod: &Pod, path: &str) -> Result<OwnedFd> {
    make_dirs_at(pod.dir(), path)
}

/// The same below any directory. No symlink is followed on the way.
pub(crate) fn make_dirs_at(dir: BorrowedFd<'_>, path: &str) -> Result<OwnedFd> {
    let mut at = dir
        .try_clone_to_owned()
        .map_err(|e| Fault::io("dup", "fd", e))?;
    for name in path.split('/') {
        match rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(e) => return Err(Fault::io("mkdir", path, e)),
        }
        at = rustix::fs::openat(&at, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
            .map_err(|e| Fault::io("open", path, e))?;
    }
    Ok(at)
}

/// What `stage1/manifest` says of a built-in stage1: an image like rkt's own,
/// so that tools which read it find what they know.
fn stage1_manifest(flavor: Flavor) -> Result<ImageManifest> {
    let name = format!("coreos.com/rkt/stage1-{}", flavor.name());
    let mut image = ImageManifest::new(model::AcIdentifier::new(&name)?);
    for (name, value) in [
        ("version", env!("CARGO_PKG_VERSION")),
        ("os", "linux"),
        ("arch", crate::fetch::host_arch()),
    ] {
        image.labels.push(model::Label::new(name, value)?)?;
    }
    for entry in [Entry::Run, Entry::Enter, Entry::Gc, Entry::Stop] {
        image.annotations.push(Annotation::new(
            entry.annotation(),
            format!("/{}", entry.word()),
        )?);
    }
    let version = flavor.interface().version.to_string();
    image
        .annotations
        .push(Annotation::new(INTERFACE_VERSION, version)?);
    Ok(image)
}
