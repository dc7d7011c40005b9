//! The verbs of `rkt image`: list, cat-manifest, export, extract, render, rm,
//! gc, verify.
//!
//! What a user writes into is made under a temporary name beside it and renamed
//! at the end, so a failure leaves what was there before and nothing else.

use crate::env::{Env, Line, Sink};
use crate::fetch::open_store;
use crate::target;
use model::fault::Result;
use model::reference::Reference;
use model::{Context, Fault, ImageId, ImageManifest, Kind, PodUuid};
use pod::{Place, Pod, PrepareLock, Rootfs, State, layout};
use rustix::fs::{AtFlags, unlinkat};
use rustix::io::Errno;
use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;
use store::{ImageRecord, Integrity, Removal, Store};

/// One row of `rkt image list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageInfo {
    pub id: ImageId,
    /// `name[:version]`.
    pub name: String,
    /// Bytes of the ACI and of its rendered tree.
    pub size: u64,
    pub import_time_ns: i64,
    pub last_used_ns: i64,
}

/// The rows, and the texts of the error block.
#[derive(Clone, Debug, Default)]
pub struct ImageListing {
    pub images: Vec<ImageInfo>,
    pub errors: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortKey {
    Name,
    ImportTime,
    LastUsed,
    Size,
}

/// All images, ordered by the first key, among equals by the next.
pub fn list(env: &Env, sort: &[SortKey], descending: bool) -> Result<ImageListing> {
    let mut listing = ImageListing::default();
    if store::old_database(&env.dir) {
        env.note(
            "",
            "images that rkt 1.30 and before keep in cas/ are not listed: fetch them again to use them here",
        );
    }
    for record in open_store(env)?.list()? {
        match record {
            Ok(record) => listing.images.push(info(record)),
            Err(fault) => listing.errors.push(fault.to_string()),
        }
    }
    listing.images.sort_by(|a, b| {
        let order = sort
            .iter()
            .map(|key| match key {
                SortKey::Name => a.name.cmp(&b.name),
                SortKey::ImportTime => a.import_time_ns.cmp(&b.import_time_ns),
                SortKey::LastUsed => a.last_used_ns.cmp(&b.last_used_ns),
                SortKey::Size => a.size.cmp(&b.size),
            })
            .find(|order| order.is_ne())
            .unwrap_or(std::cmp::Ordering::Equal);
        if descending { order.reverse() } else { order }
    });
    Ok(listing)
}

fn info(record: ImageRecord) -> ImageInfo {
    let name = match record.labels.get("version") {
        Some(version) => format!("{}:{version}", record.name.as_str()),
        None => record.name.as_str().to_string(),
    };
    ImageInfo {
        name,
        size: record.size.saturating_add(record.tree_size),
        import_time_ns: record.import_time_ns,
        last_used_ns: record.last_used_ns,
        id: record.id,
    }
}

/// An image word of these verbs: an ID or the beginning of one, else a name
/// with labels, which must all match. Only the store is asked.
fn resolve(store: &Store, word: &str) -> Result<ImageId> {
    match Reference::parse_stored(word)? {
        Reference::Name { name, labels } => match store.find_any(&name, &labels)? {
            Some(record) => Ok(record.id),
            None => Err(store::missing(&name, &labels).link("cannot find image")),
        },
        _ => store
            .resolve(word)
            .link(|| "cannot resolve image ID".into()),
    }
}

pub fn cat_manifest(env: &Env, image: &str) -> Result<ImageManifest> {
    let store = open_store(env)?;
    store.manifest(&resolve(&store, image)?)
}

/// The exact bytes of the uncompressed ACI.
pub fn export(env: &Env, image: &str, file: &Path, overwrite: bool) -> Result<()> {
    let store = open_store(env)?;
    let id = resolve(&store, image)?;
    target::write_file(
        file,
        overwrite,
        "output ACI file exists (try --overwrite)",
        |out| store.export(&id, out),
    )
}

/// What `extract` and `render` were asked for.
#[derive(Clone, Debug)]
pub struct UnpackRequest {
    pub image: String,
    pub dir: PathBuf,
    pub rootfs_only: bool,
    pub overwrite: bool,
}

/// One image as it is, without its dependencies.
pub fn extract(env: &Env, request: &UnpackRequest) -> Result<()> {
    let store = open_store(env)?;
    let id = resolve(&store, &request.image)?;
    target::make_dir(&request.dir, request.overwrite, |dir| {
        store.extract(&id, dir, request.rootfs_only)
    })
}

/// An image merged with its dependencies.
pub fn render(env: &Env, request: &UnpackRequest) -> Result<()> {
    let store = open_store(env)?;
    let id = resolve(&store, &request.image)?;
    if !rustix::process::geteuid().is_root() {
        // A packed image can be looked at by anybody, but nothing kept of it.
        return target::make_dir(&request.dir, request.overwrite, |dir| {
            store.render_to(&id, dir, request.rootfs_only)
        });
    }
    // Nobody may collect the layers while they are read.
    let _held = PrepareLock::shared(&env.dir)?;
    let tree = store
        .render_flat(&id)
        .message(|| "error rendering tree store".into())?;
    target::make_dir(&request.dir, request.overwrite, |dir| {
        if request.rootfs_only {
            return crate::copy::copy(&tree, dir);
        }
        target::write_manifest(dir, &store.manifest_bytes(&id)?)?;
        crate::copy::copy(&tree, &target::sub_dir(dir, "rootfs")?)
    })
}

/// Arguments that name no image are reported and skipped, without failing.
pub fn rm(env: &Env, images: &[String], sink: Sink) -> Result<()> {
    if images.is_empty() {
        return Err(Fault::usage("must provide at least one image ID"));
    }
    let store = open_store(env)?;
    store.check_writable()?;
    hold_unheld(env, &store, true)?;
    let mut ids = Vec::new();
    let mut seen = HashSet::new();
    for word in images {
        match resolve(&store, word) {
            Ok(id) if seen.insert(id.clone()) => ids.push(id),
            Ok(_) => {}
            Err(fault) => sink(Line::Err(fault.to_string())),
        }
    }
    let mut tally = Tally::default();
    for id in &ids {
        match store.remove(id) {
            Ok(removal) => tally.removed(id, &removal, sink),
            Err(fault) => tally.failed(&fault, sink),
        }
    }
    tally.close(sink)
}

/// What came of removing images, for the lines at the end.
#[derive(Default)]
struct Tally {
    clean: usize,
    stale: usize,
    failed: usize,
}

impl Tally {
    fn removed(&mut self, id: &ImageId, removal: &Removal, sink: Sink) {
        match removal {
            Removal::Clean => self.clean += 1,
            Removal::Stale(fault) => {
                self.stale += 1;
                sink(Line::Err(fault.to_string()));
            }
        }
        sink(Line::Out(format!(
            "successfully removed aci for image: {:?}",
            id.as_str()
        )));
    }

