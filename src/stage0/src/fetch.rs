//! Image words in, image IDs in the store out.
//!
//! This build fetches nothing over a network: images come from local files and
//! from the store. Whatever else a word asks for is refused by name; a check is
//! never skipped in silence (a local file without `--insecure-options=image`
//! needs a signature, which this build cannot verify, so it is refused).

use crate::env::Env;
use model::fault::Result;
use model::reference::Reference;
use model::{AcIdentifier, Context, Fault, ImageId, Label, Labels};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use store::{Origin, Store};

/// When the store is asked and when the origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    Never,
    /// `run`'s and `prepare`'s default; any unknown word means this too.
    #[default]
    New,
    /// `fetch`'s default.
    Update,
}

impl PullPolicy {
    pub fn parse(word: &str) -> PullPolicy {
        match word {
            "never" => PullPolicy::Never,
            "update" => PullPolicy::Update,
            _ => PullPolicy::New,
        }
    }
}

/// One image of `rkt fetch`.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub image: String,
    /// `--signature`.
    pub signature: Option<String>,
}

/// `rkt fetch`: `found` hears of each image in argument order, as soon as it
/// and its dependencies are in the store.
pub fn fetch(
    env: &Env,
    images: &[Wanted],
    policy: PullPolicy,
    found: &mut dyn FnMut(&ImageId),
) -> Result<()> {
    if images.is_empty() {
        return Err(Fault::usage("must provide at least one image"));
    }
    let store = open_store(env)?;
    let finder = Finder {
        env,
        store: &store,
        policy,
    };
    for wanted in images {
        let id = finder.fetch(&wanted.image, wanted.signature.as_deref())?;
        finder.dependencies(&id)?;
        if rustix::process::geteuid().is_root() && crate::overlay::unsupported(&env.dir).is_none() {
            // What a start would have to do otherwise.
            store
                .render(&id)
                .message(|| "error rendering tree store".into())?;
        }
        found(&id);
    }
    Ok(())
}

pub(crate) fn open_store(env: &Env) -> Result<Store> {
    Store::open(&env.dir).message(|| "cannot open store".into())
}

pub(crate) struct Finder<'e> {
    pub env: &'e Env,
    pub store: &'e Store,
    pub policy: PullPolicy,
}

/// Dependencies form no deeper tree than this in any image that was ever made.
const MAX_DEPENDENCIES: usize = 1000;

