//! What a binary runs on: operating system, architecture and variant, under the
//! names that Go and registries use.
//!
//! Reading normalises (`x86_64` is amd64, `arm64/v8` is arm64, `arm` is arm/v7),
//! so that two spellings of one platform are equal.

use crate::fault::{Fault, Result};
use crate::json::Cursor;
use crate::text::quote;
use std::fmt;

/// Normalised; lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Platform {
    pub os: String,
    pub architecture: String,
    pub variant: Option<String>,
}

/// Go's names and appc's, for the tuples that differ in no variant.
const APPC: [(&str, &str, &str); 12] = [
    ("linux", "amd64", "amd64"),
    ("linux", "386", "i386"),
    ("linux", "arm64", "aarch64"),
    ("linux", "ppc64", "ppc64"),
    ("linux", "ppc64le", "ppc64le"),
    ("linux", "s390x", "s390x"),
    ("linux", "riscv64", "riscv64"),
    ("linux", "loong64", "loong64"),
    ("freebsd", "amd64", "amd64"),
    ("freebsd", "386", "i386"),
    ("darwin", "amd64", "x86_64"),
    ("darwin", "386", "i386"),
];

impl Platform {
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Platform {
        let os = match os.trim().to_ascii_lowercase() {
            os if os == "macos" => "darwin".to_string(),
            os => os,
        };
        let variant = variant.unwrap_or("").trim().to_ascii_lowercase();
        let (architecture, variant) = normal(architecture.trim().to_ascii_lowercase(), variant);
        Platform {
            os,
            architecture,
            variant: Some(variant).filter(|variant| !variant.is_empty()),
        }
    }

    /// `linux/arm/v7`, `linux/amd64`.
    pub fn parse(text: &str) -> Result<Platform> {
        let word = |word: &&str| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        let parts: Vec<&str> = text.splitn(4, '/').collect();
        match parts[..] {
            [os, arch] if parts.iter().all(word) => Ok(Platform::new(os, arch, None)),
            [os, arch, variant] if parts.iter().all(word) => {
                Ok(Platform::new(os, arch, Some(variant)))
            }
            _ => Err(Fault::usage(format!(
                "{} is no platform (expected OS/ARCH or OS/ARCH/VARIANT)",
                quote(text)
            ))),
        }
    }

    /// Linux on this machine; `arch` as `uname` prints it (`x86_64`, `armv7l`).
    pub fn host(arch: &str) -> Platform {
        match arch {
            "armv5tel" | "armv5l" => Platform::new("linux", "arm", Some("v5")),
            "armv6l" | "armv6hl" => Platform::new("linux", "arm", Some("v6")),
            "armv7l" | "armv7hl" => Platform::new("linux", "arm", Some("v7")),
            "armv8l" => Platform::new("linux", "arm", Some("v8")),
            "i486" | "i586" | "i686" | "x86" => Platform::new("linux", "386", None),
            "powerpc64le" => Platform::new("linux", "ppc64le", None),
            "powerpc64" => Platform::new("linux", "ppc64", None),
            "loongarch64" => Platform::new("linux", "loong64", None),
            arch => Platform::new("linux", arch, None),
        }
    }

    /// The values of appc's labels `os` and `arch`; `None` for what appc has no
    /// name for.
    pub fn to_appc(&self) -> Option<(&'static str, &'static str)> {
        match (self.os.as_str(), self.architecture.as_str()) {
            ("freebsd", "arm") => return Some(("freebsd", "arm")),
            ("linux", "arm") => {
                let seven = matches!(self.variant.as_deref(), Some("v7" | "v8"));
                return Some(("linux", if seven { "armv7l" } else { "armv6l" }));
            }
            _ => {}
        }
        APPC.iter()
            .find(|(os, arch, _)| *os == self.os && *arch == self.architecture)
            .map(|(os, _, appc)| (*os, *appc))
    }

    /// Says nothing: neither an operating system nor an architecture.
    pub fn is_empty(&self) -> bool {
        self.os.is_empty() && self.architecture.is_empty()
    }

