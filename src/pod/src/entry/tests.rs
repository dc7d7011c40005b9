//! Words of the entry points, both ways.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use model::AcName;

const UUID: &str = "04a71208-6692-473e-ac24-5cae4faa7786";

fn uuid() -> PodUuid {
    PodUuid::new(UUID).unwrap()
}

fn full() -> RunArgs {
    RunArgs {
        debug: true,
        net: "default,foo:IP=1.2.3.4;X=y".into(),
        interactive: true,
        private_users: Some((65536, 65536)),
        mds_token: Some("0123456789abcdef0123456789abcdef".into()),
        local_config: Some("/etc/rkt".into()),
        hostname: Some("web".into()),
        resolv_conf: DnsMode::None,
        hosts: DnsMode::Stage0,
        disable_capabilities: true,
        disable_paths: true,
        disable_seccomp: true,
        mutable: true,
        ipc: Some(IpcMode::Parent),
        detach: true,
        rm: true,
        notify_fd: Some(9),
        uuid: uuid(),
    }
}

#[test]
fn run_has_rkts_order() {
    let (words, warnings) = full().to_words(Interface::BUILTIN);
    let want = [
        "--debug",
        "--net=default,foo:IP=1.2.3.4;X=y",
        "--interactive",
        "--private-users=65536:65536",
        "--local-config=/etc/rkt",
        "--hostname=web",
        "--dns-conf-mode=resolv=none,hosts=stage0",
        "--disable-capabilities-restriction",
        "--disable-paths",
        "--disable-seccomp",
        "--mutable",
        "--ipc=parent",
        "--detach",
        "--rm",
        "--notify-fd=9",
        UUID,
    ];
    assert_eq!(words, want);
    assert_eq!(warnings, Vec::<&str>::new());
    // The token comes by the environment, which nobody else can read.
    let without = RunArgs {
        mds_token: None,
        ..full()
    };
    assert_eq!(RunArgs::parse(&words).unwrap(), without);

    let plain = RunArgs::new(uuid());
    let (words, _) = plain.to_words(Interface::BUILTIN);
    assert_eq!(words, ["--net=default", UUID]);
    assert_eq!(RunArgs::parse(&words).unwrap(), plain);
}

#[test]
fn old_interfaces_get_what_they_know() {
    let table = [
        (1, vec!["--hostname", "--dns-conf-mode", "--ipc"]),
        (2, vec!["--dns-conf-mode", "--ipc"]),
        (3, vec!["--dns-conf-mode", "--ipc"]),
        (4, vec!["--ipc"]),
        (5, vec!["--ipc"]),
        (6, vec![]),
    ];
    for (version, warned) in table {
        let (words, warnings) = full().to_words(Interface::external(version));
        let gone = [
            "--hostname=",
            "--dns-conf-mode=",
            "--ipc=",
            "--disable-seccomp",
        ];
        let first = [2, 4, 6, 3];
        for (flag, since) in gone.iter().zip(first) {
            let has = words.iter().any(|word| word.starts_with(flag));
            assert_eq!(has, version >= since, "{flag} at {version}");
        }
        assert!(
            !words.iter().any(|word| word == "--detach"
                || word == "--rm"
                || word.starts_with("--notify-fd"))
        );
        assert_eq!(warnings.len(), warned.len());
        for (warning, flag) in warnings.iter().zip(warned) {
            assert!(
                warning.starts_with(&format!("warning: {flag} option")),
                "{warning}"
            );
        }
    }
}

#[test]
fn every_set_of_switches_survives() {
    for bits in 0..1 << 8 {
        let on = |bit: u32| bits & (1 << bit) != 0;
        let args = RunArgs {
            debug: on(0),
            interactive: on(1),
            disable_capabilities: on(2),
            disable_paths: on(3),
            disable_seccomp: on(4),
            mutable: on(5),
            detach: on(6),
            rm: on(7),
            ..RunArgs::new(uuid())
        };
        assert_eq!(
            RunArgs::parse(&args.to_words(Interface::BUILTIN).0).unwrap(),
            args
        );
    }
}

