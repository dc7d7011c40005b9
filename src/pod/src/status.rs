//! What the supervisor tells about its apps: `S/rkt/status/<app>` holds the
//! exit status as a line, and `S/rkt/supervisor-status` points to `ready` as
//! long as it takes orders.
//!
//! The supervisor opens [`Status`] once, before it changes its root, and
//! writes through the held fds. Readers look into the upper layer of the
//! stage1 rootfs where that is an overlay, because its mount may be gone.

use model::{AcName, Fault, fault::Result};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, AtFlags};
use rustix::io::Errno;

use crate::{Pod, files, layout, times};

/// The two directories that status is told in.
#[derive(Debug)]
pub struct Status {
    rkt: OwnedFd,
    status: OwnedFd,
}

/// Times of the marker files that mutable pods keep per app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AppMarks {
    pub created_ns: Option<i64>,
    pub started_ns: Option<i64>,
    pub finished_ns: Option<i64>,
}

impl Status {
    /// Makes `S/rkt/status` where it lacks and opens it.
    pub fn create(pod_dir: impl AsFd) -> Result<Status> {
        let open = || {
            let root = files::walk_creating(&pod_dir, layout::STAGE1_ROOTFS, 0o755)?;
            let rkt = files::walk_creating(&root, layout::RKT, 0o755)?;
            let status = files::walk_creating(&rkt, "status", 0o755)?;
            Ok(Status { rkt, status })
        };
        open().map_err(|err: Errno| Fault::io("open", layout::STATUS, err))
    }

    /// Makes `uid` the owner: the supervisor may not be root outside the pod.
    pub fn give_to(&self, uid: u32) -> Result<()> {
        let owner = Some(fs::Uid::from_raw(uid));
        fs::fchown(&self.rkt, owner, None)
            .and_then(|()| fs::fchown(&self.status, owner, None))
            .map_err(|err| Fault::io("chown", layout::STATUS, err))
    }