    fn failed(&mut self, fault: &Fault, sink: Sink) {
        self.failed += 1;
        sink(Line::Err(fault.to_string()));
    }

    fn close(self, sink: Sink) -> Result<()> {
        let lines = [
            (self.clean, "successfully removed"),
            (self.stale, "removed but left some stale files"),
            (self.failed, "cannot be removed"),
        ];
        for (count, what) in lines {
            if count > 0 {
                sink(Line::Err(format!("{count} image(s) {what}")));
            }
        }
        if self.stale + self.failed > 0 {
            return Err(Fault::conflict("error(s) found while removing images"));
        }
        Ok(())
    }
}

/// Removes images that were not used for `grace` and that no running pod
/// names, then whatever layers and trees nobody needs.
pub fn gc(env: &Env, grace: Duration, sink: Sink) -> Result<()> {
    let store = open_store(env)?;
    store.check_writable()?;
    // No pod may come between finding a layer unused and removing it.
    let _held = PrepareLock::exclusive(&env.dir)?;
    hold_unheld(env, &store, true)?;
    let running = images_of_running_pods(env, sink)?;
    let alive = |uuid: &PodUuid| Pod::open(&env.dir, uuid).is_ok();
    let swept = store.gc(sys::time::now_ns(), grace, &running, &alive)?;
    for tree in &swept.trees {
        sink(Line::Err(format!("removed treestore {tree:?}")));
    }
    let mut tally = Tally::default();
    for (id, removal) in &swept.images {
        tally.removed(id, removal, sink);
    }
    for fault in &swept.faults {
        tally.failed(fault, sink);
    }
    tally.close(sink)
}

/// Before pods go, whose layers go with them where nobody else holds these.
pub(crate) fn hold_what_is_not(env: &Env) -> Result<()> {
    match open_store(env) {
        Ok(store) if !store.is_read_only() => hold_unheld(env, &store, false),
        // Nothing goes from it; why it cannot be opened is told for each pod.
        _ => Ok(()),
    }
}

/// Pods that were made while the store could not be written have no holds. It can
/// be now: before anything goes, they get them.
///
/// Unless `strict`, a pod that cannot be read keeps no other from being removed: it is told of where it is removed itself.
fn hold_unheld(env: &Env, store: &Store, strict: bool) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    for uuid in pod::list::names(&env.dir, &Place::ALL)? {
        let unheld = |pod: &Pod| Ok(pod.read_file(layout::UNHELD)?.is_some());
        let pod = match Pod::open(&env.dir, &uuid).and_then(|pod| Ok((unheld(&pod)?, pod))) {
            Ok((true, pod)) => pod,
            Ok((false, _)) => continue,
            // It goes meanwhile.
            Err(fault) if fault.kind == Kind::NotFound => continue,
            Err(_) if !strict => continue,
            Err(fault) => return Err(fault),
        };
        let needed = matches!(pod.state(), State::Prepared | State::Running);
        match hold_all(store, &pod) {
            Err(fault) if needed && (strict || fault.errno().is_some()) => return Err(fault),
            // Never finished, or torn by a power cut: it will not run again.
            _ => {}
        }
    }
    Ok(())
}

