//! Ranges are nobody else's; files of pods with users of their own are theirs.

use super::*;
use crate::export::{ExportRequest, export};
use crate::prepare::{PrepareRequest, prepare};
use crate::run::{RunRequest, run};
use crate::stage1_image::Choice;
use crate::testing::{TempDir, env, image, is_root};
use model::options::AppOptions;
use model::{AcName, PodUuid};
use rustix::fs::XattrFlags;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;
use sys::clone::fork_in_test;

/// `cap_net_raw+ep` as `setcap` writes it.
const CAPABILITY: [u8; 20] = [
    1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];
const NET_RAW: u64 = 1 << 13;

#[test]
fn what_accounts_have_is_taken() {
    let dir = TempDir::new();
    assert_eq!(of_host(dir.path()).unwrap(), []);
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("subuid", "a:100000:65536\nodd\nb:x:1\n# note\n:5:\n");
    write("subgid", "a:165536:65536\n");
    write(
        "passwd",
        "root:x:0:0:root:/root:/bin/sh\nu:x:70000:80000::/:\n\n",
    );
    write("group", "g:x:90000:u\n");
    let mut taken = of_host(dir.path()).unwrap();
    taken.sort_unstable();
    let expected = [
        (0, 1),
        (0, 1),
        (70000, 1),
        (80000, 1),
        (90000, 1),
        (100_000, 65536),
        (165_536, 65536),
    ];
    assert_eq!(taken, expected);
}

#[test]
fn a_range_overlaps_with_nothing_and_ends_below_two_billion() {
    let all = SLOTS as u32 - 1;
    for random in [0, 1, all - 1, all, u32::MAX, 12345] {
        let first = pick(&[], random).unwrap();
        assert!(first >= COUNT && first.is_multiple_of(COUNT));
        assert!(u64::from(first) + u64::from(COUNT) <= 1 << 31);
    }
    // All but one, and that one only touched by neighbours.
    let below = (0, 500 * COUNT);
    let above = (501 * COUNT, u32::MAX);
    assert_eq!(pick(&[below, above], 7), Some(500 * COUNT));
    for one in [500 * COUNT, 501 * COUNT - 1] {
        assert_eq!(pick(&[below, above, (one, 1)], 7), None);
    }
    assert_eq!(
        pick(&[below, above, (500 * COUNT, 0)], 7),
        Some(500 * COUNT)
    );
    assert_eq!(pick(&[(1, u32::MAX), (u32::MAX, u32::MAX)], 7), None);
    let mut seen: Vec<u32> = (0..100).filter_map(|n| pick(&[], n)).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 100);
}

fn request(image: &Path, no_overlay: bool) -> PrepareRequest {
    let mut request = PrepareRequest {
        private_users: true,
        no_overlay,
        ..PrepareRequest::default()
    };
    request.pod.apps = vec![AppOptions {
        image: image.to_str().unwrap().into(),
        ..AppOptions::default()
    }];
    request
}

/// An image with what a change of owners can hurt, and a program of its own.
fn hard_image(dir: &TempDir, program: bool) -> PathBuf {
    let root = dir.path().join("a-rootfs");
    std::fs::create_dir_all(root.join("home")).unwrap();
    let make = |name: &str, mode: u32, owner: u32| {
        let path = root.join(name);
        if !path.exists() {
            std::fs::write(&path, name).unwrap();
        }
        chown(&path, Some(owner), Some(owner + 1)).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    };
    if program {
        let _no_busybox = std::fs::copy("/usr/bin/busybox", root.join("status"));
    }
    make("home", 0o2750, 1000);
    make("su", 0o6755, 7);
    make("status", 0o755, 0);
    let flags = XattrFlags::empty();
    rustix::fs::setxattr(
        root.join("status"),
        "security.capability",
        &CAPABILITY,
        flags,
    )
    .unwrap();
    image(dir, "a", None)
}

#[test]
fn a_copy_has_the_users_of_the_pod() {
    alone("users::tests::a_copy_has_the_users_of_the_pod", || {
        let dir = TempDir::new();
        let env = env(&dir, "image");
        let image = hard_image(&dir, true);
        let uuid = prepare(&env, &request(&image, true)).unwrap();
        let mut pod = Pod::open(&env.dir, &uuid).unwrap();
        let (first, count) = pod.private_users().unwrap().unwrap();
        assert_eq!(count, COUNT);
        let root = pod.path().join("stage1/rootfs/opt/stage2/a/rootfs");
        owners_and_modes(&root, first);
        assert_eq!(std::fs::metadata(&root).unwrap().uid(), first);
        program_has_its_capabilities(&root.join("status"), first);
        // Out of it comes the image again.
        pod.to_run().unwrap();
        drop(pod);
        exported_as_the_image(&env, &dir, &uuid);
    });
}

