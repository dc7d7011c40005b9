//! What an app's root is made of: decided by prepare, done by stage1.
//!
//! `appsinfo/<app>/rootfs` is compact JSON. Overlay:
//! `{"kind":"overlay","treeID":"deps-…","lowers":["/…/l/ab","…"]}`, the lowers
//! topmost first, as `lowerdir=` wants them; the writable part is
//! `overlay/<treeID>/upper/<app>`. Copied: `{"kind":"copied","treeID":"…"}`,
//! with the files in `stage1/rootfs/opt/stage2/<app>/rootfs`.

use model::{AcName, Fault, Value, fault::Result};

use crate::{Pod, files, layout};

const MAX: usize = 1 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rootfs {
    Overlay {
        tree_id: String,
        /// Absolute paths, topmost first.
        lowers: Vec<String>,
    },
    Copied {
        tree_id: String,
    },
}

/// A tree id becomes a directory name, so it is one plain word.
pub(crate) fn is_tree_id(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 128
        && !text.starts_with('.')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

impl Rootfs {
    pub fn tree_id(&self) -> &str {
        match self {
            Rootfs::Overlay { tree_id, .. } | Rootfs::Copied { tree_id } => tree_id,
        }
    }

    pub fn is_overlay(&self) -> bool {
        matches!(self, Rootfs::Overlay { .. })
    }

    fn check(self) -> Result<Rootfs> {
        if !is_tree_id(self.tree_id()) {
            return Err(Fault::invalid(format!(
                "{:?} is no tree id",
                self.tree_id()
            )));
        }
        if let Rootfs::Overlay { lowers, .. } = &self {
            if lowers.is_empty() {
                return Err(Fault::invalid("an overlay without lower directories"));
            }
            let bad = lowers.iter().find(|lower| {
                !lower.starts_with('/')
                    || lower.contains('\0')
                    || lower.split('/').any(|p| p == "..")
            });
            if let Some(bad) = bad {
                return Err(Fault::invalid(format!(
                    "lower directory {bad:?} is not absolute"
                )));
            }
        }
        Ok(self)
    }

    pub fn to_json(&self) -> String {
        let value: Value = match self {
            Rootfs::Overlay { tree_id, lowers } => {
                let lowers = lowers.iter().map(String::as_str).collect::<Value>();
                [
                    ("kind", Value::from("overlay")),
                    ("treeID", Value::from(tree_id.as_str())),
                    ("lowers", lowers),
                ]
                .into_iter()
                .collect()
            }
            Rootfs::Copied { tree_id } => [("kind", "copied"), ("treeID", tree_id)]
                .into_iter()
                .collect(),
        };
        model::json::to_compact(&value)
    }

    pub fn parse(bytes: &[u8]) -> Result<Rootfs> {
        let value = model::json::parse(bytes)?;
        let text = |key: &str| {
            value
                .get(key)
                .and_then(Value::as_str)
                .ok_or_else(|| Fault::invalid(format!("expected a string for {key:?}")))
        };
        let tree_id = text("treeID")?.to_string();
        let rootfs = match text("kind")? {
            "copied" => Rootfs::Copied { tree_id },
            "overlay" => {
                let lowers = value
                    .get("lowers")
                    .and_then(Value::as_array)
                    .and_then(|list| {
                        list.iter()
                            .map(|lower| lower.as_str().map(String::from))
                            .collect()
                    })
                    .ok_or_else(|| Fault::invalid("expected an array of strings for \"lowers\""))?;
                Rootfs::Overlay { tree_id, lowers }
            }
            other => return Err(Fault::invalid(format!("unknown kind of rootfs {other:?}"))),
        };
        rootfs.check()
    }
}

impl Pod {
    /// Writes an app's record; for an overlay also `treeStoreID`, which tells
    /// image gc that the tree is in use.
    pub fn write_rootfs(&self, app: &AcName, rootfs: &Rootfs) -> Result<()> {
        let rootfs = rootfs.clone().check()?;
        let dir = self.make_app_info(app)?;
        let write = |name: &str, text: &str| {
            files::write(&dir, name, layout::FILE_MODE, text.as_bytes())
                .map_err(|err| self.io(&format!("write {name} of app {:?} of", app.as_str()), err))
        };
        write("rootfs", &rootfs.to_json())?;
        if rootfs.is_overlay() {
            write("treeStoreID", rootfs.tree_id())
        } else {
            Ok(())
        }
    }

    /// Reads an app's record. Pods of rkt 1.30 have none.
    pub fn rootfs(&self, app: &AcName) -> Result<Rootfs> {
        let path = layout::app_rootfs_record(app);
        let bytes = files::read(self, &path, MAX)
            .map_err(|err| self.io(&format!("read {path} of"), err))?;
        Rootfs::parse(&bytes).map_err(|fault| fault.link(path))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn records_survive_reading_and_writing() {
        let lowers = vec![
            "/var/lib/rkt/store/l/a:b,c".to_string(),
            "/x/\"y\\".to_string(),
        ];
        let table = [
            Rootfs::Overlay {
                tree_id: "deps-sha512-00".into(),
                lowers,
            },
            Rootfs::Copied {
                tree_id: "x_1".into(),
            },
        ];
        for rootfs in table {
            assert_eq!(Rootfs::parse(rootfs.to_json().as_bytes()).unwrap(), rootfs);
        }
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        let table = [
            r#"{"kind":"copied","treeID":"../x"}"#,
            r#"{"kind":"copied","treeID":""}"#,
            r#"{"kind":"copied","treeID":".."}"#,
            r#"{"kind":"copied"}"#,
            r#"{"kind":"overlay","treeID":"a","lowers":[]}"#,
            r#"{"kind":"overlay","treeID":"a","lowers":["rel"]}"#,
            r#"{"kind":"overlay","treeID":"a","lowers":["/a/../b"]}"#,
            r#"{"kind":"overlay","treeID":"a","lowers":["/a\u0000"]}"#,
            r#"{"kind":"overlay","treeID":"a","lowers":[1]}"#,
            r#"{"kind":"other","treeID":"a"}"#,
            "[]",
        ];
        for text in table {
            assert!(Rootfs::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
