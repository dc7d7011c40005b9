//! What a service is called and executes: everything that the files of a
//! service are made of, and nothing that has to be looked up any more.

use super::line::Line;
use crate::pod_line::PodLine;
use model::fault::{Fault, Result};
use model::text::quote;
use model::{PodManifest, Value};
use stage0::stage1_image::Flavor;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path};

/// Where the UUIDs of services' pods lie; empty after boot.
pub const STATE: &str = "/run/rkt-services";

pub struct Request {
    /// Of the service.
    pub name: String,
    /// What the pod is, in a few words, for comments.
    pub title: String,
    /// The program and its global flags.
    pub rkt: Vec<String>,
    /// Behind `run`: flags, images, arguments.
    pub words: Vec<String>,
    /// Holds the pod's UUID as long as the service is up.
    pub uuid_file: String,
    /// Whose pod it is, if not root's.
    pub user: Option<User>,
    /// The built-in stage1 that runs the pod; `None` is an image.
    pub stage1: Option<Flavor>,
    /// Has links of its own, or is fetched from elsewhere.
    pub network: bool,
    /// Of a prepared pod: what it was made of.
    pub manifest: Option<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub home: String,
}

impl Request {
    /// A built-in stage1 removes its pod and says when it is ready; others can do neither.
    pub fn built_in(&self) -> bool {
        self.stage1.is_some()
    }

    /// Whether `run` can leave the pod to itself.
    pub fn detaches(&self) -> bool {
        self.stage1 == Some(Flavor::Native)
    }

    /// The words of the pod in the foreground, from the program on.
    pub fn foreground(&self, more: &[&str]) -> Vec<String> {
        let mut words = self.begin();
        if self.built_in() {
            words.push("--rm".to_string());
            words.extend(more.iter().map(|word| word.to_string()));
        }
        words.extend(self.words.iter().cloned());
        words
    }

    /// The same in the background, of a pod that detaches; returns when the pod is ready.
    pub fn background(&self) -> Vec<String> {
        let mut words = self.begin();
        words.push("--detach".to_string());
        words.extend(self.words.iter().cloned());
        words
    }

    fn begin(&self) -> Vec<String> {
        let mut words = self.rkt.clone();
        words.push("run".to_string());
        words.push(format!("--uuid-file-save={}", self.uuid_file));
        words
    }

    /// What the pod was made of, as the file beside the service that `run` is to read.
    pub fn reads_manifest(&mut self, path: &str) {
        self.words.push(format!("--pod-manifest={path}"));
    }
}

/// The program that is running, by a name that any of the languages can hold.
pub fn program() -> Result<String> {
    let path = std::env::current_exe().map_err(|e| Fault::io("find", "the program of rkt", e))?;
    let text = path.to_string_lossy().into_owned();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._+-".contains(&b);
    match path.is_absolute() && text.bytes().all(plain) {
        true => Ok(text),
        false => Err(
            Fault::unsupported(format!("a service cannot execute {}", quote(&text)))
                .hint("install rkt under a path of letters, digits and \"/._+-\""),
        ),
    }
}

/// A name that is a file's name for every init system, and no flag.
pub fn check_name(name: &str) -> Result<()> {
    const LONGEST: usize = 64;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let good = name.len() <= LONGEST
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(plain);
    match good {
        true => Ok(()),
        false => Err(Fault::usage(format!("{} cannot name a service", quote(name))).hint(
            "--name=SERVICE before the image takes up to 64 letters, digits and \"._-\", a letter or \
             digit first",
        )),
    }
}

/// The name that the words suggest: the image's last part without its version.
pub fn name_of(word: &str) -> String {
    let end = word
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or(word);
    let end = end.split(['@', ':', ',']).next().unwrap_or(end);
    let end = end.strip_suffix(".aci").unwrap_or(end);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let kept: String = end
        .chars()
        .map(|c| if plain(c) { c } else { '-' })
        .take(64)
        .collect();
    kept.trim_start_matches(['.', '_', '-']).to_string()
}