/// What the image says of two of its files, moved by `first`.
fn owners_and_modes(root: &Path, first: u32) {
    for (name, mode, owner) in [("home", 0o2750, 1000), ("su", 0o6755, 7)] {
        let meta = std::fs::metadata(root.join(name)).unwrap();
        let wanted = (first + owner, first + owner + 1, mode);
        assert_eq!(
            (meta.uid(), meta.gid(), meta.mode() & 0o7777),
            wanted,
            "{name}"
        );
    }
}

/// The kernel takes the capabilities for the pod's namespace, and for no other.
fn program_has_its_capabilities(path: &Path, first: u32) {
    let program = File::open(path).unwrap();
    if program.metadata().unwrap().len() < 1000 {
        eprintln!("skipped: needs a static /usr/bin/busybox");
        return;
    }
    let of = |first: u32| {
        let status = output_in(first, program.as_fd());
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
    };
    assert_eq!(of(first), NET_RAW);
    assert_eq!(of(first ^ COUNT), 0);
}

/// What the program prints as user 1000 of a namespace that begins at `first`.
fn output_in(first: u32, program: BorrowedFd<'_>) -> String {
    let (ready, tell) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let (output, print) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let pid = match fork_in_test(Namespaces::USER).unwrap() {
        Forked::Child => {
            drop(tell);
            let _ = rustix::io::read(&ready, &mut [0; 1]);
            sys::creds::set_groups(1000, &[]).unwrap();
            sys::creds::set_user(1000).unwrap();
            sys::process::become_std(print.as_fd(), 1).unwrap();
            let argv = [c"cat".to_owned(), c"/proc/self/status".to_owned()];
            let err = sys::process::exec_fd(program, &argv, &[]);
            eprintln!("exec: {err}");
            sys::process::exit_now(1)
        }
        Forked::Parent(pid) => pid,
    };
    let map = IdMap::from_zero(first, COUNT);
    userns::write_maps(pid, &map, &map).unwrap();
    drop((tell, print));
    let mut text = String::new();
    File::from(output).read_to_string(&mut text).unwrap();
    sys::process::wait(pid).unwrap();
    text
}

fn exported_as_the_image(env: &Env, dir: &TempDir, uuid: &PodUuid) {
    let out = dir.path().join(format!("{}.aci", uuid.as_str()));
    let wanted = ExportRequest {
        pod: uuid.as_str().into(),
        file: out.clone(),
        ..ExportRequest::default()
    };
    export(env, &wanted).unwrap();
    let store = store::Store::open(&env.dir).unwrap();
    let mut file = File::open(&out).unwrap();
    let id = store.put_aci(&mut file, &Default::default()).unwrap().id;
    let tree = store.render_flat(&id).unwrap();
    owners_and_modes(&tree.lowers[0], 0);
    let mut value = [0; 64];
    let status = tree.lowers[0].join("status");
    let length = rustix::fs::getxattr(&status, "security.capability", &mut value[..]).unwrap();
    assert_eq!(value[..length], CAPABILITY);
}

#[test]
fn an_overlay_keeps_the_ids_of_the_image() {
    alone(
        "users::tests::an_overlay_keeps_the_ids_of_the_image",
        || {
            let dir = TempDir::new();
            let env = env(&dir, "image");
            let image = hard_image(&dir, false);
            let uuid = prepare(&env, &request(&image, false)).unwrap();
            let mut pod = Pod::open(&env.dir, &uuid).unwrap();
            assert!(!pod.path().join(TEST).exists());
            let range = pod.private_users().unwrap().unwrap();
            let rootfs = pod.rootfs(&AcName::new("a").unwrap()).unwrap();
            if let pod::Rootfs::Copied { .. } = rootfs {
                eprintln!("skipped: this file system or kernel has no idmapped layers");
                return;
            }
            pod.to_run().unwrap();
            drop(pod);
            exported_as_the_image(&env, &dir, &uuid);
            // No other pod gets the range.
            let taken = of_pods(&env.dir).unwrap();
            assert_eq!(taken, [range]);
            assert_ne!(pick(&taken, range.0 / COUNT - 1).unwrap(), range.0);
        },
    );
}

#[test]
fn an_owner_beyond_the_range_is_refused() {
    alone("users::tests::an_owner_beyond_the_range_is_refused", || {
        let dir = TempDir::new();
        let env = env(&dir, "image");
        std::fs::create_dir(dir.path().join("a-rootfs")).unwrap();
        let far = dir.path().join("a-rootfs/far");
        std::fs::write(&far, "").unwrap();
        chown(&far, Some(70_000), Some(0)).unwrap();
        let fault = prepare(&env, &request(&image(&dir, "a", None), true)).unwrap_err();
        let text = fault.to_string();
        let told = "copy far: uid 70000 or gid 0 are out of range 65536";
        assert!(text.contains(told), "{text}");
    });
}

#[test]
fn who_cannot_have_users_of_their_own_is_told_before_a_pod_exists() {
    if !is_root() {
        return;
    }
    let dir = TempDir::new();
    let env = env(&dir, "image");
    let mut fly = request(&image(&dir, "a", None), true);
    fly.stage1 = Some(Choice::Name("coreos.com/rkt/stage1-fly:1.30.0".into()));
    let fault = prepare(&env, &fly).unwrap_err();
    assert!(fault.cause.contains("stage1 fly"), "{fault}");
    let asked = RunRequest {
        prepare: fly,
        ..RunRequest::default()
    };
    assert!(run(&env, &asked).cause.contains("stage1 fly"));
    assert!(!dir.path().join("data/pods").exists());
}

