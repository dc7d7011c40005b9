//! Labels of SELinux and AppArmor, put on: what a process becomes at exec, and
//! what is mounted or made for it.
//!
//! A label that was asked for and cannot be had is an error, before the pod is
//! built where the host tells ([`check`]), else before exec. It is written while
//! no filter is on yet; what the transition itself needs from the policy under
//! no-new-privileges, the kernel decides at exec: AppArmor lets whoever is
//! unconfined into any profile, SELinux wants `process2 nnp_transition`.

use std::io;
use std::os::fd::BorrowedFd;

use model::Fault;
use rustix::io::Errno;
use sys::lsm;

use crate::plan::{Label, MountLabel, Plan};

/// What confines nothing is there on every host.
const UNCONFINED: &str = "unconfined";

/// Refuses labels that this host is known not to have.
pub fn check(plan: &Plan) -> Result<(), Fault> {
    for app in &plan.apps {
        let told = |fault: Fault| fault.message(format!("app \"{}\"", app.name));
        check_label(&app.label).map_err(told)?;
    }
    Ok(())
}

pub fn check_label(label: &Label) -> Result<(), Fault> {
    if let Some(context) = &label.selinux {
        let context = context.to_string();
        if !lsm::selinux_on() {
            return Err(Fault::unsupported(format!(
                "SELinux context \"{context}\" cannot be applied: SELinux is not on"
            ))
            .hint("remove the isolator os/linux/selinux-context, or boot with SELinux"));
        }
        if lsm::selinux_knows(&context) == Some(false) {
            return Err(unknown_context(&context));
        }
    }
    if let Some(profile) = &label.apparmor {
        if profile == UNCONFINED {
            return Ok(());
        }
        if !lsm::apparmor_on() {
            return Err(apparmor_is_off(profile));
        }
        // Profiles of other namespaces and stacks of several have no line of their own.
        let listed = !profile.starts_with(':') && !profile.contains("//&");
        if let Ok(loaded) = lsm::apparmor_profiles()
            && listed
            && !loaded.contains(profile)
        {
            return Err(not_loaded(profile));
        }
    }
    Ok(())
}

fn unknown_context(context: &str) -> Fault {
    Fault::not_found(format!(
        "SELinux context \"{context}\" is not one of the loaded policy's"
    ))
    .hint("seinfo lists the policy's users, roles and types")
}

fn apparmor_is_off(profile: &str) -> Fault {
    Fault::unsupported(format!(
        "AppArmor profile \"{profile}\" cannot be applied: AppArmor is not on"
    ))
    .hint("remove the isolator os/linux/apparmor-profile, or boot with AppArmor")
}

fn not_loaded(profile: &str) -> Fault {
    Fault::not_found(format!("AppArmor profile \"{profile}\" is not loaded"))
        .hint("apparmor_parser --replace loads the file that defines it")
}

/// This process has the labels from its next exec on. They come before the
/// session keyring, which the program could not open without one of its own.
pub fn at_exec(label: &Label) -> Result<(), Fault> {
    if let Some(context) = &label.selinux {
        let context = context.to_string();
        let applying = |err| match errno(&err) {
            Some(Errno::INVAL) => unknown_context(&context),
            _ => Fault::io(
                "cannot apply",
                format!("SELinux context \"{context}\""),
                err,
            ),
        };
        match lsm::selinux_for_keys(&context) {
            // A kernel without keyrings.
            Err(err) if errno(&err) == Some(Errno::NOENT) => {}
            other => other.map_err(applying)?,
        }
        lsm::selinux_at_exec(&context).map_err(applying)?;
    }
    let Some(profile) = &label.apparmor else {
        return Ok(());
    };
    lsm::apparmor_at_exec(profile).or_else(|err| match errno(&err) {
        Some(Errno::INVAL | Errno::NOENT) if profile == UNCONFINED => Ok(()),
        Some(Errno::NOENT) => Err(not_loaded(profile)),
        Some(Errno::INVAL) => Err(apparmor_is_off(profile)),
        _ => Err(Fault::io(
            "cannot apply",
            format!("AppArmor profile \"{profile}\""),
            err,
        )),
    })
}

fn errno(err: &io::Error) -> Option<Errno> {
    err.raw_os_error().map(Errno::from_raw_os_error)
}

/// What a failed exec may owe to a label; `None` where there is none, or another
/// reason.
pub fn blame(label: &Label, program: &str, err: &io::Error) -> Option<String> {
    if !matches!(errno(err), Some(Errno::ACCESS | Errno::PERM)) {
        return None;
    }
    let (what, hint) = match label {
        Label {
            selinux: Some(context),
            ..
        } => (
            format!("SELinux context \"{context}\""),
            "the policy must allow the transition, under no-new-privileges too (process2 nnp_transition), and the program as its entry point",
        ),
        Label {
            apparmor: Some(profile),
            ..
        } => (
            format!("AppArmor profile \"{profile}\""),
            "the profile must let the program be read and executed; under no-new-privileges only what is unconfined may change into it",
        ),
        _ => return None,
    };
    let why = model::fault::errno_text(err);
    Some(format!(
        "Error: Unable to execute \"{program}\" under {what}: {why} ({hint})"
    ))
}

/// Labels what was made for the pod. Some file systems have no labels, and some
/// processes may not give them: then the policy decides by what is there.
pub fn file(file: BorrowedFd<'_>, label: &MountLabel) {
    if let Some(context) = &label.0 {
        let _ = lsm::selinux_label(file, &context.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_label_is_blamed_and_only_for_a_refusal() {
        let label = Label {
            apparmor: Some("p".into()),
            ..Label::default()
        };
        let denied = io::Error::from(Errno::ACCESS);
        assert_eq!(blame(&Label::default(), "/x", &denied), None);
        assert_eq!(blame(&label, "/x", &Errno::NOENT.into()), None);
        let text = blame(&label, "/x", &denied).unwrap_or_default();
        assert!(
            text.contains("under AppArmor profile \"p\": permission denied"),
            "{text}"
        );
    }

    /// True on any host: with AppArmor it is not loaded, and else it is off.
    #[test]
    fn a_profile_that_nobody_has_is_refused() {
        let label = Label {
            apparmor: Some("rkt-test-no-such-profile".into()),
            ..Label::default()
        };
        assert!(check_label(&label).is_err() || lsm::apparmor_profiles().is_err());
        let unconfined = Label {
            apparmor: Some(UNCONFINED.into()),
            ..Label::default()
        };
        assert!(check_label(&unconfined).is_ok());
    }
}