    /// What is not meant to run, such as an attestation.
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown" || self.architecture == "unknown"
    }

    /// What runs here, the best first: `self`, older variants, and the 32-bit
    /// family where the processor has one. Whether this kernel still runs 32-bit
    /// programs is not known here.
    pub fn candidates(&self) -> Vec<Platform> {
        let with = |architecture: &str, variant: String| Platform {
            os: self.os.clone(),
            architecture: architecture.to_string(),
            variant: Some(variant).filter(|variant| !variant.is_empty()),
        };
        let arm = |from: u32| (5..=from).rev().map(move |n| with("arm", format!("v{n}")));
        let mut list = vec![self.clone()];
        let variant = self.variant.as_deref();
        match self.architecture.as_str() {
            "amd64" => {
                if let Some(level) = number(variant).filter(|level| (2..=9).contains(level)) {
                    list.extend((2..level).rev().map(|n| with("amd64", format!("v{n}"))));
                }
                if variant.is_some() {
                    list.push(with("amd64", String::new()));
                }
                list.push(with("386", String::new()));
            }
            "arm" => list.extend(
                number(variant)
                    .into_iter()
                    .flat_map(|level| arm(level.clamp(5, 9) - 1)),
            ),
            "arm64" => {
                let (major, minor) = arm64_version(variant);
                if major == 9 {
                    list.extend((0..minor).rev().map(|n| with("arm64", dotted(9, n))));
                    let top = (minor + 5).min(9);
                    list.extend((1..=top).rev().map(|n| with("arm64", dotted(8, n))));
                } else {
                    list.extend((1..minor).rev().map(|n| with("arm64", dotted(8, n))));
                }
                if variant.is_some() {
                    list.push(with("arm64", String::new()));
                }
                list.extend(arm(8));
            }
            _ => {}
        }
        list
    }

    /// Whether a program for `other` may run here; what `other` leaves open is no
    /// obstacle.
    pub fn runs(&self, other: &Platform) -> bool {
        let same = |mine: &str, theirs: &str| theirs.is_empty() || mine == theirs;
        self.candidates()
            .iter()
            .any(|mine| same(&mine.os, &other.os) && same(&mine.architecture, &other.architecture))
    }

    pub(super) fn read(cursor: Cursor<'_>) -> Result<Platform> {
        let mut fields = cursor.fields()?;
        let (os, architecture) = (fields.text("os")?, fields.text("architecture")?);
        let variant = fields.text("variant")?;
        Ok(Platform::new(&os, &architecture, Some(&variant)))
    }
}

fn normal(architecture: String, variant: String) -> (String, String) {
    let fixed = |architecture: &str, variant: &str| (architecture.to_string(), variant.to_string());
    match (architecture.as_str(), variant.as_str()) {
        ("x86_64" | "x86-64" | "amd64", "" | "v1") => fixed("amd64", ""),
        ("x86_64" | "x86-64", variant) => fixed("amd64", variant),
        ("i386", _) => fixed("386", ""),
        ("aarch64" | "arm64", "" | "8" | "v8" | "v8.0") => fixed("arm64", ""),
        ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => fixed("arm64", "v9"),
        ("aarch64", variant) => fixed("arm64", variant),
        ("armhf", _) => fixed("arm", "v7"),
        ("armel", _) => fixed("arm", "v6"),
        ("arm", "" | "7") => fixed("arm", "v7"),
        ("arm", "5" | "6" | "8") => ("arm".to_string(), format!("v{variant}")),
        _ => (architecture, variant),
    }
}

/// 7 for `v7`.
fn number(variant: Option<&str>) -> Option<u32> {
    variant?.strip_prefix('v')?.parse().ok()
}

/// 8 and 2 for `v8.2`; plain arm64 is version 8.0. Nothing is known above 9.9.
fn arm64_version(variant: Option<&str>) -> (u32, u32) {
    let text = variant.and_then(|v| v.strip_prefix('v')).unwrap_or("8");
    let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
    match (major.parse(), minor.parse()) {
        (Ok(major @ 8..=9), Ok(minor @ 0..=9)) => (major, minor),
        _ => (8, 0),
    }
}

fn dotted(major: u32, minor: u32) -> String {
    match minor {
        0 => format!("v{major}"),
        minor => format!("v{major}.{minor}"),
    }
}

