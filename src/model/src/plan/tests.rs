#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::options::{caps_remove, caps_retain, cpu_shares, memory, seccomp};
use crate::pod::Volume;

const ID: &str = "sha512-93e4d1919733bc76aee6a40686485cb4bc3bc628ee6790bc08bbe68a1eb33f9a";
const PLANNER: Planner<'static> = Planner {
    version: "1.30.0+git",
    uid: 1000,
    gid: 100,
};

fn image(app: &str) -> ImageManifest {
    let text = format!(
        r#"{{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/busybox","labels":[{{"name":"version","value":"1.0.0"}},{{"name":"os","value":"linux"}},{{"name":"arch","value":"amd64"}}]{app}}}"#
    );
    ImageManifest::parse(text.as_bytes()).unwrap()
}

fn busybox() -> ImageManifest {
    image(
        r#","app":{"exec":["/bin/sh"],"user":"0","group":"0","environment":[{"name":"PATH","value":"/bin"}]}"#,
    )
}

fn plan(manifests: &[&ImageManifest], options: &PodOptions) -> Result<PodManifest> {
    let id = ImageId::new(ID).unwrap();
    let images: Vec<_> = manifests
        .iter()
        .map(|manifest| PlannedImage { id: &id, manifest })
        .collect();
    plan_pod(&images, options, &PLANNER)
}

fn one(app: AppOptions) -> PodOptions {
    PodOptions {
        apps: vec![app],
        ..PodOptions::default()
    }
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter()
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect()
}

#[test]
fn the_manifest_is_that_of_rkt() {
    let options = one(AppOptions {
        exec: Some("/bin/echo".into()),
        args: vec!["prepared".into()],
        ..AppOptions::default()
    });
    let pod = plan(&[&busybox()], &options).unwrap();
    let want = format!(
        r#"{{"acVersion":"1.30.0+git","acKind":"PodManifest","apps":[{{"name":"busybox","image":{{"name":"example.com/busybox","id":"{ID}","labels":[{{"name":"version","value":"1.0.0"}},{{"name":"os","value":"linux"}},{{"name":"arch","value":"amd64"}}]}},"app":{{"exec":["/bin/echo","prepared"],"user":"0","group":"0","environment":[{{"name":"PATH","value":"/bin"}}]}}}}],"volumes":null,"isolators":null,"annotations":[{{"name":"coreos.com/rkt/stage1/mutable","value":"false"}}],"ports":[]}}"#
    );
    assert_eq!(pod.compact(), want);
    assert_eq!(PodManifest::parse(want.as_bytes()).unwrap(), pod);
}

#[test]
fn a_sandbox_is_a_mutable_pod_without_apps() {
    let options = PodOptions {
        mutable: true,
        annotations: vec![Annotation::new("a/b", "c").unwrap()],
        user_labels: pairs(&[("x", "1"), ("x", "2")]),
        ..PodOptions::default()
    };
    let pod = plan(&[], &options).unwrap();
    assert!(pod.is_mutable());
    assert_eq!(pod.annotation("a/b"), Some("c"));
    assert_eq!(pod.user_labels, pairs(&[("x", "2")]));
}

#[test]
fn names_come_from_the_flag_or_the_image() {
    let mut named = busybox();
    named.name = crate::name::AcIdentifier::new("example.com/my_app.v2").unwrap();
    let pod = plan(&[&named], &one(AppOptions::default())).unwrap();
    assert_eq!(pod.apps[0].name, "my-app-v2");
    let bad = AppOptions {
        name: Some("FOO_bar".into()),
        ..AppOptions::default()
    };
    assert_eq!(
        plan(&[&named], &one(bad)).unwrap_err().cause,
        "ACName must contain only lower case alphanumeric characters plus \"-\""
    );
    let twice = PodOptions {
        apps: vec![AppOptions::default(); 2],
        ..PodOptions::default()
    };
    assert_eq!(
        plan(&[&busybox(), &busybox()], &twice).unwrap_err().cause,
        "error: multiple apps with name busybox"
    );
}

