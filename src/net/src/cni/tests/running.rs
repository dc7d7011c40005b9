//! How a program runs and ends: bounded output, bounded patience, streams that
//! others keep or that nobody reads.

use super::*;

#[test]
fn output_is_bounded() {
    let endless = refused("while :; do echo 0123456789012345678901234567890123456789; done");
    assert!(
        endless.cause.contains("more than 1048576 bytes"),
        "{endless}"
    );
    let bench = Bench::new();
    let site = bench.site();
    let noisy = "head -c 3000000 /dev/zero | tr '\\0' x >&2; echo '{\"cniVersion\":\"0.4.0\"}'";
    added(&bench, &site, noisy).unwrap();
    let notes = site.notes.borrow();
    assert!(notes[0].contains("ADD wrote: xxxx") && notes[0].len() < 3000);
    // A result that does not fit into a pipe at once.
    let large = "printf '{\"cniVersion\":\"0.4.0\",\"odd\":\"'; head -c 900000 /dev/zero | tr '\\0' x; echo '\"}'";
    assert!(added(&bench, &site, large).is_ok());
}

#[test]
fn a_large_input_need_not_be_read() {
    let bench = Bench::new();
    let path = bench.dirs.plugins[0].join("deaf");
    fs::write(&path, "#!/bin/sh\necho '{\"cniVersion\":\"0.4.0\"}'\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&path, mode).unwrap();
    let object = format!(
        r#"{{"name":"net1","type":"deaf","x":"{}"}}"#,
        "x".repeat(1 << 20)
    );
    let network = network("0.4.0", &[&object]);
    let site = bench.site();
    add(&call(&site, &network), &path, &told(None, &NONE)).unwrap();
}

#[test]
fn one_that_hangs_is_killed_with_its_children() {
    let bench = Bench::new();
    let site = Site {
        patience: Duration::from_millis(200),
        ..bench.site()
    };
    let body = "sleep 1000 & echo $! >$root/pid; wait";
    let fault = added(&bench, &site, body).unwrap_err();
    assert_eq!(fault.kind, Kind::TimedOut);
    assert_eq!(
        fault.cause,
        "netplugin did not end within 200ms, it was killed"
    );
    let pid = bench.text("pid");
    let stat = format!("/proc/{}/stat", pid.trim());
    // Killed at once, but reaped by somebody else, who may take a moment.
    for _ in 0..1000 {
        match fs::read_to_string(&stat) {
            Ok(text) if !text.contains(") Z ") => std::thread::sleep(Duration::from_millis(5)),
            _ => return,
        }
    }
    panic!("the child of a plugin that was given up is still there");
}

#[test]
fn a_grandchild_that_keeps_the_streams_does_not_matter() {
    let bench = Bench::new();
    let body = "sleep 1000 & echo $! >$root/pid; echo '{\"cniVersion\":\"0.4.0\"}'";
    let answer = added(&bench, &bench.site(), body);
    // It lives on: whoever starts a daemon means it.
    let pid = bench.text("pid").trim().parse().unwrap();
    sys::signal::send(pid, sys::signal::KILL).unwrap();
    answer.unwrap();
}

#[test]
fn streams_that_are_closed_early_do_not_matter() {
    let bench = Bench::new();
    let body = "echo '{\"cniVersion\":\"0.4.0\"}'; exec >&- 2>&-; sleep 0.1";
    added(&bench, &bench.site(), body).unwrap();
}

#[test]
fn a_program_that_is_being_written_is_waited_for() {
    let bench = Bench::new();
    let path = bench.plain("p");
    let network = network("1.0.0", &[r#"{"name":"net1","type":"p"}"#]);
    let writing = fs::OpenOptions::new().append(true).open(&path).unwrap();
    let site = Site {
        patience: Duration::from_millis(100),
        ..bench.site()
    };
    let fault = add(&call(&site, &network), &path, &told(None, &NONE)).unwrap_err();
    assert!(fault.cause.contains("text file busy"), "{fault}");
    let site = bench.site();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            drop(writing);
        });
        add(&call(&site, &network), &path, &told(None, &NONE)).unwrap();
    });
}

#[test]
fn what_cannot_be_executed_is_named() {
    let bench = Bench::new();
    let path = bench.dirs.plugins[0].join("p");
    let network = network("1.0.0", &[r#"{"name":"net1","type":"p"}"#]);
    let site = bench.site();
    for (text, mode, want) in [
        ("#!/bin/sh\n", 0o644, "permission denied"),
        (
            "#!/no/such/interpreter\n",
            0o755,
            "no such file or directory",
        ),
        ("just text\n", 0o755, "exec format error"),
    ] {
        fs::write(&path, text).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(&path, mode).unwrap();
        let fault = add(&call(&site, &network), &path, &told(None, &NONE)).unwrap_err();
        assert_eq!(
            fault.cause.to_lowercase(),
            format!("exec {}: {want}", path.display())
        );
    }
}
