//! Which labels an app runs under: its SELinux context and AppArmor profile, and
//! the context of the file systems that are mounted for it.
//!
//! The isolators of the pod's manifest and the apps' in, labels out. An app's own
//! isolator counts more than the pod's, and that more than the labels which the
//! pod was given when it was made (appc, "Isolators"). Whether this host has what
//! is asked for is another's question, `apply::label`.

use model::isolator::{Isolator, Known};
use model::{App, Fault};
use pod::labels::{Context, Labels};

use super::{AppPlan, PodSpec};

/// The longest name of a profile that could be one: a path and a namespace.
const LONGEST_PROFILE: usize = 8192;

/// What a process is labelled with at exec.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Label {
    pub selinux: Option<Context>,
    /// `None` leaves the app with whatever confines rkt.
    pub apparmor: Option<String>,
}

impl Label {
    fn or(self, other: Label) -> Label {
        Label {
            selinux: self.selinux.or(other.selinux),
            apparmor: self.apparmor.or(other.apparmor),
        }
    }

    fn words(&self) -> [Option<String>; 2] {
        let context = self.selinux.as_ref().map(Context::to_string);
        [context, self.apparmor.clone()]
    }
}

/// What is mounted is labelled with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountLabel(pub Option<Context>);

impl MountLabel {
    /// Options of mount(2), and the label after them. A context has no quotation
    /// mark in it.
    pub fn options(&self, others: &str) -> String {
        match &self.0 {
            None => others.to_string(),
            Some(context) if others.is_empty() => format!("context=\"{context}\""),
            Some(context) => format!("{others},context=\"{context}\""),
        }
    }

    fn at_level_of(&self, process: Option<&Context>) -> Result<MountLabel, Fault> {
        let level = process.and_then(Context::level).map(highest);
        let context = match (&self.0, level) {
            (Some(context), Some(level)) => Some(context.at_level(level)?),
            (context, _) => context.clone(),
        };
        Ok(MountLabel(context))
    }
}

/// The upper end of a range: whoever is cleared for less shall not read it.
fn highest(level: &str) -> &str {
    level.rsplit_once('-').map_or(level, |(_, high)| high)
}

/// The app's label, and that of its own file systems. With a level of its own it
/// could not open files of the pod's, so these follow.
pub(super) fn of_app(
    pod: &PodSpec<'_>,
    app: &App,
    name: &str,
    warnings: &mut Vec<String>,
) -> Result<(Label, MountLabel), Fault> {
    let mut of_pod = explicit_in(&pod.manifest.isolators)?;
    if let (None, Some(labels)) = (&of_pod.selinux, pod.labels) {
        of_pod.selinux = Some(labels.process.clone());
    }
    let own =
        explicit_in(&app.isolators).map_err(|fault| fault.message(format!("app \"{name}\"")))?;
    // An image may ask for less confinement than the pod's maker thought of.
    for (asked, instead) in own.words().into_iter().zip(of_pod.words()) {
        if let (Some(asked), Some(instead)) = (asked, instead)
            && asked != instead
        {
            warnings.push(format!(
                "warning: app \"{name}\" runs as \"{asked}\", which its manifest asks for, instead of the pod's \"{instead}\""
            ));
        }
    }
    let label = own.or(of_pod);
    let mount = MountLabel(pod.labels.map(|labels| labels.mount.clone()));
    let mount = mount.at_level_of(label.selinux.as_ref())?;
    Ok((label, mount))
}

/// What is asked for by isolators alone: all that fly heeds.
pub fn explicit(pod: &[Isolator], app: &App) -> Result<Label, Fault> {
    Ok(explicit_in(&app.isolators)?.or(explicit_in(pod)?))
}

