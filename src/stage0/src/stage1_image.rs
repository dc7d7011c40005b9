//! Which stage1 a pod gets. Two are built in, and the names of the images that
//! came with rkt 1.30 are aliases of them, whatever version they name. Any
//! other word names an image that keeps rkt's contract of stage0 and stage1.
//!
//! A stage1 image is trusted with the host: it runs as root outside of any pod.
//! So it is verified like every image, but for those that lie where only the
//! distribution's packages put them.

use crate::env::Env;
use crate::fetch::{PullPolicy, Remarks, fetcher};
use crate::legacy::Stage1Image;
use model::{Context, Fault, fault::Result};
use pod::entry::Interface;
use std::path::{Component, Path, PathBuf};
use store::Store;

/// One of the `--stage1-*` flags; the face refuses two of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    Url(String),
    Path(String),
    Name(String),
    Hash(String),
    /// `--stage1-from-dir`.
    FromDir(String),
}

/// A built-in stage1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    /// Namespaces, cgroups, a supervisor.
    Native,
    /// One app in a chroot.
    Fly,
}

impl Flavor {
    /// As `P/flavor` and the stage1 manifest say it.
    pub fn name(self) -> &'static str {
        match self {
            Flavor::Native => "native",
            Flavor::Fly => "fly",
        }
    }

    /// The flavour of a pod's `P/flavor`.
    pub(crate) fn of_pod(pod: &pod::Pod) -> Flavor {
        match pod.flavor().as_deref() {
            Some("fly") => Flavor::Fly,
            _ => Flavor::Native,
        }
    }

    pub(crate) fn interface(self) -> Interface {
        match self {
            Flavor::Native => Interface::BUILTIN,
            Flavor::Fly => Interface {
                version: 5,
                builtin: true,
            },
        }
    }

    fn alias(flavor: &str) -> Result<Option<Flavor>> {
        match flavor {
            "coreos" | "src" | "host" | "native" => Ok(Some(Flavor::Native)),
            "fly" => Ok(Some(Flavor::Fly)),
            "kvm" => Err(
                Fault::unsupported(format!("this build of rkt has no {flavor} stage1"))
                    .hint("leave the --stage1 flag away for the built-in container stage1"),
            ),
            _ => Ok(None),
        }
    }
}

/// What a pod is to be run by.
#[derive(Clone, Debug)]
pub(crate) enum Selected {
    BuiltIn(Flavor),
    Image(Stage1Image),
}

/// The stage1 that a flag, else the configuration, else nothing asks for; an
/// image is in the store afterwards.
pub(crate) fn select(env: &Env, store: &Store, choice: Option<&Choice>) -> Result<Selected> {
    let Some(choice) = choice else {
        return match &env.config.stage1_name_version {
            Some((name, version)) => configured(env, store, name, version),
            None => Ok(Selected::BuiltIn(Flavor::Native)),
        };
    };
    let (word, exempt) = match choice {
        Choice::Url(word) | Choice::Path(word) => (word.clone(), is_packaged(word)),
        Choice::Name(word) | Choice::Hash(word) => (word.clone(), false),
        Choice::FromDir(name) => {
            if let Some(flavor) = by_name(name)? {
                return Ok(Selected::BuiltIn(flavor));
            }
            let dir = env.config.stage1_images.as_deref().unwrap_or(IMAGES_DIR);
            let path = Path::new(dir).join(name).to_string_lossy().into_owned();
            (path.clone(), is_packaged(&path))
        }
    };
    // The kind of the flag says nothing of its value, as ever: a name may
    // stand behind --stage1-path.
    if let Some(flavor) = by_name(&word)? {
        return Ok(Selected::BuiltIn(flavor));
    }
    if let Some(flavor) = by_file(Path::new(&word))? {
        return Ok(Selected::BuiltIn(flavor));
    }
    let remarks = Remarks(env);
    let id = fetcher(env, store, PullPolicy::New, &remarks)
        .find_stage1(&word, exempt)
        .message(|| "failed to fetch stage1 image".into())?;
    Stage1Image::of(store, id).map(Selected::Image)
}

/// Which of the two that are built in a pod would get; `None` is an image, which
/// nobody looks for here.
pub fn built_in(env: &Env, choice: Option<&Choice>) -> Result<Option<Flavor>> {
    let (word, dir) = match choice {
        None => {
            let configured = env.config.stage1_name_version.as_ref();
            return configured.map_or(Ok(Some(Flavor::Native)), |(name, _)| by_name(name));
        }
        Some(Choice::FromDir(word)) => (word, env.config.stage1_images.as_deref()),
        Some(Choice::Url(word) | Choice::Path(word) | Choice::Name(word) | Choice::Hash(word)) => {
            (word, Some(""))
        }
    };
    let file = Path::new(dir.unwrap_or(IMAGES_DIR)).join(word);
    Ok(by_name(word)?.or(by_file(&file)?))
}

/// Where the packages of rkt put their stage1 images.
const IMAGES_DIR: &str = "/usr/lib/rkt/stage1-images";

/// Lies (and not by way of `..`) in the directory of the packages.
fn is_packaged(word: &str) -> bool {
    let path = Path::new(word.strip_prefix("file://").unwrap_or(word));
    path.strip_prefix(IMAGES_DIR).is_ok_and(|rest| {
        rest.components().next().is_some()
            && rest
                .components()
                .all(|part| matches!(part, Component::Normal(_)))
    })
}

