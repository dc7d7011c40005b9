//! SELinux labels of a new pod: one context for its processes, one for its files,
//! both with two categories that no other pod of the data directory has.
//!
//! The policy's `lxc_contexts` says which types; without that file, or with
//! SELinux off, a pod has no labels. The record is written before the other pods'
//! are read, so of two pods that draw the same categories at once at least one
//! sees the other and draws again: no lock is needed.

use model::{Fault, PodUuid, fault::Result};
use pod::labels::{Context, Labels};
use pod::{Place, Pod, layout};
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;

const CONFIG: &str = "/etc/selinux";
/// These files have a few lines.
const LARGEST: u64 = 64 << 10;
const CATEGORIES: u16 = 1024;
/// There are half a million pairs; this many unlucky draws are no accident.
const DRAWS: u32 = 1000;

/// Gives `pod`, which must not run yet, its labels if this host has SELinux on.
pub(crate) fn label(data_dir: &Path, pod: &Pod) -> Result<()> {
    if !sys::lsm::selinux_on() {
        return Ok(());
    }
    let Some(template) = template(Path::new(CONFIG))? else {
        return Ok(());
    };
    let labels = give(data_dir, pod, &template)?;
    // What cannot be labelled is left as it is, as ever: then the policy decides.
    let _ = sys::lsm::selinux_label_tree(pod.dir().as_fd(), &labels.mount.to_string());
    Ok(())
}

/// Does the loaded policy say how pods are labelled?
pub(crate) fn has_template() -> Result<bool> {
    Ok(template(Path::new(CONFIG))?.is_some())
}

/// Writes the pod's record with a pair of categories of its own.
fn give(data_dir: &Path, pod: &Pod, template: &Labels) -> Result<Labels> {
    for _ in 0..DRAWS {
        let labels = with_categories(template, draw()?)?;
        pod.write_file(layout::SELINUX, labels.text().as_bytes())?;
        if labels.mount.level().is_none() || !is_taken(data_dir, pod.uuid(), &labels)? {
            return Ok(labels);
        }
    }
    Err(
        Fault::conflict("no pair of SELinux categories is left for the pod")
            .hint("rkt gc removes pods that have ended"),
    )
}

