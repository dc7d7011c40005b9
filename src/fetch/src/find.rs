//! The word for an image in, its ID in the store out: from the store, a file, a
//! URL, a registry or by discovery, as the pull policy says.
//!
//! Nothing that only a fetch needs (credentials, keys, certificates) is read
//! before there is one to be made.
//!
//! Invariants: an image that is found with a check wanted was checked; a build
//! that cannot check refuses. Dependencies are found by the same rules.

use crate::appc::Review;
use crate::{Notes, Progress};
use model::config::Config;
use model::fault::Result;
use model::options::InsecureOptions;
use model::reference::Reference;
use model::{AcIdentifier, Context, Dependency, Fault, ImageId, Label, Labels};
use std::collections::{HashSet, VecDeque};
use std::path::Path;
use store::{ImageRecord, Store};

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

/// What images are found with. Lives for one command.
#[derive(Clone, Copy)]
pub struct Fetcher<'a> {
    pub store: &'a Store,
    pub policy: PullPolicy,
    pub insecure: InsecureOptions,
    /// `--trust-keys-from-https`.
    pub trust_keys_from_https: bool,
    /// Holds the credentials.
    pub config: &'a Config,
    /// Roots of the keystore; keys are written to the local one.
    pub system_config: &'a Path,
    pub local_config: &'a Path,
    pub user_config: Option<&'a Path>,
    /// Whom to ask about keys that discovery finds.
    pub review: &'a dyn Review,
    pub notes: &'a dyn Notes,
    pub progress: &'a dyn Progress,
}

/// An image that was found, and how its dependencies are to be.
pub(crate) struct Found {
    pub id: ImageId,
    pub policy: PullPolicy,
}

/// More images than any tree of dependencies ever had.
const MAX_DEPENDENCIES: usize = 1000;
/// And higher.
const MAX_DEPTH: usize = 64;

