//! `--volume`, `--mount` and `--mnt-volume`: text in, checked volumes and
//! mounts out, with rkt's messages. The rules for a volume are the same
//! whether it comes from a flag or from a manifest.

use crate::fault::{Fault, Kind, Result};
use crate::name::AcName;
use crate::pod::{Mount, Volume, VolumeKind};
use crate::text::{clean_path, key_value, parse_bool, quote, quote_list, unescape};
use std::collections::HashSet;

/// Mode of an `empty` volume that names none.
pub const DEFAULT_MODE: &str = "0755";

const KINDS: &str = r#"unrecognized volume kind: should be one of "empty", "host""#;

/// A volume as written, before its kind decides which parts it may have.
pub(crate) struct Parts {
    pub name: AcName,
    pub kind: String,
    pub source: String,
    pub read_only: Option<bool>,
    pub recursive: Option<bool>,
    pub mode: Option<String>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

impl Parts {
    pub(crate) fn check(self) -> Result<Volume> {
        let bad = |what: &str| Err(Fault::invalid(what));
        let kind = match self.kind.as_str() {
            "empty" if !self.source.is_empty() => {
                return bad("source for empty volume must be empty");
            }
            "empty" => {
                let mode = self.mode.unwrap_or_else(|| DEFAULT_MODE.to_string());
                parse_mode(&mode)?;
                let (uid, gid) = (self.uid.or(Some(0)), self.gid.or(Some(0)));
                VolumeKind::Empty {
                    mode: Some(mode),
                    uid,
                    gid,
                }
            }
            "host" if self.source.is_empty() => {
                return bad("source for host volume cannot be empty");
            }
            "host" if self.mode.is_some() => return bad("mode for host volume cannot be set"),
            "host" if self.uid.is_some() => return bad("uid for host volume cannot be set"),
            "host" if self.gid.is_some() => return bad("gid for host volume cannot be set"),
            "host" if !self.source.starts_with('/') => {
                return bad("source for host volume must be absolute path");
            }
            "host" if self.source.contains('\0') => {
                return bad("source for host volume contains a NUL character");
            }
            // Not cleaned: `/a/../b` is not `/b` where `/a` is a symlink.
            "host" => VolumeKind::Host {
                source: self.source,
            },
            _ => return bad(KINDS),
        };
        Ok(Volume {
            name: self.name,
            kind,
            read_only: self.read_only,
            recursive: self.recursive,
        })
    }
}

/// The permission bits of an `empty` volume, from their octal text.
pub fn parse_mode(text: &str) -> Result<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
    digits
        .then(|| u32::from_str_radix(text, 8).ok())
        .flatten()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| {
            Fault::invalid(format!(
                "strconv.ParseUint: parsing {}: invalid syntax",
                quote(text)
            ))
            .hint("the mode of a volume is octal, for example mode=0755")
        })
}

impl Volume {
    /// The value of `--volume`: `NAME,kind=host,source=/path[,readOnly=true]…`.
    pub fn parse_flag(text: &str) -> Result<Volume> {
        Volume::from_parameters(&parameters(text)?).map_err(|fault| wrapped("volume", text, fault))
    }

    fn from_parameters(parameters: &[(&str, &str)]) -> Result<Volume> {
        let mut parts = Parts {
            name: AcName::new(parameters[0].1)?,
            kind: String::new(),
            source: String::new(),
            read_only: None,
            recursive: None,
            mode: None,
            uid: None,
            gid: None,
        };
        for (key, value) in &parameters[1..] {
            match *key {
                "kind" => parts.kind = value.to_string(),
                "source" => parts.source = value.to_string(),
                "readOnly" => parts.read_only = Some(parse_bool(value)?),
                "recursive" => parts.recursive = Some(parse_bool(value)?),
                "mode" => parts.mode = Some(value.to_string()),
                "uid" => parts.uid = Some(parse_owner(value)?),
                "gid" => parts.gid = Some(parse_owner(value)?),
                key => {
                    return Err(Fault::usage(format!(
                        "unknown volume parameter {}",
                        quote(key)
                    )));
                }
            }
        }
        parts.check()
    }
}