fn explicit_in(isolators: &[Isolator]) -> Result<Label, Fault> {
    let mut label = Label::default();
    for isolator in isolators {
        match &isolator.known {
            Known::SelinuxContext {
                user,
                role,
                kind,
                level,
            } => label.selinux = Some(Context::new(user, role, kind, Some(level))?),
            Known::AppArmorProfile(profile) => label.apparmor = Some(check_profile(profile)?),
            _ => {}
        }
    }
    Ok(label)
}

/// It goes into an order of one line, whose ends the kernel trims.
fn check_profile(name: &str) -> Result<String, Fault> {
    let plain = !name.is_empty()
        && name.len() <= LONGEST_PROFILE
        && name.trim() == name
        && !name.chars().any(char::is_control);
    if plain {
        return Ok(name.to_string());
    }
    let shown: String = name.chars().take(200).collect();
    Err(Fault::invalid(format!(
        "{shown:?} is not the name of an AppArmor profile"
    )))
}

/// What the apps share (terminals, shared memory, the files in `/etc`) has the
/// level of the apps if that is one, and else the pod's.
pub(super) fn shared(labels: Option<&Labels>, apps: &[AppPlan]) -> MountLabel {
    let of_pod = MountLabel(labels.map(|labels| labels.mount.clone()));
    match apps {
        [first, others @ ..]
            if others
                .iter()
                .all(|app| app.mount_label == first.mount_label) =>
        {
            first.mount_label.clone()
        }
        _ => of_pod,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use model::Value;

    fn selinux(kind: &str, level: &str) -> Isolator {
        let parts = [
            ("user", "u"),
            ("role", "r"),
            ("type", kind),
            ("level", level),
        ];
        let value: Value = parts.into_iter().collect();
        Isolator::new(model::isolator::SELINUX, value).unwrap()
    }

    fn apparmor(profile: &str) -> Isolator {
        let value: Value = [("profile", profile)].into_iter().collect();
        Isolator::new(model::isolator::APPARMOR, value).unwrap()
    }

    #[test]
    fn the_apps_isolator_counts_more_than_the_pods() {
        let pod = explicit_in(&[selinux("pod_t", "s0"), apparmor("pod")]).unwrap();
        let app = explicit_in(&[apparmor("unconfined")]).unwrap();
        assert_eq!(pod.selinux.unwrap().to_string(), "u:r:pod_t:s0");
        assert_eq!((pod.apparmor.as_deref(), app.selinux), (Some("pod"), None));
        assert_eq!(app.apparmor.as_deref(), Some("unconfined"));
    }

    #[test]
    fn a_profile_is_one_line_without_blanks_at_its_ends() {
        for good in ["docker-default", "/usr/bin/*{a,b}", ":ns:p//&q", "a b"] {
            assert_eq!(check_profile(good).unwrap(), good);
        }
        for bad in ["", " a", "a\n", "a\nexec b", "a\0", "\u{7f}"] {
            assert!(check_profile(bad).is_err(), "{bad:?}");
        }
        assert!(check_profile(&"a".repeat(LONGEST_PROFILE + 1)).is_err());
    }

    #[test]
    fn a_context_cannot_bring_mount_options() {
        let value = |level: &str| explicit_in(&[selinux("t", level)]);
        assert!(value("s0:c1,c2").is_ok());
        for bad in ["s0\",suid", "s0 c1", "s0\n", "s0\\"] {
            assert!(value(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn mounts_follow_the_level_of_their_app() {
        let mount = MountLabel(Some(Context::parse("u:object_r:file_t:s0:c1,c2").unwrap()));
        let process = Context::parse("u:r:t:s0-s0:c7").unwrap();
        let mount = mount.at_level_of(Some(&process)).unwrap();
        assert_eq!(
            mount.options("mode=0755"),
            "mode=0755,context=\"u:object_r:file_t:s0:c7\""
        );
        let none = MountLabel::default();
        assert_eq!(none.at_level_of(Some(&process)).unwrap(), none);
        assert_eq!(none.options("mode=0755"), "mode=0755");
    }
}