fn hold_all(store: &Store, pod: &Pod) -> Result<()> {
    let mut roots = Vec::new();
    for app in &pod.manifest()?.apps {
        roots.push(pod.rootfs(&app.name)?);
    }
    if let Some(record) = pod.read_file(crate::legacy::TREE)? {
        roots.push(Rootfs::parse(&record)?);
    }
    for root in roots {
        if let Rootfs::Overlay { lowers, .. } = root {
            store.hold_lowers(&lowers, pod.uuid())?;
        }
    }
    store.sync_holds(pod.dir())?;
    match unlinkat(pod.dir(), layout::UNHELD, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(err) => Err(Fault::io("unlink", layout::UNHELD, err)),
    }
}

/// IDs as the manifests of running pods write them, cut to an image ID.
fn images_of_running_pods(env: &Env, sink: Sink) -> Result<Vec<ImageId>> {
    let listing = pod::list(&env.dir, &[Place::Run])?;
    let mut ids = BTreeSet::new();
    for entry in listing
        .pods
        .into_iter()
        .filter(|entry| entry.state == State::Running)
    {
        for fault in &entry.faults {
            sink(Line::Err(fault.to_string()));
        }
        ids.extend(
            entry
                .apps
                .into_iter()
                .filter_map(|app| ImageId::new(&app.image_id).ok()),
        );
    }
    Ok(ids.into_iter().collect())
}

pub fn verify(env: &Env, images: &[String], sink: Sink) -> Result<()> {
    if images.is_empty() {
        return Err(Fault::usage("must provide at least one image ID"));
    }
    let store = open_store(env)?;
    for word in images {
        let id = resolve(&store, word).map_err(|fault| match fault.kind {
            Kind::NotFound => Fault::not_found(format!(
                "unable to resolve store key for image {word}: cannot find image"
            )),
            _ => fault.message(format!("unable to resolve store key for image {word}")),
        })?;
        verify_one(&store, word, &id, sink)?;
    }
    Ok(())
}

fn verify_one(store: &Store, word: &str, id: &ImageId, sink: Sink) -> Result<()> {
    let key = id.as_str();
    match store.verify(id)? {
        Integrity::Verified => {
            let text = format!("successfully verified checksum for image: {word:?} ({key:?})");
            sink(Line::Out(text));
        }
        Integrity::NotRendered => {
            let text = format!("image {word:?} not rendered; no verification needed");
            sink(Line::Out(text));
        }
        Integrity::Broken(reason) => {
            sink(Line::Out(format!(
                "tree cache verification failed for image {word}: {reason};  rebuilding..."
            )));
            store
                .repair(id)
                .message(|| format!("unable to repair cache for image {word}"))?;
        }
    }
    Ok(())
}