impl Fetcher<'_> {
    /// As `run` and `prepare` look: a hash is one.
    pub fn find(&self, word: &str, signature: Option<&str>) -> Result<ImageId> {
        match read_word(word, Reference::parse)? {
            Reference::Hash(prefix) => self.by_hash(&prefix),
            reference => self.with_dependencies(self.locate(reference, signature)?),
        }
    }

    /// As `fetch` looks: a hash is an image name like any other.
    pub fn fetch(&self, word: &str, signature: Option<&str>) -> Result<ImageId> {
        let reference = read_word(word, Reference::parse_for_fetch)?;
        self.with_dependencies(self.locate(reference, signature)?)
    }

    /// As the image of a stage1 is looked for: its dependencies are not, and a
    /// file that is `exempt` needs no signature.
    pub fn find_stage1(&self, word: &str, exempt: bool) -> Result<ImageId> {
        match read_word(word, Reference::parse)? {
            Reference::Hash(prefix) => self.by_hash(&prefix),
            Reference::Path(path) if exempt => {
                self.may_add(&format!("file {path:?}"))?;
                crate::appc::file::import(self, Path::new(&path))
            }
            reference => Ok(self.locate(reference, None)?.id),
        }
    }

    fn by_hash(&self, prefix: &str) -> Result<ImageId> {
        let id = self
            .store
            .resolve(prefix)
            .link(|| format!("could not resolve image \"{prefix}\""))?;
        self.notes
            .debug(&format!("using image from the store with hash {prefix}"));
        Ok(id)
    }

    fn locate(&self, reference: Reference, signature: Option<&str>) -> Result<Found> {
        let origin = |id| Found {
            id,
            policy: self.policy,
        };
        match reference {
            Reference::Hash(prefix) => self.by_hash(&prefix).map(origin),
            Reference::Path(path) => {
                self.may_add(&format!("file {path:?}"))?;
                let path = Path::new(&path);
                let id = crate::appc::file::fetch(self, path, signature)?;
                Ok(beside(id, self.policy))
            }
            Reference::Url(url) => self.by_url(&url, signature).map(origin),
            Reference::Local { path, pick } => {
                self.may_add(&format!("{path:?}"))?;
                let id = crate::appc::archive::fetch(self, &path, pick.as_ref())?;
                Ok(beside(id, self.policy))
            }
            Reference::Docker(text) => self.by_docker(&text).map(origin),
            Reference::Name { name, labels } => self.by_name(&name, &labels, signature).map(origin),
        }
    }

    /// Before the network is asked, or a file read, for what could not be kept.
    fn may_add(&self, what: &str) -> Result<()> {
        self.store.check_writable().map_err(|fault| Fault {
            cause: format!("{what} cannot be fetched: {}", fault.cause),
            ..fault
        })
    }

    fn by_url(&self, url: &str, signature: Option<&str>) -> Result<ImageId> {
        if let Some(id) = self.stored_url(url, "URL", url)? {
            return Ok(id);
        }
        self.may_add(&format!("URL \"{url}\""))?;
        crate::appc::by_url(self, url, signature)
    }

    fn by_docker(&self, text: &str) -> Result<ImageId> {
        let reference = model::docker::DockerReference::parse(text)?;
        let url = format!("docker://{reference}");
        if let Some(id) = self.stored_url(&url, "docker image from URL", &url)? {
            return Ok(id);
        }
        self.may_add(&format!("\"{url}\""))?;
        crate::appc::docker(self, &reference, text, &url)
    }

    /// The image that came from a URL, where the policy lets the store answer.
    fn stored_url(&self, url: &str, what: &str, shown: &str) -> Result<Option<ImageId>> {
        if self.policy == PullPolicy::Update {
            return Ok(None);
        }
        let checked = self.store.by_url(url)?;
        let packed = || Ok(self.store.fetched_by_any(url)?.map(|any| any.record));
        if let Some(record) = self.unless_packed(checked, packed)? {
            self.notes
                .debug(&format!("using image from local store for url {url}"));
            return Ok(Some(record.id));
        }
        match self.policy {
            PullPolicy::Never => Err(not_in_store(&format!("{what} \"{shown}\""))),
            _ => Ok(None),
        }
    }

    fn named(&self, name: &AcIdentifier, labels: &Labels) -> Result<Option<ImageRecord>> {
        let checked = self.store.find(name, labels)?;
        self.unless_packed(checked, || self.store.find_any(name, labels))
    }

    /// What counts for this user, or what another one has packed: for root that
    /// was checked by nobody, so it is taken only where no check is wanted.
    fn unless_packed(
        &self,
        checked: Option<ImageRecord>,
        any: impl FnOnce() -> Result<Option<ImageRecord>>,
    ) -> Result<Option<ImageRecord>> {
        let record = match checked {
            Some(record) => return Ok(Some(record)),
            None => any()?,
        };
        if let Some(record) = &record
            && !self.insecure.skip_image_check()
        {
            self.notes.note(&format!(
                "not taking {}, which was fetched by another user: name it by its ID to take it \
                 without verifying it",
                record.id.as_str()
            ));
            return Ok(None);
        }
        Ok(record)
    }

    fn by_name(
        &self,
        name: &AcIdentifier,
        labels: &Labels,
        signature: Option<&str>,
    ) -> Result<ImageId> {
        let word = Reference::Name {
            name: name.clone(),
            labels: labels.clone(),
        }
        .to_string();
        let labels =
            with_platform(labels).link(|| format!("invalid Appc distribution \"{word}\""))?;
        if self.policy != PullPolicy::Update
            && let Some(record) = self.named(name, &labels)?
        {
            self.notes.debug(&format!(
                "using image from local store for image name {word}"
            ));
            return Ok(record.id);
        }
        if self.policy == PullPolicy::Never {
            return Err(not_in_store(&format!("image name \"{word}\"")));
        }
        self.may_add(&format!("image name \"{word}\""))?;
        crate::appc::by_name(self, &word, name, &labels, signature)
    }

    fn with_dependencies(&self, found: Found) -> Result<ImageId> {
        let fetcher = Fetcher {
            policy: found.policy,
            ..*self
        };
        fetcher.dependencies(&found.id)?;
        Ok(found.id)
    }

    /// Every image that `id` depends on, breadth first, is in the store afterwards.
    pub fn dependencies(&self, id: &ImageId) -> Result<()> {
        let mut seen: HashSet<ImageId> = HashSet::from([id.clone()]);
        let mut asked: HashSet<String> = HashSet::new();
        let mut queue = VecDeque::from([(id.clone(), 0)]);
        while let Some((next, depth)) = queue.pop_front() {
            for dependency in self.store.manifest(&next)?.dependencies {
                // The same want, of another image, has the same answer.
                let want = format!("{dependency:?}");
                if !asked.insert(want) {
                    continue;
                }
                let found = self
                    .dependency(&dependency)
                    .link(|| format!("dependency of image {}", next.as_str()))?;
                if seen.insert(found.clone()) {
                    if seen.len() > MAX_DEPENDENCIES || depth == MAX_DEPTH {
                        return Err(Fault::invalid(format!(
                            "image {} has more than {MAX_DEPENDENCIES} dependencies, or more \
                             than {MAX_DEPTH} one on another",
                            id.as_str()
                        )));
                    }
                    queue.push_back((found, depth + 1));
                }
            }
        }
        Ok(())
    }

    /// An ID says exactly which image; any policy is content with it.
    fn dependency(&self, dependency: &Dependency) -> Result<ImageId> {
        let wanted = dependency.image_id.as_deref();
        if let Some(id) = wanted.and_then(|wanted| self.store.resolve(wanted).ok()) {
            return Ok(id);
        }
        let name = &dependency.image_name;
        if wanted.is_none()
            && self.policy != PullPolicy::Update
            && let Some(record) = self.named(name, &dependency.labels)?
        {
            return Ok(record.id);
        }
        // What the store has of this name is another image.
        let policy = match (wanted, self.policy) {
            (Some(_), PullPolicy::New) => PullPolicy::Update,
            (_, policy) => policy,
        };
        let fetcher = Fetcher { policy, ..*self };
        let id = fetcher.by_name(name, &dependency.labels, None)?;
        match wanted {
            Some(wanted) if !is_prefix(wanted, &id) => Err(Fault::refused(format!(
                "image \"{name}\" should be {wanted}, but what was found is {}",
                id.as_str()
            ))),
            _ => Ok(id),
        }
    }
}