#[test]
fn in_a_user_namespace_there_is_no_other() {
    alone(
        "users::tests::in_a_user_namespace_there_is_no_other",
        || {
            let dir = TempDir::new();
            chown(dir.path(), Some(70_001), Some(70_001)).unwrap();
            let image = image(&dir, "a", None);
            confined(|| {
                let env = env(&dir, "image");
                for no_overlay in [true, false] {
                    let fault = prepare(&env, &request(&image, no_overlay)).unwrap_err();
                    assert!(fault.cause.contains("in a user namespace"), "{fault}");
                }
                assert!(!dir.path().join("data/pods").exists());
            });
        },
    );
}

/// Without idmapped layers and `--private-users`: pods as an ordinary user has them.
#[test]
fn pods_in_a_user_namespace_are_prepared_and_exported() {
    alone(
        "users::tests::pods_in_a_user_namespace_are_prepared_and_exported",
        || {
            let dir = TempDir::new();
            let image = hard_image(&dir, false);
            chown(dir.path(), Some(70_001), Some(70_001)).unwrap();
            confined(|| {
                let env = env(&dir, "image");
                std::fs::create_dir(&env.dir).unwrap();
                let reason = crate::overlay::unsupported(&env.dir);
                assert_eq!(std::fs::read_dir(&env.dir).unwrap().count(), 0);
                for no_overlay in [true, false] {
                    let mut wanted = request(&image, no_overlay);
                    wanted.private_users = false;
                    let uuid = prepare(&env, &wanted).unwrap();
                    let mut pod = Pod::open(&env.dir, &uuid).unwrap();
                    assert_eq!(pod.is_overlay(), !no_overlay && reason.is_none());
                    pod.to_run().unwrap();
                    let app = AcName::new("a").unwrap();
                    if let pod::Rootfs::Overlay { tree_id, .. } = pod.rootfs(&app).unwrap() {
                        // An app has removed a file, and made a directory anew.
                        let upper = pod.path().join(layout::overlay_upper(&tree_id, &app));
                        std::fs::create_dir_all(upper.join("etc")).unwrap();
                        let opaque = archive::Marks::User.opaque().unwrap();
                        let flags = XattrFlags::empty();
                        rustix::fs::setxattr(upper.join("etc"), opaque, b"y", flags).unwrap();
                    }
                    drop(pod);
                    exported_as_the_image(&env, &dir, &uuid);
                }
                if let Some(reason) = reason {
                    eprintln!("skipped: {reason}");
                }
            });
        },
    );
}

/// As root of a user namespace with a range of ids.
fn confined(work: impl FnOnce()) {
    let mut map = IdMap::from_zero(70_001, 1);
    map.0.push(sys::userns::IdRange {
        inside: 1,
        outside: 200_000,
        count: 65_535,
    });
    let namespaces = Namespaces::USER.and(Namespaces::MOUNT);
    let write = |pid| userns::write_maps(pid, &map, &map).unwrap();
    in_child_of_test(namespaces, write, || {
        sys::creds::set_groups(0, &[]).unwrap();
        sys::creds::set_user(0).unwrap();
        work();
    });
}

/// Runs a test once more in a process of its own, and there in a forked one, which
/// has a single thread, as whoever makes namespaces must.
fn alone(test: &str, work: impl FnOnce()) {
    const NAME: &str = "RKT_TEST_ALONE";
    if std::env::var_os(NAME).is_some_and(|name| name == test) {
        return in_child_of_test(Namespaces::NONE, |_| {}, work);
    }
    if !rustix::process::geteuid().is_root() || userns::confined() {
        eprintln!("skipped: making user namespaces with many ids needs root");
        return;
    }
    let done = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--test-threads=1", "--nocapture"])
        .env(NAME, test)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.contains("1 passed"), "{said}");
    for line in said.lines().filter(|line| line.starts_with("skipped: ")) {
        eprintln!("{line}");
    }
}

/// What panics there fails here.
fn in_child_of_test(namespaces: Namespaces, prepare: impl FnOnce(i32), work: impl FnOnce()) {
    let (ready, tell) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    match fork_in_test(namespaces).unwrap() {
        Forked::Child => {
            drop(tell);
            let _ = rustix::io::read(&ready, &mut [0; 1]);
            let work = std::panic::AssertUnwindSafe(work);
            let failed = std::panic::catch_unwind(work).is_err();
            sys::process::exit_now(i32::from(failed))
        }
        Forked::Parent(pid) => {
            prepare(pid);
            drop(tell);
            let ended = sys::process::wait(pid).unwrap();
            assert_eq!(ended, sys::process::Ended::Exited(0));
        }
    }
}
