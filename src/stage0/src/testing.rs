//! What the tests share: temporary directories that are removed with everything
//! in them, an environment in one, and images made on the spot.

use crate::env::{Env, GlobalFlags};
use model::options::InsecureOptions;
use model::{AcIdentifier, ImageManifest, Label};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

pub struct TempDir(PathBuf);

static NEXT: AtomicU32 = AtomicU32::new(0);

impl TempDir {
    pub fn new() -> TempDir {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir =
            std::env::temp_dir().join(format!("rkt-test-stage0-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a temp directory can be made");
        TempDir(std::fs::canonicalize(dir).expect("it was just made"))
    }
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

/// Most verbs need root; a test of one says so and stops.
pub fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: needs root");
    }
    root
}

/// An environment whose data directory is `data` in `dir`.
pub fn env(dir: &TempDir, insecure: &str) -> Env {
    let at = |name: &str| Some(dir.path().join(name));
    let flags = GlobalFlags {
        dir: at("data"),
        system_config: at("system"),
        local_config: at("local"),
        insecure: InsecureOptions::parse(insecure).expect("the test's words are right"),
        ..GlobalFlags::default()
    };
    let quiet: Box<dyn crate::Notes> = Box::new(|_: &str, _: &str| {});
    Env::resolve(flags, quiet).expect("nothing is configured")
}

/// Writes an image with one file and returns its path.
pub fn image(dir: &TempDir, name: &str, dependency: Option<&str>) -> PathBuf {
    let root = dir.path().join(format!("{name}-rootfs"));
    std::fs::create_dir_all(root.join("etc")).expect("mkdir");
    std::fs::write(root.join("etc").join(name), name).expect("write");
    let identifier = |name: &str| AcIdentifier::new(&format!("example.com/{name}")).expect("name");
    let mut manifest = ImageManifest::new(identifier(name));
    for (name, value) in [
        ("version", "1.0.0"),
        ("os", "linux"),
        ("arch", crate::fetch::host_arch()),
    ] {
        manifest
            .labels
            .push(Label::new(name, value).expect("label"))
            .expect("no label twice");
    }
    manifest
        .dependencies
        .extend(dependency.map(|name| model::Dependency {
            image_name: identifier(name),
            image_id: None,
            labels: Default::default(),
            size: None,
            extra: Vec::new(),
        }));
    manifest.app = Some(model::App {
        exec: vec!["/bin/true".into()],
        user: "0".into(),
        group: "0".into(),
        ..model::App::default()
    });
    pack(dir, name, &manifest)
}

/// Writes an image that can be a stage1 and returns its path.
pub fn stage1_image(dir: &TempDir, name: &str, annotations: &[(&str, &str)]) -> PathBuf {
    let root = dir.path().join(format!("{name}-rootfs"));
    std::fs::create_dir_all(root.join("rkt/status")).expect("mkdir");
    std::fs::write(root.join("run"), "").expect("write");
    let identifier = AcIdentifier::new(&format!("example.com/{name}")).expect("name");
    let mut manifest = ImageManifest::new(identifier);
    for (name, value) in annotations {
        let annotation = model::Annotation::new(name, value.to_string()).expect("annotation");
        manifest.annotations.push(annotation);
    }
    pack(dir, name, &manifest)
}

fn pack(dir: &TempDir, name: &str, manifest: &ImageManifest) -> PathBuf {
    let path = dir.path().join(format!("{name}.aci"));
    let mut file = std::fs::File::create(&path).expect("create");
    let root = std::fs::File::open(dir.path().join(format!("{name}-rootfs"))).expect("open");
    let bytes = manifest.compact().into_bytes();
    archive::write_aci(&bytes, root.as_fd(), &mut file, &Default::default()).expect("pack");
    path
}