/// IDs in manifests may be longer than ours: the full hash.
fn is_prefix(wanted: &str, id: &ImageId) -> bool {
    let id = id.as_str();
    match wanted.len() < id.len() {
        true => id.starts_with(wanted),
        false => wanted.starts_with(id),
    }
}

/// What is imported by hand mostly depends on what was imported by hand before.
fn beside(id: ImageId, policy: PullPolicy) -> Found {
    let policy = match policy {
        PullPolicy::Update => PullPolicy::New,
        other => other,
    };
    Found { id, policy }
}

type Parse = fn(&str, &dyn Fn(&str) -> bool, &str) -> Result<Reference>;

fn read_word(word: &str, parse: Parse) -> Result<Reference> {
    parse(word, &is_file, &working_directory()?)
}

fn is_file(path: &str) -> bool {
    Path::new(path).is_file()
}

fn working_directory() -> Result<String> {
    let dir = std::env::current_dir().map_err(|e| Fault::io("find", "the working directory", e))?;
    Ok(dir.to_string_lossy().into_owned())
}

fn not_in_store(what: &str) -> Fault {
    Fault::not_found(format!(
        "unable to fetch image from {what}: either image was not found in the store or store \
         was disabled and fetching from remote yielded nothing or it was disabled"
    ))
}

/// This machine's architecture as a label says it.
pub fn host_arch() -> &'static str {
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
