//! The kernel's command line → what this init was told.
//!
//! Ours are the parameters `rkt.*`; the kernel passes none of them on as words or
//! variables, because of the dot, so they are read from /proc/cmdline. Of the rest
//! only `MODULE.OPTION=VALUE` counts, for modules that are loaded here. A parameter
//! that is not understood is a complaint, and what it would have set stays as it is:
//! a typing error must not cost the machine.

use model::Fault;
use std::time::Duration;

/// Everything that the command line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The directory of pods.
    pub pods: String,
    /// rkt's data directory.
    pub dir: String,
    pub modules: Vec<String>,
    /// Module name (with `_`) and `OPTION[=VALUE]`.
    pub module_options: Vec<(String, String)>,
    pub cgroups: Cgroups,
    pub disks: Vec<Disk>,
    /// How long a disk may take to appear.
    pub wait: Duration,
    pub hostname: Option<String>,
    /// For pods whose file says nothing.
    pub restart: Restart,
    pub attempts: Option<u32>,
    /// How long a pod may take to stop.
    pub stop: Duration,
    pub end: End,
    /// Some: a rescue instead of the pods, by this image if one is named.
    pub rescue: Option<Option<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cgroups {
    V2,
    Hybrid,
    None,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Disk {
    /// An absolute path.
    pub device: String,
    pub target: String,
    /// Empty: whatever the kernel finds on it.
    pub fstype: String,
    pub read_only: bool,
}

/// When a pod that has ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    Never,
    Failure,
    Always,
}

/// The last thing that the machine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Last {
    PowerOff,
    Reboot,
    Halt,
}

/// What happens when all pods are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Last(Last),
    Rescue,
}

impl End {
    /// What happens when there is nothing else left to do.
    pub(crate) fn last(self) -> Last {
        match self {
            End::Last(last) => last,
            End::Rescue => Last::PowerOff,
        }
    }
}

impl Restart {
    pub(crate) fn parse(word: &str) -> Result<Restart, Fault> {
        match word {
            "never" => Ok(Restart::Never),
            "failure" => Ok(Restart::Failure),
            "always" => Ok(Restart::Always),
            _ => Err(Fault::invalid(format!("\"{word}\" is no way to restart"))
                .hint("never, failure or always")),
        }
    }
}

/// A number of failures in a row after which a pod is given up.
pub(crate) fn attempts(word: &str) -> Result<Option<u32>, Fault> {
    match word.parse() {
        Ok(0) => Ok(None),
        Ok(number) => Ok(Some(number)),
        Err(_) => Err(
            Fault::invalid(format!("\"{word}\" is no number of attempts"))
                .hint("a number of failures in a row, or 0 for any"),
        ),
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            pods: "/etc/rkt/pods".to_string(),
            dir: "/var/lib/rkt".to_string(),
            modules: Vec::new(),
            module_options: Vec::new(),
            cgroups: Cgroups::V2,
            disks: Vec::new(),
            wait: Duration::from_secs(30),
            hostname: None,
            restart: Restart::Failure,
            attempts: None,
            // A little more than rkt itself gives the apps before it kills them.
            stop: Duration::from_secs(100),
            end: End::Last(Last::PowerOff),
            rescue: None,
        }
    }
}