impl Mount {
    /// The value of `--mount`: `volume=NAME,target=PATH`. Unlike in `--volume`,
    /// escapes such as `%2C` are decoded.
    pub fn parse_flag(text: &str) -> Result<Mount> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for part in text.split([',', '&']).filter(|part| !part.is_empty()) {
            let (key, value) = key_value(part).unwrap_or((part, ""));
            let decode = |text| {
                unescape(text, true)
                    .ok_or_else(|| Fault::usage(format!("invalid URL escape in {}", quote(part))))
            };
            pairs.push((decode(key)?, decode(value)?));
        }
        let pairs: Vec<(&str, &str)> = pairs
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        check_repeats(&pairs)?;
        let (mut volume, mut target) = (None, None);
        for (key, value) in pairs {
            match key {
                "volume" => {
                    volume = Some(AcName::new(value).map_err(|_| {
                        Fault::usage(format!("invalid volume name {}", quote(value)))
                    })?)
                }
                "target" => target = Some(value),
                key => {
                    return Err(Fault::usage(format!(
                        "unknown mount parameter {}",
                        quote(key)
                    )));
                }
            }
        }
        let volume = volume.ok_or_else(|| Fault::usage("missing volume= parameter"))?;
        let path = read_target(target)?;
        Ok(Mount {
            volume,
            path,
            app_volume: None,
        })
    }

    /// The value of `--mnt-volume`: a volume that only this app gets, and
    /// `target=PATH`.
    pub fn parse_volume_flag(text: &str) -> Result<Mount> {
        let mut parameters = parameters(text)?;
        let target = parameters.iter().position(|(key, _)| *key == "target");
        let target = target.map(|index| parameters.remove(index).1);
        let path = read_target(target)?;
        let volume = Volume::from_parameters(&parameters)
            .map_err(|fault| wrapped("mnt-volume", text, fault))?;
        Ok(Mount {
            volume: volume.name.clone(),
            path,
            app_volume: Some(volume),
        })
    }
}

/// A target inside the app's root: absolute and cleaned, so that two spellings
/// of one place are seen to be one.
fn read_target(target: Option<&str>) -> Result<String> {
    match target {
        None | Some("") => Err(Fault::usage("missing target= parameter")),
        Some(target) if target.contains('\0') => {
            Err(Fault::usage("target contains a NUL character"))
        }
        Some(target) => Ok(clean_path(&format!("/{target}"))),
    }
}

/// Splits `NAME,key=value,…` into pairs, the name first and under the key `name`.
fn parameters(text: &str) -> Result<Vec<(&str, &str)>> {
    let mut parts = text.split(',');
    let mut pairs = vec![("name", parts.next().unwrap_or_default())];
    for part in parts {
        pairs.push(key_value(part).ok_or_else(|| {
            Fault::usage(format!(
                "malformed string {} - has a label without a value: {part}",
                quote(text)
            ))
        })?);
    }
    check_repeats(&pairs)?;
    Ok(pairs)
}

fn check_repeats(pairs: &[(&str, &str)]) -> Result<()> {
    let mut seen = HashSet::new();
    let Some((key, _)) = pairs.iter().find(|(key, _)| !seen.insert(*key)) else {
        return Ok(());
    };
    let values = pairs
        .iter()
        .filter(|(other, _)| other == key)
        .map(|(_, value)| *value);
    Err(Fault::usage(format!(
        "label {key} with multiple values {}",
        quote_list(values)
    )))
}

fn parse_owner(text: &str) -> Result<u32> {
    let syntax = || {
        Fault::usage(format!(
            "strconv.Atoi: parsing {}: invalid syntax",
            quote(text)
        ))
    };
    // The last number is what the kernel takes for "leave it as it is".
    text.parse::<u32>()
        .ok()
        .filter(|id| *id != u32::MAX)
        .ok_or_else(syntax)
}