#[test]
fn go_forms_of_flags_are_read() {
    let args = RunArgs::parse(&["-debug=false", "-net", "none", "--mutable=1", UUID]).unwrap();
    assert_eq!(
        (args.debug, args.net.as_str(), args.mutable),
        (false, "none", true)
    );
    assert_eq!(
        RunArgs::parse(&["--net=", "--", UUID]).unwrap().net,
        "default"
    );
}

#[test]
fn wrong_words_are_faults() {
    let table: [(&[&str], &str, u8); 10] = [
        (&[], "UUID is missing or malformed", 254),
        (&["--nope", UUID], "flag provided but not defined: -nope", 2),
        (&["--net"], "flag needs an argument: -net", 254),
        (&[UUID, "more"], "unexpected word \"more\"", 254),
        (
            &["--ipc=x", UUID],
            "unknown value for --ipc parameter: x",
            254,
        ),
        (&["--private-users=1", UUID], "expected SHIFT:COUNT", 254),
        (
            &["--private-users=4294967295:2", UUID],
            "expected SHIFT:COUNT",
            254,
        ),
        (
            &["--dns-conf-mode=hosts=none", UUID],
            "expected resolv=MODE",
            254,
        ),
        (&["--debug=maybe", UUID], "expected true or false", 254),
        (&["---x", UUID], "bad flag syntax: ---x", 254),
    ];
    for (words, text, exit) in table {
        let fault = match RunArgs::parse(words) {
            Ok(args) => panic!("{words:?} gave {args:?}"),
            Err(fault) => fault,
        };
        assert!(fault.to_string().contains(text), "{words:?}: {fault}");
        assert_eq!(fault.exit, exit);
    }
}

#[test]
fn the_other_doors() {
    let app = AcName::new("web").unwrap();
    let command: Vec<String> = ["/bin/sh", "-c", "--", "-x"].map(String::from).to_vec();
    let enter = EnterArgs {
        pid: 12,
        app: app.clone(),
        command,
    };
    let words = enter.to_words();
    assert_eq!(
        words,
        [
            "--pid=12",
            "--appname=web",
            "--",
            "/bin/sh",
            "-c",
            "--",
            "-x"
        ]
    );
    assert_eq!(EnterArgs::parse(&words).unwrap(), enter);
    for bad in [
        &["--pid=0", "--appname=a", "--", "x"][..],
        &["--pid=1", "--", "x"],
        &["--pid=1", "--appname=a"],
    ] {
        assert!(EnterArgs::parse(bad).is_err(), "{bad:?}");
    }

    let gc = GcArgs {
        debug: true,
        local_config: Some("/etc/rkt".into()),
        uuid: uuid(),
    };
    let words = gc.to_words(Interface::BUILTIN);
    assert_eq!(words, ["--debug", "--local-config", "/etc/rkt", UUID]);
    assert_eq!(GcArgs::parse(&words).unwrap(), gc);
    assert_eq!(gc.to_words(Interface::external(4)), ["--debug", UUID]);

    for force in [true, false] {
        let stop = StopArgs {
            force,
            uuid: uuid(),
        };
        assert_eq!(StopArgs::parse(&stop.to_words()).unwrap(), stop);
    }
    for uuid in [Some(uuid()), None] {
        let args = AppArgs {
            debug: false,
            uuid,
            app: app.clone(),
        };
        assert_eq!(args.to_words()[0], "--debug=false");
        assert_eq!(AppArgs::parse(&args.to_words()).unwrap(), args);
    }
}

#[test]
fn words_name_the_doors() {
    for entry in Entry::ALL {
        assert_eq!(Entry::from_word(entry.word()), Some(entry));
        assert!(entry.annotation().starts_with("coreos.com/rkt/stage1/"));
    }
    assert_eq!(
        Entry::Enter.missing().to_string(),
        "entrypoint \"coreos.com/rkt/stage1/enter\" not found"
    );
}