impl Settings {
    /// Takes the text of /proc/cmdline apart. A later word wins, lists grow.
    pub(crate) fn parse(text: &str) -> (Settings, Vec<Fault>) {
        let mut settings = Settings::default();
        let mut complaints = Vec::new();
        for word in words(text) {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word.as_str(), None),
            };
            let Some((module, option)) = name.split_once('.') else {
                continue;
            };
            if module == "rkt" {
                let taken = settings.take(option, value.unwrap_or(""));
                complaints.extend(
                    taken
                        .err()
                        .map(|fault| fault.message(format!("kernel parameter \"{name}\""))),
                );
            } else {
                let option = value.map_or(option.to_string(), |value| format!("{option}={value}"));
                settings
                    .module_options
                    .push((module.replace('-', "_"), option));
            }
        }
        (settings, complaints)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), Fault> {
        match name {
            "pods" => self.pods = absolute(value)?,
            "dir" => self.dir = absolute(value)?,
            "modules" => self.modules.extend(list(value)),
            "cgroups" => {
                self.cgroups = match value {
                    "v2" => Cgroups::V2,
                    "hybrid" => Cgroups::Hybrid,
                    "none" => Cgroups::None,
                    _ => return Err(unknown(value, "v2, hybrid or none")),
                }
            }
            "disk" => self.disks.push(Disk::parse(value)?),
            "wait" => self.wait = seconds(value)?,
            "hostname" => self.hostname = Some(value.to_string()).filter(|name| !name.is_empty()),
            "restart" => self.restart = Restart::parse(value)?,
            "attempts" => self.attempts = attempts(value)?,
            "stop" => self.stop = seconds(value)?,
            "end" => {
                self.end = match value {
                    "poweroff" => End::Last(Last::PowerOff),
                    "reboot" => End::Last(Last::Reboot),
                    "halt" => End::Last(Last::Halt),
                    "rescue" => End::Rescue,
                    _ => return Err(unknown(value, "poweroff, reboot, halt or rescue")),
                }
            }
            "rescue" => {
                self.rescue = Some(Some(value.to_string()).filter(|image| !image.is_empty()))
            }
            _ => {
                return Err(Fault::invalid("there is no such parameter").hint(
                    "pods, dir, modules, cgroups, disk, wait, hostname, restart, attempts, stop, end, rescue",
                ));
            }
        }
        Ok(())
    }
}

impl Disk {
    /// `DEVICE:TARGET[:FSTYPE[:ro]]`.
    fn parse(text: &str) -> Result<Disk, Fault> {
        let bad = || {
            Fault::invalid(format!("\"{text}\" is no disk"))
                .hint("DEVICE:DIRECTORY[:FILESYSTEM[:ro]], as /dev/vda:/data:ext4")
        };
        let parts: Vec<&str> = text.split(':').collect();
        let (device, target, rest) = match &parts[..] {
            [device, target, rest @ ..] if !device.is_empty() && rest.len() <= 2 => {
                (device, target, rest)
            }
            _ => return Err(bad()),
        };
        let device = match device.strip_prefix('/') {
            Some(_) => device.to_string(),
            None => format!("/dev/{device}"),
        };
        let read_only = match rest.get(1) {
            None | Some(&"") | Some(&"rw") => false,
            Some(&"ro") => true,
            Some(_) => return Err(bad()),
        };
        Ok(Disk {
            device,
            target: absolute(target).map_err(|_| bad())?,
            fstype: rest.first().unwrap_or(&"").to_string(),
            read_only,
        })
    }
}