/// `name` and `version` of the configuration: from the store, else from the
/// configured location, else from beside the rkt program.
fn configured(env: &Env, store: &Store, name: &str, version: &str) -> Result<Selected> {
    if let Some(flavor) = by_name(name)? {
        return Ok(Selected::BuiltIn(flavor));
    }
    let remarks = Remarks(env);
    let finder = |policy| fetcher(env, store, policy, &remarks);
    let word = format!("{name}:{version}");
    let id = match finder(PullPolicy::Never).find_stage1(&word, false) {
        Ok(id) => id,
        Err(_) => {
            let Some(location) = env.config.stage1_location.as_deref() else {
                return Err(Fault::not_found(
                    "neither the location of the default stage1 image nor its filename are set, \
                     use --stage1-{path,url,name,hash,from-dir} flag",
                ));
            };
            let found = finder(PullPolicy::New).find_stage1(location, is_packaged(location));
            match (found, beside_rkt(location)) {
                (Ok(id), _) => id,
                (Err(_), Some(path)) => finder(PullPolicy::New)
                    .find_stage1(&path.to_string_lossy(), true)
                    .message(|| {
                        "failed to fetch stage1 image and failed to fall back to stage1 image in \
                         the rkt directory"
                            .into()
                    })?,
                (Err(fault), None) => return Err(fault.message("failed to fetch stage1 image")),
            }
        }
    };
    Ok(Selected::Image(Stage1Image::of(store, id)?))
}

/// The second chance of a configured path: a file of that name in the
/// directory of the program that runs.
fn beside_rkt(location: &str) -> Option<PathBuf> {
    let location = Path::new(location);
    if !location.is_absolute() {
        return None;
    }
    let program = std::env::current_exe().ok()?;
    Some(program.parent()?.join(location.file_name()?))
}

/// `coreos.com/rkt/stage1-<flavor>[:version][,label=…]`; upstream's `src` has
/// systemd's version behind it.
fn by_name(word: &str) -> Result<Option<Flavor>> {
    let name = word.split([':', ',']).next().unwrap_or(word);
    let Some(flavor) = name.strip_prefix("coreos.com/rkt/stage1-") else {
        return Ok(None);
    };
    let flavor = if flavor.starts_with("src-") {
        "src"
    } else {
        flavor
    };
    Flavor::alias(flavor)
}

/// The file names of upstream's images stand for the built-in ones where no
/// such file is (any more). One that exists was put there to be run.
fn by_file(path: &Path) -> Result<Option<Flavor>> {
    if path.exists() {
        return Ok(None);
    }
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    match name
        .strip_prefix("stage1-")
        .and_then(|name| name.strip_suffix(".aci"))
    {
        Some(flavor) => Flavor::alias(flavor),
        None => Ok(None),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn upstream_names_are_aliases_in_any_version() {
        for name in [
            "coreos",
            "src",
            "src-v233",
            "host",
            "coreos:1.30.0",
            "coreos:1.0.0,os=linux",
        ] {
            let word = format!("coreos.com/rkt/stage1-{name}");
            assert_eq!(by_name(&word).unwrap(), Some(Flavor::Native), "{word}");
        }
        assert_eq!(
            by_name("coreos.com/rkt/stage1-fly:1.30.0").unwrap(),
            Some(Flavor::Fly)
        );
        assert!(by_name("coreos.com/rkt/stage1-kvm").is_err());
        assert_eq!(by_name("example.com/stage1-host").unwrap(), None);
    }

    #[test]
    fn only_the_packages_directory_is_exempt_from_verification() {
        for word in [
            "/usr/lib/rkt/stage1-images/x.aci",
            "file:///usr/lib/rkt/stage1-images/a/x.aci",
        ] {
            assert!(is_packaged(word), "{word}");
        }
        for word in [
            "/usr/lib/rkt/stage1-images",
            "/usr/lib/rkt/stage1-images/",
            "/usr/lib/rkt/stage1-images/../x.aci",
            "/usr/lib/rkt/stage1-images-x/x.aci",
            "usr/lib/rkt/stage1-images/x.aci",
            "https:///usr/lib/rkt/stage1-images/x.aci",
            "x.aci",
            "",
        ] {
            assert!(!is_packaged(word), "{word}");
        }
    }

    #[test]
    fn what_is_configured_may_be_an_image() {
        let dir = crate::testing::TempDir::new();
        let mut env = crate::testing::env(&dir, "all");
        assert_eq!(built_in(&env, None).unwrap(), Some(Flavor::Native));
        for (name, expected) in [
            ("coreos.com/rkt/stage1-fly", Some(Flavor::Fly)),
            ("example.com/stage1", None),
        ] {
            env.config.stage1_name_version = Some((name.to_string(), "1.30.0".to_string()));
            assert_eq!(built_in(&env, None).unwrap(), expected, "{name}");
        }
        let fly = Choice::FromDir("stage1-fly.aci".to_string());
        assert_eq!(built_in(&env, Some(&fly)).unwrap(), Some(Flavor::Fly));
        env.config.stage1_images = Some(dir.path().to_string_lossy().into_owned());
        std::fs::write(dir.path().join("stage1-fly.aci"), "").unwrap();
        assert_eq!(built_in(&env, Some(&fly)).unwrap(), None);
    }

    #[test]
    fn a_file_that_exists_is_no_alias() {
        let dir = crate::testing::TempDir::new();
        let fly = dir.path().join("stage1-fly.aci");
        assert_eq!(by_file(&fly).unwrap(), Some(Flavor::Fly));
        let path = dir.path().join("stage1-coreos.aci");
        assert_eq!(by_file(&path).unwrap(), Some(Flavor::Native));
        std::fs::write(&path, "").unwrap();
        assert_eq!(by_file(&path).unwrap(), None);
        assert_eq!(by_file(&dir.path().join("other.aci")).unwrap(), None);
    }
}
