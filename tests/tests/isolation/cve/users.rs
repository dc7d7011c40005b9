//! Users and groups: what counts as a number, and what an image's `/etc/passwd` can do.

use super::{handled, hostile, run};
use tests::tar::Entry;
use tests::{Output, root_test_once};

const PASSWD: &str = "root:x:0:0::/:\n1000:x:0:0::/:\n4294967296:x:0:0::/:\n2147483648:x:0:0::/:\n-1:x:0:0::/:\n01:x:0:0::/:\n :x:0:0::/:\n:x:0:0::/:\nalice:x:1234:1235::/:\nlast:x:77:78";

fn uid(out: &Output) -> Option<String> {
    out.facts("Uid")
        .first()
        .and_then(|f| f.split(' ').next().map(str::to_owned))
}

root_test_once! {
    fn a_word_of_digits_is_a_number_and_nothing_else_is(s) {
        let image = hostile("users").with(Entry::file("rootfs/etc/passwd", PASSWD)).with(Entry::file("rootfs/etc/group", PASSWD)).write(s.path());
        for (user, expected) in [
            ("0", Some("0")), ("root", Some("0")), ("1000", Some("1000")), ("01", Some("1")), ("2147483648", Some("2147483648")),
            ("4294967295", None), ("4294967296", None), ("-1", None), ("1e3", None), (" 1", None), ("1:1:1", None), ("+1", None), ("1 ", None),
            ("0x0", None), ("alice", Some("1234")), ("last", Some("77")), ("alice:", None), ("ali", None),
        ] {
            let out = run(s).arg(&image).args([&format!("--user={user}"), "--group=0", "--exec=/probe", "--", "facts"]).run();
            match expected {
                Some(number) => assert_eq!(uid(&out).as_deref(), Some(number), "{user:?}\n{out}"),
                None => assert!(uid(&out).is_none() && out.code != 0, "{user:?} was accepted\n{out}"),
            }
        }
        // The image's own word for it, empty ones too.
        for (user, expected) in [("", None), ("1e3", None), ("4294967296", None), ("1000", Some("1000"))] {
            let image = hostile("users").app("user", serde_json::json!(user)).with(Entry::file("rootfs/etc/passwd", PASSWD)).write(s.path());
            let out = run(s).arg(&image).args(["--exec=/probe", "--", "facts"]).run();
            match expected {
                Some(number) => assert_eq!(uid(&out).as_deref(), Some(number), "{user:?}\n{out}"),
                None => assert!(uid(&out).is_none() && out.code != 0, "{user:?} was accepted\n{out}"),
            }
        }
    }
}

root_test_once! {
    fn a_passwd_that_is_huge_or_no_file(s) {
        for words in [
            &["sparse", "/etc/passwd", "1073741824", "then", "sparse", "/etc/group", "1073741824"][..],
            &["node", "/etc/passwd", "fifo", "then", "node", "/etc/group", "fifo"],
            &["node", "/etc/passwd", "zero", "then", "node", "/etc/group", "zero"],
            &["node", "/etc/passwd", "socket"],
            &["remove", "/etc/passwd", "then", "link", "/dev/zero", "/etc/passwd"],
            &["remove", "/etc/passwd", "then", "link", "/etc/passwd", "/etc/passwd"],
            &["remove", "/etc/passwd", "then", "mkdir", "/etc/passwd"],
        ] {
            let words: Vec<&str> = ["/intruder"].into_iter().chain(words.iter().copied()).collect();
            let image = handled(hostile("users"), "pre-start", &words).write(s.path());
            // Less memory than the file has bytes.
            let out = run(s).memory(512 << 20).arg(&image).args(["--user=alice", "--group=alice", "--exec=/probe", "--", "facts"]).run();
            assert!(uid(&out).is_none() && out.code != 0, "{words:?}\n{out}");
            assert!(!out.stderr.contains("memory allocation"), "{words:?}\n{out}");
            let out = run(s).memory(512 << 20).arg(&image).args(["--user=7", "--group=8", "--exec=/probe", "--", "facts"]).run().ok();
            assert_eq!(uid(&out).as_deref(), Some("7"), "a number needs no file\n{out}");
        }
    }
}

root_test_once! {
    fn groups_hold_the_primary_one_and_those_that_were_asked_for(s) {
        let image = hostile("users").write(s.path());
        let out = run(s).arg(&image).args(["--user=alice", "--group=alice", "--supplementary-gids=50", "--exec=/probe", "--", "facts"]).run().ok();
        let groups = out.fact("Groups");
        assert_eq!(groups.split(' ').collect::<Vec<_>>(), ["50", "1235"], "{out}");
        let out = run(s).arg(&image).args(["--user=0", "--group=0", "--exec=/probe", "--", "facts"]).run().ok();
        assert_eq!(out.fact("Groups"), "0", "the caller's groups came along\n{out}");
    }
}

root_test_once! {
    fn a_file_with_capabilities_gives_none(s) {
        let words = ["/intruder", "capable", "/probe"];
        let image = handled(hostile("users"), "pre-start", &words).write(s.path());
        let out = run(s).arg(&image).args(["--user=1000", "--group=1000", "--exec=/intruder", "--", "orphan", "forever", "then", "echo", "x"]).run().ok();
        assert!(out.stdout.contains("capable=set"), "{out}");
        let out = run(s).arg(&image).args(["--user=1000", "--group=1000", "--exec=/probe", "--", "facts"]).run().ok();
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(out.fact(set), "0000000000000000", "{set}\n{out}");
        }
        // Root's inheritable and ambient sets are empty as well.
        let out = run(s).arg(&image).args(["--exec=/probe", "--", "facts"]).run().ok();
        for set in ["CapInh", "CapAmb"] {
            assert_eq!(out.fact(set), "0000000000000000", "{set}\n{out}");
        }
    }
}
