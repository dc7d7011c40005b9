//! Hard links, and paths through symbolic ones.

use super::*;

#[test]
fn the_first_name_of_a_file_has_it_and_the_others_link() {
    let tar = Tar::default()
        .file("m", b"text")
        .link("z", b'1', "m")
        .link("a", b'1', "/z")
        .link("d/x", b'1', "./d/../m")
        .end();
    let done = unpack(&tar);
    assert_eq!(
        done.lines(),
        "/ dir?; /a file 4; /d dir?; /d/x = a; /m = a; /z = a"
    );
    assert_eq!(done.layer.rootfs_bytes, 4);
}

#[test]
fn content_stays_when_its_first_name_is_replaced() {
    let tar = Tar::default()
        .file("a", b"old")
        .link("b", b'1', "a")
        .link("c", b'1', "a")
        .file("a", b"newer")
        .end();
    let done = unpack(&tar);
    assert_eq!(done.lines(), "/ dir?; /a file 5; /b file 3; /c = b");
    assert_eq!(
        (done.read("b"), done.read("a")),
        ("old".into(), "newer".into())
    );
    let tar = Tar::default()
        .file("d/a", b"old")
        .link("b", b'1', "d/a")
        .file("d", b"flat")
        .link("c", b'1', "b")
        .link("c", b'1', "b")
        .link("c", b'1', "c");
    let done = unpack(&tar.end());
    assert_eq!(done.lines(), "/ dir?; /b file 3; /c = b; /d file 4");
}

#[test]
fn a_target_that_the_layer_does_not_have_is_below() {
    let tar = Tar::default()
        .link("usr/l", b'1', "usr/bin/low")
        .file("usr/bin/.wh.low", b"")
        .link("way", b'2', "/usr/lib")
        .link("m", b'1', "way/x")
        .link("l2", b'1', "usr/l")
        .link("self", b'1', "self")
        .end();
    let done = unpack(&tar);
    assert_eq!(
        done.lines(),
        "/ dir?; /l2 =below usr/bin/low; /m =below usr/lib/x; /self =below self; \
         /usr dir?; /usr/bin dir?; /usr/bin/low gone; /usr/l =below usr/bin/low; /way -> /usr/lib"
    );
}

#[test]
fn a_target_may_come_later() {
    let tar = Tar::default()
        .link("one", b'1', "two")
        .link("two", b'1', "d/three")
        .link("soft", b'1', "s")
        .entry("d/", b'5', b"", |header| header.set_mode(0o500))
        .file("d/three", b"3")
        .link("s", b'2', "nowhere")
        .end();
    let done = unpack(&tar);
    assert_eq!(
        done.lines(),
        "/ dir?; /d dir; /d/three file 1; /one = d/three; /s -> nowhere; \
         /soft -> nowhere; /two = d/three"
    );
    let swapped = Tar::default().link("a", b'1', "b").link("b", b'1', "a");
    assert_eq!(
        unpack(&swapped.end()).lines(),
        "/ dir?; /a =below b; /b =below b"
    );
    let circle = Tar::default().link("a", b'1', "b").link("b", b'1', "c");
    let circle = circle.link("c", b'1', "a");
    assert!(refused(&circle.end()).contains("circle"));
    let dir = Tar::default().link("a", b'1', "d").dir("d/");
    assert!(refused(&dir.end()).contains("which is a directory"));
}

#[test]
fn links_on_the_way_are_those_of_the_layer() {
    let tar = Tar::default()
        .dir("usr/lib/")
        .link("lib", b'2', "usr/lib")
        .file("lib/a", b"a")
        .link("usr/lib/up", b'2', "../../../../usr")
        .file("lib/up/b", b"b")
        .file("lib/.wh.c", b"")
        // Only a lower layer can have it: made where the link leads.
        .link("to", b'2', "/var/run")
        .file("to/x/d", b"d")
        .file("other/e", b"e")
        .end();
    let done = unpack(&tar);
    assert_eq!(
        done.lines(),
        "/ dir?; /lib -> usr/lib; /other dir?; /other/e file 1; /to -> /var/run; /usr dir?; \
         /usr/b file 1; /usr/lib dir; /usr/lib/a file 1; /usr/lib/c gone; \
         /usr/lib/up -> ../../../../usr; /var dir?; /var/run dir?; /var/run/x dir?; \
         /var/run/x/d file 1"
    );
}
