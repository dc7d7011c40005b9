//! The row about labels: whether SELinux or AppArmor is on, and what pods get.

use super::{Health, Row, row};
use sys::lsm;

pub(super) fn labels() -> Row {
    const NAME: &str = "security labels";
    if lsm::selinux_on() {
        let mode = match lsm::selinux_enforces() {
            Some(true) => "enforcing",
            Some(false) => "permissive",
            None => "on",
        };
        return match crate::selinux::has_template() {
            Ok(true) => row(
                NAME,
                Health::Ok,
                format!("SELinux is {mode}, each pod has its own categories"),
                "",
            ),
            Ok(false) => row(
                NAME,
                Health::Fallback,
                format!("SELinux is {mode}, pods run as their images ask"),
                "the policy has no contexts/lxc_contexts",
            ),
            Err(fault) => row(NAME, Health::Missing, "pods are refused", fault.to_string()),
        };
    }
    if lsm::apparmor_on() {
        let way = match lsm::apparmor_profiles() {
            Ok(profiles) => format!("AppArmor, {} profiles", profiles.len()),
            Err(_) => "AppArmor".to_string(),
        };
        return row(NAME, Health::Ok, way, "");
    }
    row(
        NAME,
        Health::Fallback,
        "apps that ask for a label are refused",
        "neither SELinux nor AppArmor is on",
    )
}
