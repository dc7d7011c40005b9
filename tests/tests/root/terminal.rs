//! A pod at a user's terminal: it gets one of its own, keys and sizes reach it, and the user's is as before afterwards.

use crate::{call, probe, start};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tests::terminal::Terminal;
use tests::{Rkt, Scratch, root_test};

fn interactive(s: &Scratch, image: &Path, words: &[&str]) -> Rkt {
    let save = format!("--uuid-file-save={}", s.at("uuid").display());
    Rkt::new(s)
        .args(["run", "--net=none", "--interactive", &save])
        .arg(image)
        .arg("--")
        .args(words)
}

/// `key=value` as the probe prints it.
#[track_caller]
fn fact(terminal: &Terminal, key: &str) -> String {
    let text = terminal.text();
    let start = format!("{key}=");
    text.lines()
        .find_map(|l| {
            tests::rkt::unframed(l)
                .strip_prefix(&start)
                .map(str::to_owned)
        })
        .unwrap_or_else(|| panic!("no {key:?} on the screen\n{text}"))
}

root_test! {
    fn an_interactive_app_has_a_terminal_of_its_own(s) {
        let terminal = Terminal::new(31, 97);
        let before = terminal.settings();
        let (code, after) = terminal.start(&interactive(s, &probe(s), &["terminals", "then", "sized", "31x97", "then", "exit", "5"])).end();
        for stream in ["tty0", "tty1", "tty2"] {
            assert_eq!(fact(&terminal, stream), "/dev/pts/0", "{stream}\n{}", terminal.text());
        }
        assert_eq!(fact(&terminal, "size"), "31x97");
        assert_eq!(code, 5, "{}", terminal.text());
        assert_eq!(after, before, "the user's terminal is left changed");
    }
}

root_test! {
    fn keys_and_a_new_size_arrive(s) {
        let terminal = Terminal::new(24, 80);
        let before = terminal.settings();
        let pod = terminal.start(&interactive(s, &probe(s), &["resized", "50x132", "then", "stdin", "then", "echo", "over"]));
        terminal.until("watching");
        assert_ne!(terminal.settings(), before, "keys are the app's terminal's to cook");
        terminal.resize(50, 132);
        terminal.until("size=50x132");
        terminal.press(b"typed\r");
        terminal.press(b"\x04");
        let (code, after) = pod.end();
        // Once as the app's terminal echoes it, once as the app prints it.
        assert_eq!(terminal.text().matches("typed\n").count(), 2, "{}", terminal.text());
        assert_eq!(code, 0, "{}", terminal.text());
        assert_eq!(after, before, "the user's terminal is left changed");
    }
}

root_test! {
    fn three_escapes_kill_the_pod(s) {
        let terminal = Terminal::new(24, 80);
        let before = terminal.settings();
        let pod = terminal.start(&interactive(s, &probe(s), &["echo", "ready", "then", "forever"]));
        terminal.until("ready");
        terminal.press(b"\x1d\x1d\x1d");
        let (code, after) = pod.end();
        let uuid = std::fs::read_to_string(s.at("uuid")).expect("--uuid-file-save wrote the file");
        let last = format!("Container rkt-{uuid} terminated by signal KILL.\n");
        assert!(terminal.text().contains(&last), "no {last:?}\n{}", terminal.text());
        assert_eq!(code, 1, "{}", terminal.text());
        assert_eq!(after, before, "the user's terminal is left changed");
    }
}

root_test! {
    fn enter_has_a_terminal_of_its_own(s) {
        let (pod, uuid) = start(s, &probe(s), &[], &["forever"]);
        let terminal = Terminal::new(40, 100);
        let before = terminal.settings();
        let enter = Rkt::new(s).args(["enter", &uuid, "/probe", "terminals", "then", "sized", "40x100", "then", "resized", "41x101", "then", "exit", "9"]);
        let seated = terminal.start(&enter);
        terminal.until("watching");
        terminal.resize(41, 101);
        let (code, after) = seated.end();
        for (number, stream) in ["tty0", "tty1", "tty2"].iter().enumerate() {
            let name = fact(&terminal, stream);
            assert!(name.starts_with("/dev/pts/"), "{stream} is {name}\n{}", terminal.text());
            // Two devpts may well give the same number; it is another terminal all the same.
            let ours = std::fs::metadata(terminal.name()).expect("the user's terminal").dev();
            assert_ne!(fact(&terminal, &format!("devpts{number}")), ours.to_string(), "{stream} is the user's own");
        }
        assert_eq!(fact(&terminal, "size"), "40x100");
        assert!(terminal.text().contains("size=41x101"), "{}", terminal.text());
        assert_eq!(code, 9, "{}", terminal.text());
        assert_eq!(after, before, "the user's terminal is left changed");
        call(s, &["stop", "--force", &uuid]).ok();
        pod.end();
    }
}

root_test! {
    fn a_terminal_for_output_alone_does_not_reach_the_app(s) {
        let terminal = Terminal::new(24, 80);
        let (code, _) = terminal.start_with(&interactive(s, &probe(s), &["terminals"]), "</dev/null").end();
        assert_eq!(code, 0, "{}", terminal.text());
        for stream in ["tty0", "tty1", "tty2"] {
            assert_eq!(fact(&terminal, stream), "none", "{stream}\n{}", terminal.text());
        }
        let (pod, uuid) = start(s, &probe(s), &[], &["forever"]);
        let terminal = Terminal::new(24, 80);
        let enter = Rkt::new(s).args(["enter", &uuid, "/probe", "terminals"]);
        let (code, _) = terminal.start_with(&enter, "</dev/null").end();
        assert_eq!(code, 0, "{}", terminal.text());
        for stream in ["tty0", "tty1", "tty2"] {
            assert_eq!(fact(&terminal, stream), "none", "{stream}\n{}", terminal.text());
        }
        call(s, &["stop", "--force", &uuid]).ok();
        pod.end();
    }
}
