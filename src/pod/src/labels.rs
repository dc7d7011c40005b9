//! SELinux labels of a pod: `P/selinux`, which stage0 writes when it makes a pod
//! on a host with SELinux, and every later entry point reads.
//!
//! Two lines: the context that the pod's processes run in, and the one of its
//! files. Both have the same level, whose two categories no other running pod
//! of the data directory has. Without the file the pod has no labels.

use model::{Fault, fault::Result};
use std::fmt;

use crate::{Pod, layout};

/// The kernel takes no more than a page; no policy comes near this.
const LONGEST: usize = 1024;

/// `user:role:type[:level]`, of characters that mean nothing in mount options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    user: String,
    role: String,
    kind: String,
    level: Option<String>,
}

impl Context {
    pub fn new(user: &str, role: &str, kind: &str, level: Option<&str>) -> Result<Context> {
        let context = Context {
            user: user.to_string(),
            role: role.to_string(),
            kind: kind.to_string(),
            level: level.map(str::to_string),
        };
        let plain = |text: &str, more: &[u8]| {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || more.contains(&byte);
            !text.is_empty() && text.bytes().all(known)
        };
        let parts = [user, role, kind]
            .into_iter()
            .all(|part| plain(part, b"_.-@"));
        let level = level.is_none_or(|level| plain(level, b"_.-:,"));
        let text = context.to_string();
        if parts && level && text.len() <= LONGEST {
            return Ok(context);
        }
        let shown: String = text.chars().take(200).collect();
        Err(
            Fault::invalid(format!("{shown:?} is not an SELinux context")).hint(
                "contexts have the form user:role:type:level, of letters, digits and \"_.,-:\"",
            ),
        )
    }

    /// A level may hold colons, the others do not.
    pub fn parse(text: &str) -> Result<Context> {
        let mut parts = text.splitn(4, ':');
        let mut part = || parts.next().unwrap_or_default();
        let (user, role, kind) = (part(), part(), part());
        Context::new(user, role, kind, parts.next())
    }

    /// None where the policy knows no levels.
    pub fn level(&self) -> Option<&str> {
        self.level.as_deref()
    }

    /// The same at another level, if it has one at all.
    pub fn at_level(&self, level: &str) -> Result<Context> {
        let level = self.level.is_some().then_some(level);
        Context::new(&self.user, &self.role, &self.kind, level)
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Context {
            user, role, kind, ..
        } = self;
        write!(f, "{user}:{role}:{kind}")?;
        match &self.level {
            Some(level) => write!(f, ":{level}"),
            None => Ok(()),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    pub process: Context,
    pub mount: Context,
}

impl Labels {
    pub fn parse(bytes: &[u8]) -> Result<Labels> {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.lines();
        let mut line = || Context::parse(lines.next().unwrap_or_default());
        let labels = Labels {
            process: line()?,
            mount: line()?,
        };
        match lines.next() {
            None => Ok(labels),
            Some(_) => Err(Fault::corrupt(format!("{} is damaged", layout::SELINUX))),
        }
    }

    pub fn text(&self) -> String {
        format!("{}\n{}\n", self.process, self.mount)
    }
}

impl Pod {
    pub fn labels(&self) -> Result<Option<Labels>> {
        self.read_file(layout::SELINUX)?
            .map(|bytes| Labels::parse(&bytes).map_err(|fault| fault.link(layout::SELINUX)))
            .transpose()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn labels_survive_and_damage_is_refused() {
        let text = "system_u:system_r:container_t:s0:c1,c22\nsystem_u:object_r:container_file_t:s0:c1,c22\n";
        let labels = Labels::parse(text.as_bytes()).unwrap();
        assert_eq!(labels.text(), text);
        assert_eq!(labels.mount.level(), Some("s0:c1,c22"));
        let mount = labels.mount.at_level("s0:c7").unwrap();
        assert_eq!(
            mount.to_string(),
            "system_u:object_r:container_file_t:s0:c7"
        );
        for bad in [
            "",
            "a:b:c\n",
            "a:b:c\nd:e\n",
            "a:b:c\nd:e:f\ng:h:i\n",
            "\n\n",
        ] {
            assert!(Labels::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_policy_without_levels_has_none() {
        let context = Context::parse("u:r:t").unwrap();
        assert_eq!(context.at_level("s0:c1").unwrap().to_string(), "u:r:t");
    }

    /// They end up between quotation marks in mount options.
    #[test]
    fn nothing_gets_out_of_a_mount_option() {
        for bad in [
            "u:r:t\",suid,x=\"",
            "u:r:t:s0 ",
            "u:r:t:",
            "u::t:s0",
            "u:r:t:s0\nx",
            "u:r:t:s0\\",
            "u:r:\u{e9}:s0",
            "u:r:t,context=x",
        ] {
            assert!(Context::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Context::parse(&format!("u:r:t:s0:{}", "c1,".repeat(500))).is_err());
    }
}