/// Whether the pod can want the host's network: links of its own, or an image
/// from elsewhere.
pub fn wants_network(line: &Line, pod: &PodLine) -> bool {
    let nets = pod.flags.owned("net");
    let without = !nets.is_empty() && nets.iter().all(|net| net == "none");
    let local = |image: &str| image.starts_with(['/', '.']) || image.starts_with("sha512-");
    let local = |image: &str| local(image) || image.starts_with("file:");
    let fetched = pod.pod.apps.iter().any(|app| !local(&app.image));
    let never = line
        .words
        .iter()
        .any(|word| matches!(word.as_str(), "--pull-policy=never" | "--store-only=true"));
    !without || fetched && !never
}

/// Whoever types the line is whose pod it is; root's is everybody's default.
pub fn caller() -> Result<Option<User>> {
    let uid = std::fs::metadata("/proc/self")
        .map_err(|e| Fault::io("stat", "/proc/self", e))?
        .uid();
    if uid == 0 {
        return Ok(None);
    }
    let passwd = std::fs::read("/etc/passwd").unwrap_or_default();
    find_user(&String::from_utf8_lossy(&passwd), uid)
        .map(Some)
        .ok_or_else(|| {
            Fault::not_found(format!("user {uid} is not in /etc/passwd"))
                .hint("a service needs the name and the home of the user whose pod it runs")
        })
}

fn find_user(passwd: &str, uid: u32) -> Option<User> {
    let plain = |text: &str, more: &[u8]| {
        text.bytes()
            .all(|b| b.is_ascii_alphanumeric() || more.contains(&b))
    };
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, number, group, _, home, ..] = fields[..] else {
            return None;
        };
        let gid = group.parse().ok()?;
        let good = plain(name, b"._-") && home.starts_with('/') && plain(home, b"/._+-");
        (number.parse() == Ok(uid) && !name.is_empty() && !name.starts_with('-') && good).then(
            || User {
                name: name.to_string(),
                uid,
                gid,
                home: home.to_string(),
            },
        )
    })
}

/// A path that stands in a file of a service as a whole.
pub fn check_place(path: &str) -> Result<()> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._+@-".contains(&b);
    let up = Path::new(path)
        .components()
        .any(|part| part == Component::ParentDir);
    match path.starts_with('/') && path.bytes().all(plain) && !up {
        true => Ok(()),
        false => Err(
            Fault::usage(format!("a service cannot stand in {}", quote(path)))
                .hint("choose a directory of letters, digits and \"/._+@-\""),
        ),
    }
}

/// The manifest of a pod that can be made once more, and its first app's name.
pub fn manifest(bytes: &[u8]) -> Result<(Vec<u8>, String)> {
    let manifest = PodManifest::parse(bytes)?;
    let first = manifest
        .apps
        .first()
        .map(|app| app.name.as_str().to_string());
    let document: Value = model::json::parse(bytes)?;
    let mut text = crate::output::json::Form::Pretty.render(&document);
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok((text.into_bytes(), first.unwrap_or_default()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn an_image_suggests_a_name() {
        for (word, name) in [
            ("docker://redis", "redis"),
            ("docker://host:5000/a/b_c:7.2@sha256:00", "b_c"),
            ("/srv/hello.aci", "hello"),
            ("coreos.com/etcd:v3.1.7,os=linux", "etcd"),
            ("./-x y.aci", "x-y"),
            ("..", ""),
        ] {
            assert_eq!(name_of(word), name, "{word}");
        }
    }

    #[test]
    fn names_and_places_that_need_no_quotes() {
        for name in ["redis", "a.b_c-1", "7"] {
            check_name(name).unwrap();
        }
        let long = "a".repeat(65);
        for name in ["", "-x", ".x", "a b", "a/b", "a@b", "ü", "a\n", &long] {
            check_name(name).unwrap_err();
        }
        check_place("/etc/sv/redis@1").unwrap();
        for place in ["", "etc", "/a b", "/a/../b", "/a\n", "/$x"] {
            check_place(place).unwrap_err();
        }
    }

    #[test]
    fn a_user_has_a_name_and_a_home() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbad\nann:x:1000:1000::/home/ann:/bin/sh\n\
                      b$d:x:7:7::/home/b:/bin/sh\nc:x:8:8::/ho me:/bin/sh\n";
        let ann = find_user(passwd, 1000).unwrap();
        assert_eq!((ann.name.as_str(), ann.home.as_str()), ("ann", "/home/ann"));
        for uid in [7, 8, 9] {
            assert_eq!(find_user(passwd, uid), None);
        }
    }
}