#[test]
fn an_image_without_app_section_needs_exec() {
    let data = image("");
    assert_eq!(
        plan(&[&data], &one(AppOptions::default()))
            .unwrap_err()
            .cause,
        format!("error: image {ID} has no app section and --exec argument is not provided")
    );
    let options = one(AppOptions {
        exec: Some("/a".into()),
        ..AppOptions::default()
    });
    let pod = plan(&[&data], &options).unwrap();
    let app = pod.apps[0].app.as_ref().unwrap();
    assert_eq!((app.user.as_str(), app.group.as_str()), ("1000", "100"));
}

#[test]
fn an_image_must_name_its_platform() {
    for label in ["os", "arch"] {
        let mut manifest = busybox();
        manifest.labels.0.retain(|l| l.name != label);
        assert_eq!(
            plan(&[&manifest], &one(AppOptions::default()))
                .unwrap_err()
                .cause,
            format!("missing {label} label in the image manifest")
        );
    }
}

#[test]
fn flags_override_the_image() {
    let options = one(AppOptions {
        args: vec!["-c".into()],
        working_dir: Some("/srv".into()),
        user: Some("www".into()),
        group: Some("/etc/group".into()),
        supplementary_gids: vec![5],
        read_only_rootfs: true,
        annotations: vec![Annotation::new("a", "b").unwrap()],
        user_annotations: Some(pairs(&[("k", "v")])),
        user_labels: Some(pairs(&[("l", "w")])),
        ..AppOptions::default()
    });
    let pod = plan(&[&busybox()], &options).unwrap();
    let app = pod.apps[0].app.as_ref().unwrap();
    assert_eq!(app.exec, ["/bin/sh", "-c"]);
    assert_eq!(app.working_directory, "/srv");
    assert_eq!(
        (app.user.as_str(), app.group.as_str()),
        ("www", "/etc/group")
    );
    assert_eq!(app.supplementary_gids, [5]);
    assert!(pod.apps[0].read_only_rootfs);
    assert_eq!(pod.apps[0].annotation("a"), Some("b"));
    assert_eq!(
        (&app.user_annotations, &app.user_labels),
        (&pairs(&[("k", "v")]), &pairs(&[("l", "w")]))
    );

    for (bad, want) in [
        (
            AppOptions {
                working_dir: Some("srv".into()),
                ..AppOptions::default()
            },
            "workingDirectory must be an absolute path, not \"srv\"",
        ),
        (
            AppOptions {
                user: Some("".into()),
                ..AppOptions::default()
            },
            "user is required",
        ),
        (
            AppOptions {
                args: vec!["a\0".into()],
                ..AppOptions::default()
            },
            "an argument contains a NUL character",
        ),
        (
            AppOptions {
                environment: pairs(&[("1", "")]),
                ..AppOptions::default()
            },
            "\"1\" is not the name of an environment variable",
        ),
    ] {
        assert_eq!(plan(&[&busybox()], &one(bad)).unwrap_err().cause, want);
    }
}

#[test]
fn environment_grows_from_weak_to_strong() {
    let mut options = one(AppOptions {
        environment: pairs(&[
            ("FLAG", "flag"),
            ("FILE", "flag"),
            ("SET", "flag"),
            ("FLAG", "last"),
        ]),
        ..AppOptions::default()
    });
    options.inherited_env = pairs(&[
        ("PATH", "host"),
        ("FLAG", "host"),
        ("HOST", "host"),
        ("BASH_FUNC_x%%", "() {}"),
    ]);
    options.env_file = pairs(&[("FILE", "file"), ("SET", "file")]);
    options.set_env = pairs(&[("SET", "set"), ("NEW", "set")]);
    let pod = plan(&[&busybox()], &options).unwrap();
    let env = &pod.apps[0].app.as_ref().unwrap().environment;
    let got: Vec<_> = env
        .iter()
        .map(|env| (env.name.as_str(), env.value.as_str()))
        .collect();
    assert_eq!(
        got,
        [
            ("PATH", "/bin"),
            ("FLAG", "last"),
            ("FILE", "file"),
            ("SET", "set"),
            ("HOST", "host"),
            ("NEW", "set")
        ]
    );
}

