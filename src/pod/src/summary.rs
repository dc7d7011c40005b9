//! `P/summary`: what a listing needs, written once by prepare, so that 1,000
//! pods can be listed without parsing 2,000 JSON files.
//!
//! Lines of tab-separated words; unknown lines are skipped, `end` proves that
//! nothing is cut off. It repeats what `pod` and `appsinfo` say, and whoever
//! finds it missing or damaged (a start does not wait for the disk) reads
//! those instead.
//!
//! ```text
//! rkt-pod 1
//! created<TAB>1795233917690031994
//! mutable                                   (only for mutable pods)
//! app<TAB>busybox<TAB>sha512-93e4…<TAB>example.com/busybox:1.0.0
//! end
//! ```

use model::{AcName, fault::Result};
use std::fmt::Write;

use crate::{Pod, layout};

/// First line; the number changes when old readers would misread the rest.
const HEAD: &str = "rkt-pod 1";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// mtime of `pod-created`.
    pub created_ns: i64,
    pub mutable: bool,
    pub apps: Vec<AppSummary>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppSummary {
    pub name: AcName,
    /// As in the pod manifest.
    pub image_id: String,
    /// `name[:version]`; `None` if the image manifest cannot be read.
    pub image_name: Option<String>,
}

impl Summary {
    pub fn to_text(&self) -> String {
        let mut text = format!("{HEAD}\ncreated\t{}\n", self.created_ns);
        if self.mutable {
            text.push_str("mutable\n");
        }
        for app in &self.apps {
            let image = app.image_name.as_deref().unwrap_or_default();
            // A value that would break the lines is left out; the reader then
            // shows it as unknown. Validated names never do.
            let image = if is_plain(image) { image } else { "" };
            let id = if is_plain(&app.image_id) {
                &*app.image_id
            } else {
                ""
            };
            let _ = writeln!(text, "app\t{}\t{id}\t{image}", app.name.as_str());
        }
        text.push_str("end\n");
        text
    }

    /// `None` for anything that is not a whole summary of a known version.
    pub fn parse(bytes: &[u8]) -> Option<Summary> {
        let text = std::str::from_utf8(bytes).ok()?;
        let body = text.strip_suffix("end\n")?;
        let mut lines = body.strip_suffix('\n')?.split('\n');
        if lines.next()? != HEAD {
            return None;
        }
        let mut created_ns = None;
        let mut summary = Summary {
            created_ns: 0,
            mutable: false,
            apps: Vec::new(),
        };
        for line in lines {
            let mut words = line.split('\t');
            match words.next()? {
                "created" => created_ns = Some(words.next()?.parse().ok()?),
                "mutable" => summary.mutable = true,
                "app" => summary.apps.push(parse_app(&mut words)?),
                _ => {}
            }
        }
        summary.created_ns = created_ns?;
        Some(summary)
    }
}

fn parse_app<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<AppSummary> {
    let name = AcName::new(words.next()?).ok()?;
    let image_id = words.next().filter(|word| is_plain(word))?.to_string();
    let image_name = words.next().filter(|word| is_plain(word))?;
    let image_name = (!image_name.is_empty()).then(|| image_name.to_string());
    Some(AppSummary {
        name,
        image_id,
        image_name,
    })
}

/// Can stand in a line, and on a terminal.
fn is_plain(text: &str) -> bool {
    !text.bytes().any(|byte| byte < b' ' || byte == 0x7f)
}

impl Pod {
    /// Writes the summary; last thing of prepare, after `pod-created`.
    pub fn write_summary(&self, summary: &Summary) -> Result<()> {
        self.write_file(layout::SUMMARY, summary.to_text().as_bytes())
    }

    /// The summary, or what the manifests say where there is none.
    pub fn summary(&self) -> Result<Summary> {
        let written = self.read_file(layout::SUMMARY)?;
        if let Some(summary) = written.as_deref().and_then(Summary::parse) {
            return Ok(summary);
        }
        let created = crate::times::created(self).map_err(|err| self.io("stat", err))?;
        crate::manifest::summarize(self, created.unwrap_or(0))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn summary() -> Summary {
        let app = |name: &str, image: Option<&str>| AppSummary {
            name: AcName::new(name).unwrap(),
            image_id: "sha512-00".to_string(),
            image_name: image.map(String::from),
        };
        let apps = vec![app("a", Some("example.com/a:1.0")), app("b", None)];
        Summary {
            created_ns: 1_795_233_917_690_031_994,
            mutable: true,
            apps,
        }
    }

    #[test]
    fn the_text_is_this() {
        let text = "rkt-pod 1\ncreated\t1795233917690031994\nmutable\n\
                    app\ta\tsha512-00\texample.com/a:1.0\napp\tb\tsha512-00\t\nend\n";
        assert_eq!(summary().to_text(), text);
        assert_eq!(Summary::parse(text.as_bytes()), Some(summary()));
    }

    #[test]
    fn later_versions_may_add_lines() {
        let text = "rkt-pod 1\ncreated\t1\nnew\tthing\nend\n";
        let want = Summary {
            created_ns: 1,
            mutable: false,
            apps: vec![],
        };
        assert_eq!(Summary::parse(text.as_bytes()), Some(want));
    }

    #[test]
    fn every_cut_is_noticed() {
        let text = summary().to_text();
        for end in 0..text.len() {
            assert_eq!(Summary::parse(&text.as_bytes()[..end]), None, "{end}");
        }
        for bad in [
            "rkt-pod 2\ncreated\t1\nend\n",
            "rkt-pod 1\nend\n",
            "rkt-pod 1\ncreated\tx\nend\n",
            "end\n",
            "\nend\n",
        ] {
            assert_eq!(Summary::parse(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn a_value_that_would_break_the_lines_is_left_out() {
        let mut summary = summary();
        summary.apps[0].image_name = Some("a\nend\n\x1b[2J".to_string());
        let back = Summary::parse(summary.to_text().as_bytes()).unwrap();
        assert_eq!(back.apps[0].image_name, None);
        assert_eq!(back.apps.len(), 2);
    }
}
