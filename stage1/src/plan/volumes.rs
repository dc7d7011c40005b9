//! Which volume lies where in which app.
//!
//! A mount joins its volume by name; a mount point without a mount takes the
//! volume of its own name, or an implicit empty one, as rkt does.

use std::path::Path;

use model::{AcName, App, Fault, Mount, PodManifest, Volume, VolumeKind};

use super::AppSpec;

/// Where a volume's content comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A path of the host.
    Host(String),
    /// A directory of the pod, gone with it.
    Empty {
        directory: String,
        mode: u32,
        uid: u32,
        gid: u32,
    },
    /// An empty volume that first gets what the image has at `path` of app
    /// number `app`, with that directory's owner and mode (docker's rule).
    CopyUp {
        directory: String,
        app: usize,
        path: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumePlan {
    pub source: Source,
    pub recursive: bool,
    /// For messages.
    pub name: String,
}

/// One volume in one app; `volume` indexes [`super::Plan::volumes`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeMount {
    pub volume: usize,
    /// Absolute and clean, to be resolved inside the app's root.
    pub target: String,
    pub read_only: bool,
}

/// Collects the volumes that are really mounted, each once.
pub(super) struct Planner<'a> {
    declared: &'a [Volume],
    planned: Vec<VolumePlan>,
}

impl<'a> Planner<'a> {
    pub(super) fn new(manifest: &'a PodManifest) -> Result<Planner<'a>, Fault> {
        for (index, volume) in manifest.volumes.iter().enumerate() {
            if manifest.volumes[..index]
                .iter()
                .any(|other| other.name == volume.name)
            {
                return Err(Fault::invalid(format!(
                    "duplicate volume name \"{}\"",
                    volume.name.as_str()
                )));
            }
        }
        Ok(Planner {
            declared: &manifest.volumes,
            planned: Vec::new(),
        })
    }

    pub(super) fn finish(self) -> Vec<VolumePlan> {
        self.planned
    }

    /// All mounts of one app, outer targets before inner ones.
    pub(super) fn mounts_of(
        &mut self,
        number: usize,
        name: &AcName,
        app: &App,
        mounts: &[Mount],
        spec: &AppSpec,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<VolumeMount>, Fault> {
        let mut result: Vec<VolumeMount> = Vec::new();
        for mount in mounts {
            let volume = match &mount.app_volume {
                Some(own) => own,
                None => self.find(&mount.volume).ok_or_else(|| {
                    Fault::invalid(format!(
                        "could not find volume \"{}\"",
                        mount.volume.as_str()
                    ))
                })?,
            };
            let point = app
                .mount_points
                .iter()
                .find(|point| point.name == volume.name);
            let read_only = volume
                .read_only
                .unwrap_or(point.is_some_and(|point| point.read_only));
            let index = self.plan_volume(volume)?;
            result.push(VolumeMount {
                volume: index,
                target: clean(&mount.path)?,
                read_only,
            });
        }
        for point in &app.mount_points {
            let target = clean(&point.path)?;
            if result.iter().any(|mount| mount.target == target) {
                continue;
            }
            if let Some(volume) = self.find(&point.name) {
                let read_only = volume.read_only.unwrap_or(point.read_only);
                let index = self.plan_volume(volume)?;
                result.push(VolumeMount {
                    volume: index,
                    target,
                    read_only,
                });
                continue;
            }
            let point_name = point.name.as_str();
            warnings.push(format!(
                "warning: no volume specified for mount point \"{point_name}\", implicitly creating an \
                 \"empty\" volume. This volume will be removed when the pod is garbage-collected."
            ));
            let directory = format!("{}-{point_name}", name.as_str());
            let from_docker = spec
                .image
                .annotations
                .iter()
                .any(|a| a.name.as_str() == "appc.io/docker/repository");
            let source = if from_docker {
                warnings.push(format!(
                    "Docker converted image, initializing implicit volume with data contained at the mount \
                     point \"{point_name}\"."
                ));
                Source::CopyUp {
                    directory: directory.clone(),
                    app: number,
                    path: target.clone(),
                }
            } else {
                Source::Empty {
                    directory: directory.clone(),
                    mode: 0o755,
                    uid: 0,
                    gid: 0,
                }
            };
            self.planned.push(VolumePlan {
                source,
                recursive: false,
                name: directory,
            });
            result.push(VolumeMount {
                volume: self.planned.len() - 1,
                target,
                read_only: point.read_only,
            });
        }
        // An outer mount would hide an inner one that came first.
        result.sort_by_key(|mount| Path::new(&mount.target).components().count());
        Ok(result)
    }

    fn find(&self, name: &AcName) -> Option<&'a Volume> {
        self.declared.iter().find(|volume| volume.name == *name)
    }

    fn plan_volume(&mut self, volume: &Volume) -> Result<usize, Fault> {
        let name = volume.name.as_str().to_string();
        let source = match &volume.kind {
            VolumeKind::Host { source } => Source::Host(source.clone()),
            VolumeKind::Empty { mode, uid, gid } => Source::Empty {
                directory: name.clone(),
                mode: octal(mode.as_deref().unwrap_or("0755"))?,
                uid: uid.unwrap_or(0),
                gid: gid.unwrap_or(0),
            },
        };
        let plan = VolumePlan {
            source,
            recursive: volume.recursive.unwrap_or(true),
            name,
        };
        if let Some(index) = self.planned.iter().position(|planned| *planned == plan) {
            return Ok(index);
        }
        self.planned.push(plan);
        Ok(self.planned.len() - 1)
    }
}

fn octal(mode: &str) -> Result<u32, Fault> {
    u32::from_str_radix(mode, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| {
            Fault::invalid(format!(
                "volume mode \"{mode}\": expected an octal number up to 7777"
            ))
            .hint("write it like mode=0755")
        })
}

/// The target as an absolute path without `.`, `..` and doubled slashes.
///
/// Over `/proc` nothing may lie: labels and sysctls are written through it
/// (CVE-2019-16884). Over `/` there would be no app left.
fn clean(path: &str) -> Result<String, Fault> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let refuse = |why: &str| Err(Fault::refused(format!("mount target \"{path}\": {why}")));
    if !path.starts_with('/') {
        return refuse("not an absolute path");
    }
    match parts.first() {
        None => refuse("a volume cannot be the root of an app"),
        Some(&"proc") => refuse("nothing may be mounted on or below /proc"),
        Some(_) => Ok(format!("/{}", parts.join("/"))),
    }
}

#[cfg(test)]
mod tests {
    use super::{clean, octal};

    #[test]
    fn targets_are_cleaned_or_refused() {
        for (path, expected) in [
            ("/mnt", Some("/mnt")),
            ("//a/./b/../c/", Some("/a/c")),
            ("/../etc", Some("/etc")),
            ("/", None),
            ("/x/..", None),
            ("/proc", None),
            ("/proc/self", None),
            ("relative", None),
        ] {
            assert_eq!(clean(path).ok().as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn modes_are_octal() {
        assert_eq!(octal("0755").ok(), Some(0o755));
        assert_eq!(octal("1777").ok(), Some(0o1777));
        assert!(octal("999").is_err());
        assert!(octal("77777").is_err());
    }
}