impl fmt::Display for Platform {
    /// `linux/arm/v7`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_platform_are_equal() {
        for (os, arch, variant, want) in [
            ("Linux", "x86_64", "", "linux/amd64"),
            ("linux", "x86-64", "v1", "linux/amd64"),
            ("linux", "amd64", "V3", "linux/amd64/v3"),
            ("linux", "i386", "x", "linux/386"),
            ("linux", "aarch64", "8", "linux/arm64"),
            ("linux", "arm64", "v8.0", "linux/arm64"),
            ("linux", "arm64", "9.0", "linux/arm64/v9"),
            ("linux", "armhf", "", "linux/arm/v7"),
            ("linux", "armel", "", "linux/arm/v6"),
            ("linux", "arm", "", "linux/arm/v7"),
            ("linux", "arm", "6", "linux/arm/v6"),
            ("macOS", "arm64", "", "darwin/arm64"),
            ("linux", "riscv64", "", "linux/riscv64"),
        ] {
            assert_eq!(Platform::new(os, arch, Some(variant)).to_string(), want);
            assert_eq!(Platform::parse(want).expect("a platform").to_string(), want);
        }
        for bad in ["", "linux", "linux/", "a/b/c/d", "a b/c", "linux/am\x1bd64"] {
            assert!(Platform::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_machine_has_its_platform() {
        for (arch, want) in [
            ("x86_64", "linux/amd64"),
            ("aarch64", "linux/arm64"),
            ("i686", "linux/386"),
            ("armv7l", "linux/arm/v7"),
            ("armv6l", "linux/arm/v6"),
            ("ppc64le", "linux/ppc64le"),
            ("s390x", "linux/s390x"),
            ("loongarch64", "linux/loong64"),
        ] {
            assert_eq!(Platform::host(arch).to_string(), want);
        }
    }

    #[test]
    fn candidates_fall_back_within_the_family() {
        for (platform, want) in [
            ("linux/amd64", "amd64 386"),
            ("linux/amd64/v3", "amd64/v3 amd64/v2 amd64 386"),
            ("linux/386", "386"),
            ("linux/arm64", "arm64 arm/v8 arm/v7 arm/v6 arm/v5"),
            (
                "linux/arm64/v8.2",
                "arm64/v8.2 arm64/v8.1 arm64 arm/v8 arm/v7 arm/v6 arm/v5",
            ),
            (
                "linux/arm64/v9.1",
                "arm64/v9.1 arm64/v9 arm64/v8.6 arm64/v8.5 arm64/v8.4 arm64/v8.3 arm64/v8.2 \
                 arm64/v8.1 arm64 arm/v8 arm/v7 arm/v6 arm/v5",
            ),
            ("linux/arm/v7", "arm/v7 arm/v6 arm/v5"),
            ("linux/arm/v5", "arm/v5"),
            (
                "linux/arm/v4000000000",
                "arm/v4000000000 arm/v8 arm/v7 arm/v6 arm/v5",
            ),
            ("linux/amd64/v4000000000", "amd64/v4000000000 amd64 386"),
            (
                "linux/arm64/v9.4000000000",
                "arm64/v9.4000000000 arm64 arm/v8 arm/v7 arm/v6 arm/v5",
            ),
            ("linux/s390x", "s390x"),
        ] {
            let list: Vec<String> = Platform::parse(platform)
                .expect("a platform")
                .candidates()
                .iter()
                .map(|one| one.to_string().replacen("linux/", "", 1))
                .collect();
            assert_eq!(list.join(" "), want);
        }
    }

    #[test]
    fn what_a_config_leaves_open_is_no_obstacle() {
        let host = Platform::host("x86_64");
        for (os, arch, runs) in [
            ("linux", "amd64", true),
            ("linux", "386", true),
            ("", "", true),
            ("linux", "", true),
            ("linux", "arm64", false),
            ("windows", "amd64", false),
        ] {
            assert_eq!(
                host.runs(&Platform::new(os, arch, None)),
                runs,
                "{os}/{arch}"
            );
        }
    }

    #[test]
    fn appc_has_its_own_names() {
        for (platform, want) in [
            ("linux/amd64", Some(("linux", "amd64"))),
            ("linux/386", Some(("linux", "i386"))),
            ("linux/arm64", Some(("linux", "aarch64"))),
            ("linux/arm/v6", Some(("linux", "armv6l"))),
            ("linux/arm/v7", Some(("linux", "armv7l"))),
            ("linux/ppc64le", Some(("linux", "ppc64le"))),
            ("freebsd/arm", Some(("freebsd", "arm"))),
            ("darwin/amd64", Some(("darwin", "x86_64"))),
            ("linux/mips", None),
            ("windows/amd64", None),
        ] {
            assert_eq!(
                Platform::parse(platform).expect("a platform").to_appc(),
                want
            );
        }
    }
}
