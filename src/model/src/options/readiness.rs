//! How an app says that it is ready to work: `--readiness` in, an annotation of the app in the pod's manifest out, and
//! back again in stage1.
//!
//! An image may say so itself, by appc's annotation for systemd's protocol; the user's word counts more.

use crate::fault::{Fault, Result};
use crate::label::Annotation;
use crate::text::quote;

/// The user's word, in the app's annotations of a pod's manifest.
pub const READINESS: &str = "coreos.com/rkt/stage2/readiness";
/// appc's word in an image's manifest.
pub const SUPPORTS_NOTIFY: &str = "appc.io/executor/supports-systemd-notify";

/// The numbers that an app's own descriptor may have.
const NUMBERS: std::ops::RangeInclusive<i32> = 3..=255;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Readiness {
    /// As soon as its program is executed.
    #[default]
    Exec,
    /// When it sends `READY=1` to `$NOTIFY_SOCKET` (sd_notify(3)).
    Notify,
    /// When it writes a line to this descriptor (s6's notification-fd).
    Fd(i32),
}

impl Readiness {
    pub fn parse(word: &str) -> Result<Readiness> {
        let fd = || word.strip_prefix("fd:")?.parse().ok();
        match word {
            "exec" => Ok(Readiness::Exec),
            "notify" => Ok(Readiness::Notify),
            _ => fd()
                .filter(|number| NUMBERS.contains(number))
                .map(Readiness::Fd)
                .ok_or_else(|| {
                    Fault::usage(format!(
                        "invalid readiness {}: it is exec, notify, or fd:N with a number from 3 to 255",
                        quote(word)
                    ))
                }),
        }
    }

    /// `of_user`: the annotations of the app in the pod; `of_image`: those of its image.
    pub fn of(of_user: &[Annotation], of_image: &[Annotation]) -> Result<Readiness> {
        if let Some(word) = Annotation::find(of_user, READINESS) {
            return Readiness::parse(word);
        }
        let supported = |list| Annotation::find(list, SUPPORTS_NOTIFY) == Some("true");
        match supported(of_user) || supported(of_image) {
            true => Ok(Readiness::Notify),
            false => Ok(Readiness::Exec),
        }
    }
}

/// `--readiness` as the annotation that it becomes.
pub fn readiness(word: &str) -> Result<Annotation> {
    Readiness::parse(word)?;
    Annotation::new(READINESS, word)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!(Readiness::parse("exec").unwrap(), Readiness::Exec);
        assert_eq!(Readiness::parse("notify").unwrap(), Readiness::Notify);
        assert_eq!(Readiness::parse("fd:3").unwrap(), Readiness::Fd(3));
        for word in [
            "", "fd", "fd:", "fd:2", "fd:256", "fd:-3", "fd:x", "Notify", "socket",
        ] {
            assert!(Readiness::parse(word).is_err(), "{word}");
        }
    }

    #[test]
    fn the_user_counts_more_than_the_image() {
        let image = [Annotation::new(SUPPORTS_NOTIFY, "true").unwrap()];
        assert_eq!(Readiness::of(&[], &image).unwrap(), Readiness::Notify);
        assert_eq!(Readiness::of(&image, &[]).unwrap(), Readiness::Notify);
        let user = [readiness("exec").unwrap()];
        assert_eq!(Readiness::of(&user, &image).unwrap(), Readiness::Exec);
        let no = [Annotation::new(SUPPORTS_NOTIFY, "yes").unwrap()];
        assert_eq!(Readiness::of(&[], &no).unwrap(), Readiness::Exec);
    }
}