    /// Opens what is there; `None` if the pod has no status directory yet.
    pub fn open(pod_dir: impl AsFd) -> Result<Option<Status>> {
        let open = || {
            let root = status_root(pod_dir.as_fd())?;
            let rkt = files::walk(&root, layout::RKT)?;
            let status = files::walk(&rkt, "status")?;
            Ok(Status { rkt, status })
        };
        match open() {
            Ok(status) => Ok(Some(status)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(err) => Err(Fault::io("open", layout::STATUS, err)),
        }
    }

    /// Writes an app's exit status: its exit code, or the number of the signal
    /// that killed it. One write in place, nothing to clean up.
    pub fn write(&self, app: &AcName, code: i32) -> Result<()> {
        files::write(
            &self.status,
            app.as_str(),
            0o644,
            format!("{code}\n").as_bytes(),
        )
        .map_err(|err| Fault::io("write", status_name(app), err))
    }

    /// An app's exit status. `None`: it has not ended, or the file is just
    /// being written.
    pub fn read(&self, app: &AcName) -> Result<Option<i32>> {
        let mut buf = [0; 32];
        match files::read_into(&self.status, app.as_str(), &mut buf) {
            Ok([]) | Err(Errno::NOENT) => Ok(None),
            Ok(bytes) => match files::first_integer(bytes) {
                Some(code) => Ok(Some(code)),
                None => Err(Fault::corrupt(format!(
                    "{} holds no number",
                    status_name(app)
                ))),
            },
            Err(err) => Err(Fault::io("read", status_name(app), err)),
        }
    }

    /// Forgets an app's end, e.g. before it is started again.
    pub fn clear(&self, app: &AcName) -> Result<()> {
        self.remove(app.as_str())
    }

    /// `app add` (and `app sandbox`) mark an app as created, `app start` as
    /// started; a start also forgets the last end.
    pub fn mark_created(&self, app: &AcName) -> Result<()> {
        self.touch(&format!("{}-created", app.as_str()))
    }

    pub fn mark_started(&self, app: &AcName) -> Result<()> {
        self.clear(app)?;
        let name = format!("{}-started", app.as_str());
        // Removed first, so that its mtime is this start's.
        self.remove(&name)?;
        self.touch(&name)
    }

    /// Removes all that is told about an app.
    pub fn forget(&self, app: &AcName) -> Result<()> {
        self.remove(app.as_str())?;
        self.remove(&format!("{}-started", app.as_str()))?;
        self.remove(&format!("{}-created", app.as_str()))
    }

    pub fn marks(&self, app: &AcName) -> Result<AppMarks> {
        let time = |suffix: &str| {
            let name = format!("{}{suffix}", app.as_str());
            files::stat(&self.status, &name)
                .map(|stat| stat.as_ref().map(times::mtime))
                .map_err(|err| Fault::io("stat", format!("{}/{name}", layout::STATUS), err))
        };
        Ok(AppMarks {
            created_ns: time("-created")?,
            started_ns: time("-started")?,
            finished_ns: time("")?,
        })
    }

    /// Says that the supervisor takes orders.
    pub fn set_ready(&self) -> Result<()> {
        let made = fs::symlinkat(layout::READY, &self.rkt, layout::SUPERVISOR_STATUS);
        files::ignore_existing(made)
            .map_err(|err| Fault::io("symlink", layout::SUPERVISOR_STATUS, err))
    }

    /// Says that it does so no longer.
    pub fn clear_ready(&self) -> Result<()> {
        ignore_missing(fs::unlinkat(
            &self.rkt,
            layout::SUPERVISOR_STATUS,
            AtFlags::empty(),
        ))
        .map_err(|err| Fault::io("unlink", layout::SUPERVISOR_STATUS, err))
    }

    pub fn is_ready(&self) -> bool {
        fs::readlinkat(&self.rkt, layout::SUPERVISOR_STATUS, Vec::new())
            .is_ok_and(|target| target.as_bytes() == layout::READY.as_bytes())
    }

    fn touch(&self, name: &str) -> Result<()> {
        files::write(&self.status, name, 0o644, b"")
            .map_err(|err| Fault::io("write", format!("{}/{name}", layout::STATUS), err))
    }

    fn remove(&self, name: &str) -> Result<()> {
        ignore_missing(fs::unlinkat(&self.status, name, AtFlags::empty()))
            .map_err(|err| Fault::io("unlink", format!("{}/{name}", layout::STATUS), err))
    }
}

fn status_name(app: &AcName) -> String {
    format!("{}/{}", layout::STATUS, app.as_str())
}

fn ignore_missing(result: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// The directory that shows `S` as stage1 wrote it, mounted or not.
fn status_root(pod_dir: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    if let Some(upper) = stage1_upper(pod_dir) {
        return Ok(upper);
    }
    files::walk(pod_dir, layout::STAGE1_ROOTFS)
}

/// `overlay/<stage1 tree>/upper` of a pod whose stage1 rootfs is an overlay
/// mount: rkt 1.30's pods and those of an external stage1 image.
fn stage1_upper(pod_dir: BorrowedFd<'_>) -> Option<OwnedFd> {
    let mut buf = [0; 128];
    let tree = files::read_into(pod_dir, layout::STAGE1_TREE, &mut buf).ok()?;
    let tree = std::str::from_utf8(tree).ok()?.trim();
    if !crate::rootfs::is_tree_id(tree) {
        return None;
    }
    files::walk(pod_dir, &format!("{}/{tree}/upper", layout::OVERLAY)).ok()
}

impl Pod {
    /// An app's exit status, if it has ended and left one.
    pub fn exit_status(&self, app: &AcName) -> Result<Option<i32>> {
        match Status::open(self)? {
            Some(status) => status.read(app),
            None => Ok(None),
        }
    }

    /// Whether the supervisor takes orders.
    pub fn is_ready(&self) -> Result<bool> {
        Ok(Status::open(self)?.is_some_and(|status| status.is_ready()))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::testing::TempData;

    fn pod(data: &TempData) -> Pod {
        Pod::create(data.path(), &data.uuid(1)).unwrap()
    }

    #[test]
    fn exit_codes_and_readiness() {
        let data = TempData::new();
        let pod = pod(&data);
        let app = AcName::new("web").unwrap();
        assert_eq!(pod.exit_status(&app).unwrap(), None);
        assert!(!pod.is_ready().unwrap());
        let status = Status::create(&pod).unwrap();
        assert_eq!(pod.exit_status(&app).unwrap(), None);
        status.write(&app, 254).unwrap();
        status.write(&app, 7).unwrap();
        let file = pod.path().join(layout::status(&app));
        assert_eq!(std::fs::read(&file).unwrap(), b"7\n");
        assert_eq!(pod.exit_status(&app).unwrap(), Some(7));
        status.set_ready().unwrap();
        status.set_ready().unwrap();
        assert!(pod.is_ready().unwrap());
        status.clear_ready().unwrap();
        status.clear_ready().unwrap();
        assert!(!pod.is_ready().unwrap());
        std::fs::write(&file, "").unwrap();
        assert_eq!(pod.exit_status(&app).unwrap(), None, "just being written");
        std::fs::write(&file, "nonsense").unwrap();
        assert!(pod.exit_status(&app).is_err());
    }

    #[test]
    fn marks_of_a_mutable_pod() {
        let data = TempData::new();
        let status = Status::create(pod(&data)).unwrap();
        let app = AcName::new("web").unwrap();
        let seen = |status: &Status| {
            let marks = status.marks(&app).unwrap();
            [marks.created_ns, marks.started_ns, marks.finished_ns].map(|time| time.is_some())
        };
        assert_eq!(seen(&status), [false, false, false]);
        status.mark_created(&app).unwrap();
        assert_eq!(seen(&status), [true, false, false]);
        status.mark_started(&app).unwrap();
        status.write(&app, 0).unwrap();
        assert_eq!(seen(&status), [true, true, true]);
        status.mark_started(&app).unwrap();
        assert_eq!(seen(&status), [true, true, false]);
        status.forget(&app).unwrap();
        assert_eq!(seen(&status), [false, false, false]);
    }

    /// Pods whose stage1 rootfs is an overlay: the mount may be gone.
    #[test]
    fn the_upper_layer_tells_for_an_overlay() {
        let data = TempData::new();
        let pod = pod(&data);
        let app = AcName::new("web").unwrap();
        pod.write_file(layout::STAGE1_TREE, b"deps-sha512-7c\n")
            .unwrap();
        let upper = pod.path().join("overlay/deps-sha512-7c/upper/rkt/status");
        std::fs::create_dir_all(&upper).unwrap();
        std::fs::write(upper.join("web"), "3").unwrap();
        assert_eq!(pod.exit_status(&app).unwrap(), Some(3));
        pod.write_file(layout::STAGE1_TREE, b"../../etc").unwrap();
        assert_eq!(pod.exit_status(&app).unwrap(), None);
    }

    #[test]
    fn links_in_the_stage1_rootfs_are_not_followed() {
        let data = TempData::new();
        let pod = pod(&data);
        let app = AcName::new("web").unwrap();
        let outside = data.path().join("outside");
        std::fs::create_dir_all(outside.join("status")).unwrap();
        std::fs::write(outside.join("status/web"), "9\n").unwrap();
        let root = pod.path().join(layout::STAGE1_ROOTFS);
        std::fs::create_dir_all(&root).unwrap();
        std::os::unix::fs::symlink(&outside, root.join("rkt")).unwrap();
        assert_eq!(pod.exit_status(&app).unwrap(), None);
        assert!(Status::create(&pod).is_err());
    }
}