#[test]
fn mounts_of_the_app_win_over_those_of_the_pod() {
    let mount = |text: &str| Mount::parse_flag(text).unwrap();
    let mut options = one(AppOptions {
        mounts: vec![mount("volume=b,target=/x/../m/")],
        ..AppOptions::default()
    });
    options.mounts = vec![mount("volume=a,target=/m"), mount("volume=a,target=/n")];
    options.volumes = ["a", "b"]
        .map(|n| Volume::parse_flag(&format!("{n},kind=empty")).unwrap())
        .to_vec();
    let pod = plan(&[&busybox()], &options).unwrap();
    let got: Vec<_> = pod.apps[0]
        .mounts
        .iter()
        .map(|m| (m.volume.as_str(), m.path.as_str()))
        .collect();
    assert_eq!(got, [("b", "/m"), ("a", "/n")]);
    options.volumes.remove(0);
    assert!(
        plan(&[&busybox()], &options)
            .unwrap_err()
            .cause
            .starts_with("dangling mount point")
    );
    options.volumes = vec![options.volumes[0].clone(), options.volumes[0].clone()];
    options.mounts.clear();
    assert_eq!(
        plan(&[&busybox()], &options).unwrap_err().cause,
        "duplicate volume name \"b\""
    );
}

#[test]
fn ports_name_a_port_of_exactly_one_app() {
    let web = image(
        r#","app":{"exec":["/a"],"user":"0","group":"0","ports":[{"name":"web","protocol":"tcp","port":80}]}"#,
    );
    let mut options = one(AppOptions::default());
    options.ports = vec![ExposedPort::parse_flag("web:8080").unwrap()];
    assert_eq!(plan(&[&web], &options).unwrap().ports.len(), 1);
    assert_eq!(
        plan(&[&busybox()], &options).unwrap_err().cause,
        "port name \"web\" could not be found in any apps"
    );
    options.apps = ["one", "two"]
        .map(|name| AppOptions {
            name: Some(name.into()),
            ..AppOptions::default()
        })
        .to_vec();
    assert_eq!(
        plan(&[&web, &web], &options).unwrap_err().cause,
        "port name \"web\" defined multiple apps"
    );
    options.ports = vec![ExposedPort::parse_sandbox_flag("x:tcp:80:0.0.0.0:80").unwrap()];
    assert!(plan(&[&web, &web], &options).is_ok());
}

#[test]
fn isolators_are_added_or_replaced_by_kind() {
    let manifest = image(
        r#","app":{"exec":["/a"],"user":"0","group":"0","isolators":[{"name":"resource/memory","value":{"limit":"1G"}},{"name":"os/linux/capabilities-remove-set","value":{"set":["CAP_KILL"]}},{"name":"os/linux/seccomp-remove-set","value":{"set":["reboot"]}},{"name":"os/linux/cpu-shares","value":512},{"name":"example.com/x","value":1}]}"#,
    );
    let flags = vec![
        memory("64M").unwrap(),
        cpu_shares("5").unwrap(),
        caps_retain("CAP_CHOWN").unwrap(),
        seccomp("mode=retain,read").unwrap(),
    ];
    let options = one(AppOptions {
        isolators: flags,
        ..AppOptions::default()
    });
    let pod = plan(&[&manifest], &options).unwrap();
    let names: Vec<_> = pod.apps[0]
        .app
        .as_ref()
        .unwrap()
        .isolators
        .iter()
        .map(|i| i.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "resource/memory",
            "example.com/x",
            "resource/memory",
            "os/linux/cpu-shares",
            "os/linux/capabilities-retain-set",
            "os/linux/seccomp-retain-set"
        ]
    );
    let both = vec![
        caps_retain("CAP_KILL").unwrap(),
        caps_remove("CAP_KILL").unwrap(),
    ];
    let options = one(AppOptions {
        isolators: both,
        ..AppOptions::default()
    });
    assert_eq!(
        plan(&[&manifest], &options).unwrap_err().cause,
        "error: cannot use both --caps-retain and --caps-remove on the same image"
    );
}