/// The kernel's own way with blanks and quotes (next_arg in lib/cmdline.c).
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for c in text.chars() {
        if c == '"' {
            quoted = !quoted;
        } else if c.is_whitespace() && !quoted {
            words.push(std::mem::take(&mut word));
        } else {
            word.push(c);
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

fn list(value: &str) -> impl Iterator<Item = String> {
    value
        .split(',')
        .filter(|item| !item.is_empty())
        .map(str::to_string)
}

fn absolute(value: &str) -> Result<String, Fault> {
    if value.starts_with('/') {
        Ok(value.to_string())
    } else {
        Err(Fault::invalid(format!("\"{value}\" is no absolute path")))
    }
}

fn seconds(value: &str) -> Result<Duration, Fault> {
    match value.parse() {
        Ok(seconds @ 0..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err(Fault::invalid(format!("\"{value}\" is no number of seconds")).hint("0 to 86400")),
    }
}

fn unknown(value: &str, known: &str) -> Fault {
    Fault::invalid(format!("\"{value}\" is not known")).hint(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(text: &str) -> Settings {
        let (settings, complaints) = Settings::parse(text);
        assert!(complaints.is_empty(), "{complaints:?}");
        settings
    }

    #[test]
    fn what_is_not_ours_changes_nothing() {
        let settings = clean(
            "BOOT_IMAGE=/vmlinuz root=/dev/vda console=ttyS0,115200n8 ro quiet splash -- single\n",
        );
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn all_parameters() {
        let settings = clean(
            "quiet rkt.pods=/p rkt.dir=/d rkt.modules=overlay,virtio-net rkt.modules=veth rkt.cgroups=hybrid \
             rkt.disk=/dev/vda:/data rkt.disk=vdb:/images:squashfs:ro rkt.wait=5 rkt.hostname=box rkt.restart=always \
             rkt.attempts=4 rkt.stop=7 rkt.end=rescue rkt.rescue=/srv/rescue.aci",
        );
        let disk = |device: &str, target: &str, fstype: &str, read_only| Disk {
            device: device.to_string(),
            target: target.to_string(),
            fstype: fstype.to_string(),
            read_only,
        };
        let expected = Settings {
            pods: "/p".to_string(),
            dir: "/d".to_string(),
            modules: ["overlay", "virtio-net", "veth"]
                .map(str::to_string)
                .to_vec(),
            module_options: Vec::new(),
            cgroups: Cgroups::Hybrid,
            disks: vec![
                disk("/dev/vda", "/data", "", false),
                disk("/dev/vdb", "/images", "squashfs", true),
            ],
            wait: Duration::from_secs(5),
            hostname: Some("box".to_string()),
            restart: Restart::Always,
            attempts: Some(4),
            stop: Duration::from_secs(7),
            end: End::Rescue,
            rescue: Some(Some("/srv/rescue.aci".to_string())),
        };
        assert_eq!(settings, expected);
    }

    #[test]
    fn a_rescue_needs_no_image() {
        assert_eq!(clean("rkt.rescue").rescue, Some(None));
        assert_eq!(clean("rkt.rescue=").rescue, Some(None));
        assert_eq!(clean("").rescue, None);
    }

    #[test]
    fn quotes_hold_blanks_together() {
        assert_eq!(words("a \"b c\"  d=\"e f\"\ng"), ["a", "b c", "d=e f", "g"]);
        assert_eq!(clean("\"rkt.pods=/a b\"").pods, "/a b");
        assert_eq!(clean("rkt.pods=\"/a b\"").pods, "/a b");
    }

    #[test]
    fn options_of_modules_are_kept_for_them() {
        let options = clean("loop.max_loop=3 nf-conntrack.acct quiet").module_options;
        let expected = [("loop", "max_loop=3"), ("nf_conntrack", "acct")];
        assert_eq!(
            options,
            expected.map(|(name, option)| (name.to_string(), option.to_string()))
        );
    }

    #[test]
    fn what_cannot_be_right_is_named_and_left_out() {
        for text in [
            "rkt.pods=p",
            "rkt.pods",
            "rkt.cgroups=v3",
            "rkt.disk=/dev/vda",
            "rkt.disk=:/x",
            "rkt.disk=/dev/vda:x",
            "rkt.disk=a:/b:c:d",
            "rkt.disk=a:/b:c:ro:e",
            "rkt.wait=-1",
            "rkt.stop=86401",
            "rkt.restart=sometimes",
            "rkt.attempts=x",
            "rkt.end=explode",
            "rkt.no=such",
            "rkt.",
        ] {
            let (settings, complaints) = Settings::parse(text);
            assert_eq!(settings, Settings::default(), "{text}");
            assert_eq!(complaints.len(), 1, "{text}");
            let name = text.split('=').next().unwrap_or(text);
            assert!(
                complaints[0].to_string().contains(name),
                "{text}: {}",
                complaints[0]
            );
        }
    }
}
