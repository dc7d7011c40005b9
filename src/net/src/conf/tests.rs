//! Directories of configurations, and texts, good and bad.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use model::json;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that goes with the test.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("rkt-test-net-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn file(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Small changes that leave much of a text as it was; the same in each run.
pub(crate) struct Mangler(u64);

impl Mangler {
    pub(crate) fn new() -> Mangler {
        Mangler(0x9e37_79b9_7f4a_7c15)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    pub(crate) fn mangle(&mut self, seed: &str) -> Vec<u8> {
        const SPICE: [&str; 20] = [
            "null",
            "0",
            "-1",
            "1e999",
            "18446744073709551616",
            "\"\"",
            "[]",
            "{}",
            "true",
            "\"/0\"",
            "\"::/0\"",
            "\"0.0.0.0/0\"",
            "\"255.255.255.255/1\"",
            "\"fd00::/126\"",
            "\"::ffff:10.0.0.0/120\"",
            "\"../x\"",
            "\u{0}",
            "\"",
            "[[",
            ":",
        ];
        let mut text = seed.as_bytes().to_vec();
        for _ in 0..1 + self.below(3) {
            let at = self.below(text.len().max(1)).min(text.len());
            let end = (at + self.below(12)).min(text.len());
            match self.below(4) {
                0 => drop(text.drain(at..end)),
                1 => drop(text.splice(at..end, SPICE[self.below(SPICE.len())].bytes())),
                2 => {
                    let piece = text[at..end].to_vec();
                    let to = self.below(text.len() + 1);
                    drop(text.splice(to..to, piece));
                }
                // A whole value for another: what stays readable.
                _ => {
                    let Some(quote) = text[at..].iter().position(|&b| b == b'"') else {
                        continue;
                    };
                    let start = at + quote;
                    let Some(len) = text[start + 1..].iter().position(|&b| b == b'"') else {
                        continue;
                    };
                    let spice = SPICE[self.below(SPICE.len())].bytes();
                    drop(text.splice(start..start + len + 2, spice));
                }
            }
        }
        text
    }
}

fn wanted(list: &str) -> Vec<Wanted> {
    match crate::Selection::parse(list).unwrap() {
        crate::Selection::Named(wanted) => wanted,
        other => panic!("{other:?}"),
    }
}

/// The names in their order, and the notices.
fn names(dir: &Path, list: &str) -> Result<(Vec<String>, Vec<String>)> {
    let mut notes = Vec::new();
    let networks = load(dir, &wanted(list), &mut |note| notes.push(note))?;
    Ok((networks.into_iter().map(|one| one.name).collect(), notes))
}

fn conf(name: &str) -> String {
    format!(r#"{{"name": "{name}", "type": "bridge"}}"#)
}

fn cause(result: Result<Network>) -> String {
    result.unwrap_err().cause
}

fn of_list(text: &str) -> Result<Network> {
    parse("x.conflist", "F", text.as_bytes())
}

#[test]
fn the_built_in_networks_are_there_without_a_directory() {
    let dir = Path::new("/nonexistent");
    let networks = load(dir, &wanted("all"), &mut |_| panic!("no notices")).unwrap();
    let names: Vec<_> = networks.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["default-restricted", "default"]);
    let default = &networks[1];
    assert_eq!(default.file, "99-default.conf");
    assert_eq!(default.origin, "built-in 99-default.conf");
    assert_eq!(default.version, "0.4.0");
    assert_eq!(default.plugins[0].kind, "ptp");
    let text = json::to_compact(&default.plugins[0].object);
    assert!(text.contains(r#""ipMasq":true"#) && text.contains("172.16.28.0/24"));
    let again = parse(&default.file, &default.origin, &default.text).unwrap();
    assert_eq!(again.plugins[0].object, default.plugins[0].object);
}

#[test]
fn files_names_give_the_order_and_the_directory_wins() {
    let dir = Scratch::new();
    dir.file("20-b.conf", &conf("b"));
    dir.file("10-z.conf", &conf("z"));
    dir.file("99-zz.conf", &conf("default"));
    dir.file(
        "15-l.conflist",
        r#"{"name":"l","plugins":[{"type":"ptp"}]}"#,
    );
    dir.file("05-old.json", "not looked at");
    dir.file("dir.conf/x", "not looked at");
    dir.file("bridge", "#!/bin/sh");
    let (names, notes) = names(dir.path(), "b,default,z,l").unwrap();
    assert_eq!(names, ["z", "l", "b", "default"]);
    let overriding = format!(
        "overriding \"default\" network with one from {}",
        dir.path().display()
    );
    assert_eq!(notes, [overriding]);
    let all = load(dir.path(), &wanted("all,b:IP=1.2.3.4"), &mut |_| {}).unwrap();
    let all: Vec<_> = all
        .iter()
        .map(|one| (one.name.as_str(), one.args.as_str()))
        .collect();
    let want = [
        ("z", ""),
        ("l", ""),
        ("b", "IP=1.2.3.4"),
        ("default-restricted", ""),
        ("default", ""),
    ];
    assert_eq!(all, want);
}

#[test]
fn a_name_is_taken_once() {
    let dir = Scratch::new();
    dir.file("1.conf", &conf("a"));
    dir.file("2.conflist", r#"{"name":"a","plugins":[{"type":"ptp"}]}"#);
    let networks = load(dir.path(), &wanted("a"), &mut |_| {}).unwrap();
    assert_eq!((networks.len(), &*networks[0].file), (1, "1.conf"));
    let (_, notes) = names(dir.path(), "a").unwrap();
    let ignored = dir.path().join("2.conflist");
    assert_eq!(
        notes,
        [format!(
            "\"a\" network already defined, ignoring {}",
            ignored.display()
        )]
    );
    assert_eq!(names(dir.path(), "default").unwrap().1, [""; 0]);
}

#[test]
fn what_is_missing_is_named() {
    let dir = Scratch::new();
    dir.file("1.conf", &conf("a"));
    let fault = names(dir.path(), "b,a,all,c").unwrap_err();
    assert_eq!(fault.cause, "networks not found: b, c");
    assert_eq!(fault.kind, model::Kind::NotFound);
}

#[test]
fn two_copies_of_one_name_would_overwrite_each_other() {
    let dir = Scratch::new();
    dir.file("99-default.conf", &conf("mine"));
    assert_eq!(names(dir.path(), "mine").unwrap().0, ["mine"]);
    let fault = names(dir.path(), "mine,default").unwrap_err();
    assert!(fault.cause.contains("\"99-default.conf\""), "{fault}");
    dir.file("99-default.conf", &conf("default"));
    assert_eq!(names(dir.path(), "default").unwrap().0, ["default"]);
}

#[test]
fn a_broken_file_is_an_error_though_nobody_wants_it() {
    let dir = Scratch::new();
    dir.file("1.conf", "{\"name\": \"a\",\n \"type\": }");
    let fault = names(dir.path(), "default").unwrap_err();
    let path = dir.path().join("1.conf");
    assert_eq!(
        fault.cause,
        format!(
            "error loading {}: line 2, column 10: expected value",
            path.display()
        )
    );
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("1.conf", &path).unwrap();
    let fault = names(dir.path(), "default").unwrap_err();
    assert!(fault.cause.starts_with("error loading /"), "{fault}");
    dir.file("real", &conf("linked"));
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("real", &path).unwrap();
    assert_eq!(names(dir.path(), "linked").unwrap().0, ["linked"]);
}

#[test]
fn a_fifo_does_not_hang() {
    let dir = Scratch::new();
    let path = dir.path().join("1.conf");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let fault = names(dir.path(), "default").unwrap_err();
    assert!(fault.cause.ends_with(": not a regular file"), "{fault}");
}

#[test]
fn size_and_number_are_bounded() {
    let dir = Scratch::new();
    dir.file("1.conf", &" ".repeat((1 << 20) + 1));
    let fault = names(dir.path(), "default").unwrap_err();
    assert!(
        fault.cause.ends_with("larger than 1048576 bytes"),
        "{fault}"
    );
    for at in 0..1000 {
        dir.file(&format!("{at}.conf"), &conf(&format!("n{at}")));
    }
    assert_eq!(names(dir.path(), "all").unwrap().0.len(), 1002);
    dir.file("more.conf", &conf("more"));
    let fault = names(dir.path(), "default").unwrap_err();
    assert!(fault.cause.contains("more than 1000"), "{fault}");
    let many = vec![r#"{"type":"ptp"}"#; 65].join(",");
    let many = format!(r#"{{"cniVersion":"1.0.0","name":"a","plugins":[{many}]}}"#);
    assert_eq!(
        cause(of_list(&many)),
        "error loading F: plugins: more than 64 plugins"
    );
}

#[test]
fn the_greatest_known_version_is_spoken() {
    for (fields, want) in [
        ("", "0.1.0"),
        (r#""cniVersion": "","#, "0.1.0"),
        (r#""cniVersion": "0.3.1","#, "0.3.1"),
        (r#""cniversion": "1.1.0","#, "1.1.0"),
        (
            r#""cniVersion": "0.4.0", "cniVersions": ["0.3.1", "1.0.0", "7.0.0"],"#,
            "1.0.0",
        ),
        (r#""cniVersions": ["0.3.0"],"#, "0.3.0"),
        (
            r#""cniVersion": "9.0.0", "cniVersions": ["1.1.0"],"#,
            "1.1.0",
        ),
    ] {
        let text = format!(r#"{{{fields} "name": "a", "type": "x"}}"#);
        let network = parse("a.conf", "F", text.as_bytes()).unwrap();
        assert_eq!(network.version, want, "{fields}");
    }
    let known = "is no version of CNI that is known here, 0.1.0 to 1.1.0 are";
    for (fields, want) in [
        (
            r#""cniVersion": "1.2.0","#,
            format!("cniVersion: \"1.2.0\" {known}"),
        ),
        (
            r#""cniVersion": "1.0","#,
            format!("cniVersion: \"1.0\" {known}"),
        ),
        (
            r#""cniVersion": "2.0.0", "cniVersions": ["3.0.0", "4.0.0"],"#,
            format!("cniVersions[1]: \"4.0.0\" {known}"),
        ),
        (
            r#""cniVersion": 1,"#,
            "cniVersion: expected a string, found a number".into(),
        ),
        (
            r#""cniVersions": [1],"#,
            "cniVersions[0]: expected a string, found a number".into(),
        ),
    ] {
        let text = format!(r#"{{{fields} "name": "a", "type": "x"}}"#);
        let fault = cause(parse("a.conf", "F", text.as_bytes()));
        assert_eq!(fault, format!("error loading F: {want}"));
    }
}

#[test]
fn errors_name_the_field() {
    for (text, want) in [
        ("[]", "expected an object, found a list"),
        (r#"{"type": "x"}"#, "name: is missing"),
        (r#"{"name": "a"}"#, "type: is missing"),
        (
            r#"{"name": 1, "type": "x"}"#,
            "name: expected a string, found a number",
        ),
        (
            r#"{"name": "a/b", "type": "x"}"#,
            "name: invalid network name \"a/b\"",
        ),
        (
            r#"{"name": "a", "type": "../x"}"#,
            "type: \"../x\" is no name of a plugin: it is looked for as a file of this name",
        ),
        (
            r#"{"name": "a", "type": "x", "ipam": {"type": "/bin/sh"}}"#,
            "ipam.type: \"/bin/sh\" is no name of a plugin: it is looked for as a file of this name",
        ),
        (
            r#"{"name": "a", "type": "x", "ipam": []}"#,
            "ipam: expected an object, found a list",
        ),
        (
            r#"{"name": "a", "type": "x", "capabilities": {"portMappings": "yes"}}"#,
            "capabilities: \"portMappings\" must be true or false",
        ),
        (
            r#"{"name": "a", "plugins": []}"#,
            "plugins: a list of plugins belongs in a file named .conflist",
        ),
        (
            r#"{"name": "a", "name": "b", "type": "x"}"#,
            "the key \"name\" is given more than once",
        ),
        (
            r#"{"name": "a", "type": "x", "ipv6": "no"}"#,
            "ipv6: expected true or false, found a string",
        ),
    ] {
        let fault = cause(parse("a.conf", "F", text.as_bytes()));
        assert_eq!(fault, format!("error loading F: {want}"), "{text}");
    }
    for name in [".a", "-a", "", "a b", "é", &"a".repeat(129)] {
        let text = conf(name);
        assert!(parse("a.conf", "F", text.as_bytes()).is_err(), "{name}");
    }
    for name in ["a", "0", "rkt.kubernetes.io", "a_b-c", &"a".repeat(128)] {
        let text = conf(name);
        assert_eq!(parse("a.conf", "F", text.as_bytes()).unwrap().name, name);
    }
}

#[test]
fn lists_chain_plugins() {
    let network = of_list(
        r#"{"cniVersion": "1.0.0", "name": "l", "disableCheck": "TRUE", "disableGC": false,
            "plugins": [{"type": "bridge", "x": {"y": [1]}}, {"type": "portmap"}], "ipv6": false}"#,
    )
    .unwrap();
    let kinds: Vec<_> = network.plugins.iter().map(|one| &*one.kind).collect();
    assert_eq!(kinds, ["bridge", "portmap"]);
    assert_eq!(
        json::to_compact(&network.plugins[0].object),
        r#"{"type":"bridge","x":{"y":[1]},"ipv6":false}"#
    );
    for (text, want) in [
        (r#"{"name":"l"}"#, "plugins: there is none"),
        (r#"{"name":"l","plugins":[]}"#, "plugins: there is none"),
        (
            r#"{"name":"l","plugins":{}}"#,
            "plugins: expected a list, found an object",
        ),
        (
            r#"{"cniVersion":"1.0.0","name":"l","plugins":[{"type":"a"},{"kind":"b"}]}"#,
            "plugins[1].type: is missing",
        ),
        (
            r#"{"name":"l","plugins":[{"type":"a"}],"disableCheck":"no"}"#,
            "disableCheck: expected true or false, found a string",
        ),
        (
            r#"{"name":"l","plugins":[{"type":"a"},{"type":"b"}]}"#,
            "cniVersion: 0.1.0 has no lists of several plugins, 0.3.0 and later have",
        ),
    ] {
        assert_eq!(cause(of_list(text)), format!("error loading F: {want}"));
    }
}

#[test]
fn plugins_of_a_directory_are_appended_and_copied_along() {
    let dir = Scratch::new();
    let list = r#"{"cniVersion":"1.1.0","name":"l","plugins":[{"type":"bridge"}]}"#;
    dir.file("1.conflist", list);
    dir.file("l/20.conf", r#"{"type":"tuning","sysctl":{}}"#);
    dir.file("l/10.conf", r#"{"type":"portmap"}"#);
    dir.file("l/30.conflist", "not looked at");
    let kinds = |network: &Network| -> Vec<String> {
        let plugins = network.plugins.iter();
        plugins.map(|one| one.kind.clone()).collect()
    };
    let load_l = || load(dir.path(), &wanted("l"), &mut |_| {});
    let network = &load_l().unwrap()[0];
    assert_eq!(kinds(network), ["bridge", "portmap", "tuning"]);
    let copy = parse("1.conflist", "copy", &network.text).unwrap();
    assert_eq!(kinds(&copy), kinds(network));
    assert_eq!(copy.version, "1.1.0");

    dir.file("l/15.conf", r#"{"type":"a/b"}"#);
    let fault = load_l().unwrap_err();
    assert!(
        fault.cause.contains("l/15.conf: type: \"a/b\" is no"),
        "{fault}"
    );

    let only = list.replace("\"name\"", "\"loadOnlyInlinedPlugins\":\"true\",\"name\"");
    dir.file("1.conflist", &only);
    let network = &load_l().unwrap()[0];
    assert_eq!(kinds(network), ["bridge"]);
    assert_eq!(network.text, only.as_bytes());
}

#[test]
fn mangled_texts_are_refused_or_read_again_the_same() {
    let list = r#"{"cniVersion":"1.1.0","cniVersions":["0.4.0","1.0.0"],"name":"l","ipv6":false,
        "disableCheck":"true","loadOnlyInlinedPlugins":true,"plugins":[{"type":"bridge",
        "capabilities":{"ips":true},"ipam":{"type":"host-local","subnet":"10.0.0.0/8"}},
        {"type":"portmap"}]}"#;
    let mut mangler = Mangler::new();
    let mut accepted = 0;
    for (file, seed) in BUILT_IN.into_iter().chain([("l.conflist", list)]) {
        for _ in 0..2000 {
            let text = mangler.mangle(seed);
            let Ok(network) = parse(file, "F", &text) else {
                continue;
            };
            accepted += 1;
            assert!(!network.plugins.is_empty() && VERSIONS.contains(&&*network.version));
            assert!(!network.name.contains('/') && !network.plugins[0].kind.contains('/'));
            let again = parse(file, "F", &network.text).unwrap();
            assert_eq!(again.plugins[0].object, network.plugins[0].object);
        }
    }
    assert!(accepted > 500, "{accepted}");
}