#[test]
fn an_added_app_replaces_arguments() {
    let id = ImageId::new(ID).unwrap();
    let manifest = image(r#","app":{"exec":["/bin/sleep","1","2"],"user":"0","group":"0"}"#);
    let sandbox = plan(
        &[],
        &PodOptions {
            mutable: true,
            ..PodOptions::default()
        },
    )
    .unwrap();
    let add = |pod: &PodManifest, options: &AppOptions| {
        plan_added_app(
            PlannedImage {
                id: &id,
                manifest: &manifest,
            },
            options,
            pod,
            &PLANNER,
        )
    };
    let options = AppOptions {
        args: vec!["100".into()],
        ..AppOptions::default()
    };
    let added = add(&sandbox, &options).unwrap();
    assert_eq!(added.app.as_ref().unwrap().exec, ["/bin/sleep", "100"]);
    let kept = add(&sandbox, &AppOptions::default()).unwrap();
    assert_eq!(kept.app.unwrap().exec, ["/bin/sleep", "1", "2"]);

    let mut full = sandbox.clone();
    full.apps.push(added);
    assert_eq!(
        add(&full, &options).unwrap_err().cause,
        "error: multiple apps with name busybox"
    );
    let fixed = plan(&[], &PodOptions::default()).unwrap();
    assert_eq!(add(&fixed, &options).unwrap_err().cause, "immutable pod");
    let mounts = vec![Mount::parse_flag("volume=v,target=/v").unwrap()];
    let dangling = AppOptions {
        mounts,
        ..AppOptions::default()
    };
    assert!(
        add(&sandbox, &dangling)
            .unwrap_err()
            .cause
            .contains("volume \"v\" not found")
    );
}

#[test]
fn a_given_manifest_is_checked_against_the_images() {
    let good = plan(&[&busybox()], &one(AppOptions::default())).unwrap();
    let mut find = |_: &str| Ok(busybox());
    assert!(check_pod_manifest(&good, &mut find).is_ok());

    let mut pod = good.clone();
    pod.apps[0].image.id.clear();
    assert_eq!(
        check_pod_manifest(&pod, &mut find).unwrap_err().cause,
        "no image ID for app \"busybox\""
    );
    let mut pod = good.clone();
    pod.apps.push(pod.apps[0].clone());
    assert_eq!(
        check_pod_manifest(&pod, &mut find).unwrap_err().cause,
        "multiple apps with same name busybox"
    );
    let mut pod = good.clone();
    pod.apps[0].app = None;
    assert!(check_pod_manifest(&pod, &mut find).is_ok());
    assert!(check_pod_manifest(&pod, &mut |_| Ok(image(""))).is_err());
    let mut pod = good.clone();
    pod.apps[0].mounts = vec![Mount::parse_flag("volume=v,target=/v").unwrap()];
    assert_eq!(
        check_pod_manifest(&pod, &mut find).unwrap_err().cause,
        "could not find volume v"
    );
    let mut pod = good.clone();
    pod.ports = vec![ExposedPort::parse_flag("web:80").unwrap()];
    assert!(check_pod_manifest(&pod, &mut find).is_err());
    let missing = check_pod_manifest(&good, &mut |_| Err(Fault::not_found("no image IDs found")));
    assert_eq!(missing.unwrap_err().cause, "no image IDs found");
}