fn wrapped(flag: &str, text: &str, fault: Fault) -> Fault {
    let cause = format!(
        "invalid value in --{flag} flag {}: {}",
        quote(text),
        fault.cause
    );
    Fault {
        kind: Kind::Usage,
        cause,
        ..fault
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn volumes() {
        let volume =
            Volume::parse_flag("data,kind=host,source=/srv/a=b c%20+,readOnly=T,recursive=0")
                .unwrap();
        assert_eq!(
            volume.kind,
            VolumeKind::Host {
                source: "/srv/a=b c%20+".into()
            }
        );
        assert_eq!(
            (volume.read_only, volume.recursive),
            (Some(true), Some(false))
        );
        let volume = Volume::parse_flag("data,kind=empty").unwrap();
        assert_eq!(
            volume.kind,
            VolumeKind::Empty {
                mode: Some("0755".into()),
                uid: Some(0),
                gid: Some(0)
            }
        );
        let volume = Volume::parse_flag("data,kind=empty,mode=700,uid=5,gid=6").unwrap();
        assert_eq!(
            volume.kind,
            VolumeKind::Empty {
                mode: Some("700".into()),
                uid: Some(5),
                gid: Some(6)
            }
        );
    }

    #[test]
    fn bad_volumes_say_why() {
        let wrap =
            |text: &str, why: &str| format!("invalid value in --volume flag \"{text}\": {why}");
        for (text, why) in [
            ("data,kind=bogus", KINDS),
            ("data", KINDS),
            ("data,kind=host", "source for host volume cannot be empty"),
            (
                "data,kind=host,source=rel",
                "source for host volume must be absolute path",
            ),
            (
                "data,kind=host,source=/a,mode=0700",
                "mode for host volume cannot be set",
            ),
            (
                "data,kind=host,source=/a,uid=0",
                "uid for host volume cannot be set",
            ),
            (
                "data,kind=host,source=/a,gid=0",
                "gid for host volume cannot be set",
            ),
            (
                "data,kind=empty,source=/a",
                "source for empty volume must be empty",
            ),
            (
                "data,kind=empty,mode=999",
                "strconv.ParseUint: parsing \"999\": invalid syntax",
            ),
            (
                "data,kind=empty,mode=17777",
                "strconv.ParseUint: parsing \"17777\": invalid syntax",
            ),
            (
                "data,kind=empty,uid=-1",
                "strconv.Atoi: parsing \"-1\": invalid syntax",
            ),
            (
                "data,kind=empty,gid=4294967295",
                "strconv.Atoi: parsing \"4294967295\": invalid syntax",
            ),
            (
                "data,kind=host,source=/a,readOnly=yes",
                "strconv.ParseBool: parsing \"yes\": invalid syntax",
            ),
            (
                "data,kind=host,source=/a,size=1",
                "unknown volume parameter \"size\"",
            ),
            (
                "Data,kind=empty",
                "ACName must contain only lower case alphanumeric characters plus \"-\"",
            ),
            ("", "ACName cannot be empty"),
        ] {
            assert_eq!(Volume::parse_flag(text).unwrap_err().cause, wrap(text, why));
        }
        for (text, want) in [
            (
                "data,kind",
                "malformed string \"data,kind\" - has a label without a value: kind",
            ),
            (
                "data,kind=host,kind=empty",
                "label kind with multiple values [\"host\" \"empty\"]",
            ),
            (
                "data,name=x",
                "label name with multiple values [\"data\" \"x\"]",
            ),
        ] {
            assert_eq!(Volume::parse_flag(text).unwrap_err().cause, want);
        }
    }

    #[test]
    fn mounts() {
        for (text, volume, path) in [
            ("volume=data,target=/mnt", "data", "/mnt"),
            ("target=/a/../b//,volume=d", "d", "/b"),
            ("volume=d,target=/a%2Cb+c", "d", "/a,b c"),
            ("volume=d,target=rel", "d", "/rel"),
            ("volume=d,target=../../x", "d", "/x"),
        ] {
            let mount = Mount::parse_flag(text).unwrap();
            assert_eq!((mount.volume.as_str(), mount.path.as_str()), (volume, path));
        }
        for (text, want) in [
            ("volume=Data,target=/m", "invalid volume name \"Data\""),
            ("volume=d", "missing target= parameter"),
            ("target=/m", "missing volume= parameter"),
            ("volume=d,target=/m,x=1", "unknown mount parameter \"x\""),
            (
                "volume=d,volume=e,target=/m",
                "label volume with multiple values [\"d\" \"e\"]",
            ),
            (
                "volume=d,target=/%zz",
                "invalid URL escape in \"target=/%zz\"",
            ),
            ("volume=d,target=/%00", "target contains a NUL character"),
        ] {
            assert_eq!(Mount::parse_flag(text).unwrap_err().cause, want);
        }
    }

    #[test]
    fn mounted_volumes() {
        let mount = Mount::parse_volume_flag("data,kind=host,source=/srv,target=/mnt").unwrap();
        assert_eq!(mount.path, "/mnt");
        assert_eq!(
            mount.app_volume.unwrap().kind,
            VolumeKind::Host {
                source: "/srv".into()
            }
        );
        assert_eq!(
            Mount::parse_volume_flag("data,kind=empty")
                .unwrap_err()
                .cause,
            "missing target= parameter"
        );
    }
}
