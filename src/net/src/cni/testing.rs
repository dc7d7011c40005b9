//! Plugins for tests: shell scripts in a directory of their own that record
//! how they were called.
#![expect(clippy::unwrap_used, reason = "tests")]

use crate::attach::{Dirs, Site};
use crate::{Network, Plugin};
use model::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub(crate) const ID: &str = "5e7f8a60-d4bb-4bd7-8b1b-ad3f4c0e9f8a";
/// Longer than any test lasts.
pub(crate) const LONG: Duration = Duration::from_secs(120);

/// A directory with plugins, and what they wrote; removed at the end.
pub(crate) struct Bench {
    pub(crate) root: PathBuf,
    pub(crate) dirs: Dirs,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("rkt-test-cni-{}-{count}", std::process::id());
        let root = std::env::temp_dir().join(name);
        let dirs = Dirs {
            plugins: vec![root.join("first"), root.join("second")],
            leases: root.join("networks"),
            results: root.join("lib/results"),
        };
        for dir in &dirs.plugins {
            fs::create_dir_all(dir).unwrap();
        }
        Bench { root, dirs }
    }

    /// A script that appends `NAME COMMAND` to the log, keeps its variables and
    /// its input in `NAME.COMMAND.{env,in}`, and then does `body`; `$root` is
    /// the bench's directory.
    pub(crate) fn script(&self, name: &str, body: &str) -> PathBuf {
        let root = self.root.display();
        let record = format!(
            "root={root}\necho \"{name} $CNI_COMMAND\" >>$root/log\n\
             env >$root/{name}.$CNI_COMMAND.env\ncat >$root/{name}.$CNI_COMMAND.in\n"
        );
        let path = self.dirs.plugins[1].join(name);
        fs::write(&path, format!("#!/bin/sh\n{record}{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// One that adds nothing and removes nothing.
    pub(crate) fn plain(&self, name: &str) -> PathBuf {
        self.script(
            name,
            "[ $CNI_COMMAND = DEL ] || echo '{\"cniVersion\":\"1.0.0\"}'",
        )
    }

    pub(crate) fn site(&self) -> Site<'_> {
        Site {
            id: ID,
            netns: None,
            netns_path: "/run/netns/x",
            dirs: &self.dirs,
            mappings: &[],
            patience: LONG,
            notes: Default::default(),
        }
    }

    /// `NAME COMMAND` of each call, in order.
    pub(crate) fn log(&self) -> Vec<String> {
        let text = self.text("log");
        text.lines().map(str::to_string).collect()
    }

    /// A file below the root; empty when it is not there.
    pub(crate) fn text(&self, name: impl AsRef<Path>) -> String {
        fs::read_to_string(self.root.join(name)).unwrap_or_default()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// A network as its file would be read: of one object, or of a list of them.
pub(crate) fn network(version: &str, plugins: &[&str]) -> Network {
    let plugins: Vec<Plugin> = plugins
        .iter()
        .map(|text| {
            let object = json::parse(text.as_bytes()).unwrap();
            Plugin {
                kind: object["type"].as_str().unwrap().to_string(),
                object,
            }
        })
        .collect();
    let single = plugins.len() == 1;
    let text = match single {
        true => json::to_compact(&plugins[0].object),
        false => format!(r#"{{"cniVersion":"{version}","name":"net1","plugins":[]}}"#),
    };
    let file = if single { "10-a.conf" } else { "10-a.conflist" };
    Network {
        name: "net1".into(),
        file: file.into(),
        origin: format!("/etc/rkt/net.d/{file}"),
        text: text.into_bytes(),
        version: version.into(),
        plugins,
        args: String::new(),
    }
}