impl Finder<'_> {
    /// As `run` and `prepare` look: a hash is one.
    pub fn find(&self, word: &str, signature: Option<&str>) -> Result<ImageId> {
        match Reference::parse(word, &is_file, &working_directory()?)? {
            Reference::Hash(prefix) => self
                .store
                .resolve(&prefix)
                .link(|| format!("could not resolve image \"{prefix}\"")),
            reference => {
                let id = self.locate(word, reference, signature)?;
                self.dependencies(&id)?;
                Ok(id)
            }
        }
    }

    /// As `fetch` looks: a hash is an image name like any other.
    fn fetch(&self, word: &str, signature: Option<&str>) -> Result<ImageId> {
        let reference = Reference::parse_for_fetch(word, &is_file, &working_directory()?)?;
        self.locate(word, reference, signature)
    }

    fn locate(&self, word: &str, reference: Reference, signature: Option<&str>) -> Result<ImageId> {
        match reference {
            Reference::Hash(prefix) => self.store.resolve(&prefix),
            Reference::Path(path) => self.local_file(Path::new(&path), signature),
            Reference::Url(url) => self.by_url("URL", &url),
            Reference::Docker(reference) => {
                if !self.env.insecure.skip_image_check() && self.policy != PullPolicy::Never {
                    return Err(Fault::refused(
                        "signature verification for docker images is not supported \
                         (try --insecure-options=image)",
                    ));
                }
                self.by_url("docker image from URL", &format!("docker://{reference}"))
            }
            Reference::Name { name, labels } => self.by_name(word, &name, &labels),
        }
    }

    /// A local file is imported again every time: its content may have changed.
    fn local_file(&self, path: &Path, signature: Option<&str>) -> Result<ImageId> {
        self.env.debug_note(
            "image",
            &format!("using image from file {}", path.display()),
        );
        if !self.env.insecure.skip_image_check() {
            return Err(self.unverified(path, signature));
        }
        self.import(path)
    }

    /// As the image of a stage1 is looked for: its dependencies are not, and a
    /// file that is `exempt` needs no signature.
    pub fn find_stage1(&self, word: &str, exempt: bool) -> Result<ImageId> {
        match Reference::parse(word, &is_file, &working_directory()?)? {
            Reference::Hash(prefix) => self
                .store
                .resolve(&prefix)
                .link(|| format!("could not resolve image \"{prefix}\"")),
            Reference::Path(path) if exempt => self.import(Path::new(&path)),
            reference => self.locate(word, reference, None),
        }
    }

    fn import(&self, path: &Path) -> Result<ImageId> {
        let mut file =
            std::fs::File::open(path).map_err(|e| Fault::io("open", path.display(), e))?;
        let origin = Origin {
            url: None,
            latest: false,
            ..Origin::default()
        };
        Ok(self.store.put_aci(&mut file, &origin)?.id)
    }

    fn unverified(&self, path: &Path, signature: Option<&str>) -> Fault {
        let signature = match signature {
            Some(given) => PathBuf::from(given),
            None => signature_path(path),
        };
        if let Err(e) = std::fs::File::open(&signature) {
            return Fault::io("open", signature.display(), e)
                .link("error opening signature file")
                .hint(UNVERIFIED);
        }
        Fault::refused(format!(
            "this build cannot verify signatures, so \"{}\" stays untrusted",
            path.display()
        ))
        .hint(UNVERIFIED)
    }

    fn by_url(&self, what: &str, url: &str) -> Result<ImageId> {
        if self.policy != PullPolicy::Update
            && let Some(record) = self.store.by_url(url)?
        {
            self.env.debug_note(
                "image",
                &format!("using image from local store for url {url}"),
            );
            return Ok(record.id);
        }
        if self.policy == PullPolicy::Never {
            return Err(not_in_store(&format!("{what} \"{url}\"")));
        }
        Err(no_network(url))
    }

    fn by_name(&self, word: &str, name: &AcIdentifier, labels: &Labels) -> Result<ImageId> {
        let labels =
            with_platform(labels).link(|| format!("invalid Appc distribution \"{word}\""))?;
        if self.policy != PullPolicy::Update
            && let Some(record) = self.store.find(name, &labels)?
        {
            self.env.debug_note(
                "image",
                &format!("using image from local store for image name {word}"),
            );
            return Ok(record.id);
        }
        if self.policy == PullPolicy::Never {
            return Err(not_in_store(&format!("image name \"{word}\"")));
        }
        Err(no_network(word))
    }

    /// Every image that `id` depends on must be in the store.
    fn dependencies(&self, id: &ImageId) -> Result<()> {
        let mut seen: HashSet<ImageId> = HashSet::from([id.clone()]);
        let mut queue = vec![id.clone()];
        while let Some(next) = queue.pop() {
            for dependency in self.store.manifest(&next)?.dependencies {
                let found = match &dependency.image_id {
                    Some(prefix) => self.store.resolve(prefix).ok(),
                    None => {
                        let record = self
                            .store
                            .find(&dependency.image_name, &dependency.labels)?;
                        record.map(|record| record.id)
                    }
                };
                let Some(found) = found else {
                    return Err(no_network(dependency.image_name.as_str())
                        .link(format!("dependency of image {}", next.as_str())));
                };
                if seen.insert(found.clone()) {
                    if seen.len() > MAX_DEPENDENCIES {
                        return Err(Fault::invalid(format!(
                            "image {} has more than {MAX_DEPENDENCIES} dependencies",
                            id.as_str()
                        )));
                    }
                    queue.push(found);
                }
            }
        }
        Ok(())
    }
}

fn is_file(path: &str) -> bool {
    Path::new(path).is_file()
}

const UNVERIFIED: &str = "--insecure-options=image takes the image without verifying it";

fn working_directory() -> Result<String> {
    let dir = std::env::current_dir().map_err(|e| Fault::io("find", "the working directory", e))?;
    Ok(dir.to_string_lossy().into_owned())
}

/// `x.aci` is signed by `x.aci.asc`.
fn signature_path(image: &Path) -> PathBuf {
    let mut name = image.as_os_str().to_owned();
    name.push(".asc");
    PathBuf::from(name)
}

fn not_in_store(what: &str) -> Fault {
    Fault::not_found(format!(
        "unable to fetch image from {what}: either image was not found in the store or store \
         was disabled and fetching from remote yielded nothing or it was disabled"
    ))
}

fn no_network(what: &str) -> Fault {
    Fault::unsupported(format!(
        "cannot fetch \"{what}\": this build of rkt has no network fetching"
    ))
    .hint(
        "fetch a local file (rkt fetch ./image.aci); \"rkt image list\" shows what is in the store",
    )
}

/// This machine's architecture as a label says it.
pub(crate) fn host_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "i386",
        "aarch64" => "aarch64",
        "arm" => "armv7l",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

/// Adds this machine's `os` and `arch` where they are missing, and refuses
/// labels that no image for Linux can bear.
fn with_platform(labels: &Labels) -> Result<Labels> {
    let mut all = labels.clone();
    for (name, value) in [("os", "linux"), ("arch", host_arch())] {
        if all.get(name).is_none() {
            all.push(Label::new(name, value)?)?;
        }
    }
    all.check_platform()?;
    Ok(all)
}