/// In the order in which pods move, so that none is missed.
fn is_taken(data_dir: &Path, own: &PodUuid, labels: &Labels) -> Result<bool> {
    for place in [Place::Prepare, Place::Run] {
        for uuid in pod::list::names(data_dir, &[place])? {
            let record = layout::pod(data_dir, place, &uuid).join(layout::SELINUX);
            // No labels, gone meanwhile, or damaged: then it has no pair.
            let other = read(&record).and_then(|text| Labels::parse(text.as_bytes()).ok());
            let level = other.as_ref().and_then(|other| other.mount.level());
            if uuid != *own && level == labels.mount.level() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Two different ones, the lower first.
fn draw() -> Result<(u16, u16)> {
    let mut bytes = [0; 4];
    crate::random::fill(&mut bytes)?;
    let one = u16::from_le_bytes([bytes[0], bytes[1]]) % CATEGORIES;
    // Any of the others, each as likely.
    let step = u16::from_le_bytes([bytes[2], bytes[3]]) % (CATEGORIES - 1);
    let other = (one + 1 + step) % CATEGORIES;
    Ok((one.min(other), one.max(other)))
}

/// The template's sensitivity with a pair of categories; a policy without levels
/// knows no categories either.
fn with_categories(template: &Labels, (low, high): (u16, u16)) -> Result<Labels> {
    let Some(level) = template.process.level() else {
        return Ok(template.clone());
    };
    let sensitivity = level.split([':', '-']).next().unwrap_or_default();
    let level = format!("{sensitivity}:c{low},c{high}");
    Ok(Labels {
        process: template.process.at_level(&level)?,
        mount: template.mount.at_level(&level)?,
    })
}

/// The contexts of `lxc_contexts`, without categories.
fn template(config: &Path) -> Result<Option<Labels>> {
    let Some(policy) = read(&config.join("config")).and_then(|text| value(&text, "SELINUXTYPE"))
    else {
        return Ok(None);
    };
    if policy.contains('/') || policy.starts_with('.') {
        return Err(Fault::invalid(format!(
            "{}: SELINUXTYPE={policy:?} is not the name of a policy",
            config.join("config").display()
        )));
    }
    let path = config.join(policy).join("contexts/lxc_contexts");
    let Some(text) = read(&path) else {
        return Ok(None);
    };
    let context = |key| {
        value(&text, key)
            .map(|value| Context::parse(&value))
            .transpose()
            .map_err(|fault| fault.message(path.display().to_string()))
    };
    match (context("process")?, context("file")?) {
        (Some(process), Some(mount)) => Ok(Some(Labels { process, mount })),
        _ => Ok(None),
    }
}

fn read(path: &Path) -> Option<String> {
    let file = std::fs::File::open(path).ok()?;
    let mut text = String::new();
    file.take(LARGEST).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Of `key = value` or `key = "value"`, the last one; `#` and `;` begin comments.
fn value(text: &str, key: &str) -> Option<String> {
    let value = |line: &str| {
        let line = line.trim();
        let (name, value) = line.split_once('=')?;
        let value = value.trim().trim_matches('"');
        let ours = !line.starts_with(['#', ';']) && name.trim() == key && !value.is_empty();
        ours.then(|| value.to_string())
    };
    text.lines().filter_map(value).next_back()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    const CONTEXTS: &str = "process = \"system_u:system_r:container_t:s0\"\ncontent = \"system_u:object_r:virt_var_lib_t:s0\"\nfile = \"system_u:object_r:container_file_t:s0\"\n";

    fn write(dir: &TempDir, name: &str, text: &str) {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn configured(config: &str, contexts: &str) -> Result<Option<Labels>> {
        let dir = TempDir::new();
        write(&dir, "config", config);
        write(&dir, "targeted/contexts/lxc_contexts", contexts);
        template(dir.path())
    }

    #[test]
    fn the_policys_file_says_which_types() {
        let config = "# SELINUXTYPE=mls\nSELINUX=enforcing\n SELINUXTYPE = targeted \n";
        let labels = configured(config, CONTEXTS).unwrap().unwrap();
        let labels = with_categories(&labels, (5, 1000)).unwrap();
        assert_eq!(
            labels.text(),
            "system_u:system_r:container_t:s0:c5,c1000\nsystem_u:object_r:container_file_t:s0:c5,c1000\n"
        );
    }

    #[test]
    fn without_the_policys_file_there_are_no_labels() {
        let config = "SELINUXTYPE=targeted\n";
        assert_eq!(configured("SELINUXTYPE=other\n", CONTEXTS).unwrap(), None);
        assert_eq!(configured("", CONTEXTS).unwrap(), None);
        assert_eq!(configured(config, "").unwrap(), None);
        assert_eq!(
            configured(config, "process = \"a:b:c:s0\"\n").unwrap(),
            None
        );
        assert_eq!(template(TempDir::new().path()).unwrap(), None);
    }

    #[test]
    fn what_cannot_be_right_is_refused() {
        let config = "SELINUXTYPE=targeted\n";
        for bad in ["a:b", "a:b:c:s0\",suid,x=\"", "a:b:c d:s0"] {
            let contexts = format!("process = \"{bad}\"\nfile = \"a:b:c:s0\"\n");
            assert!(configured(config, &contexts).is_err(), "{bad}");
        }
        for bad in ["../targeted", "..", "/etc"] {
            assert!(configured(&format!("SELINUXTYPE={bad}\n"), CONTEXTS).is_err());
        }
    }

    #[test]
    fn a_policy_without_levels_gives_labels_without_categories() {
        let contexts = "process = \"u:r:c_t\"\nfile = \"u:r:f_t\"\n";
        let labels = configured("SELINUXTYPE=targeted\n", contexts)
            .unwrap()
            .unwrap();
        assert_eq!(with_categories(&labels, (1, 2)).unwrap(), labels);
    }

    #[test]
    fn categories_are_two_and_in_order() {
        for _ in 0..10_000 {
            let (low, high) = draw().unwrap();
            assert!(low < high && high < CATEGORIES);
        }
    }

    #[test]
    fn a_pair_that_another_pod_has_is_drawn_again() {
        let dir = TempDir::new();
        let pod = |byte| Pod::create(dir.path(), &PodUuid::random([byte; 16])).unwrap();
        let (mut one, mut two) = (pod(1), pod(2));
        one.to_prepare().unwrap();
        two.to_prepare().unwrap();
        let template = configured("SELINUXTYPE=targeted\n", CONTEXTS)
            .unwrap()
            .unwrap();
        let labels = give(dir.path(), &one, &template).unwrap();
        assert_eq!(one.labels().unwrap().unwrap(), labels);
        assert!(is_taken(dir.path(), two.uuid(), &labels).unwrap());
        assert!(!is_taken(dir.path(), one.uuid(), &labels).unwrap());
        one.to_run().unwrap();
        assert!(is_taken(dir.path(), two.uuid(), &labels).unwrap());
        let other = give(dir.path(), &two, &template).unwrap();
        assert_ne!(other.mount.level(), labels.mount.level());
    }
}
