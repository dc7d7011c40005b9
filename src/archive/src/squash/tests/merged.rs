//! Merging, case by case.

use super::*;
use crate::squash::merge;

fn told(layers: &[Index]) -> (Vec<String>, Vec<String>, bool) {
    let merged = merge(&layers.iter().collect::<Vec<_>>()).expect("it merges");
    let line = |shown: &crate::squash::Shown| {
        let path = String::from_utf8_lossy(&shown.path);
        let source = String::from_utf8_lossy(&shown.source);
        let what = match &shown.node.kind {
            NodeKind::Dir { .. } => format!("{:o}", shown.node.mode),
            NodeKind::Hardlink { target } => format!("= {}", String::from_utf8_lossy(target)),
            _ => format!("{}:{source}", shown.layer),
        };
        format!("{path} {what}")
    };
    let shown = merged.shown.iter().skip(1).map(line).collect();
    let fixups = merged.fixups.iter().skip(1).map(line).collect();
    (shown, fixups, merged.overlay)
}

#[test]
fn an_unlisted_directory_shows_what_lower_layers_said_of_it() {
    let layers = [layer(&[dir("d", 0o700)]), layer(&[file("d/f", 0o600)])];
    let (shown, fixups, overlay) = told(&layers);
    assert_eq!(shown, ["d 700", "d/f 1:d/f"]);
    assert_eq!(fixups, ["d 700"]);
    assert!(overlay);
    // Listed again with the same: nothing to fix.
    let layers = [layer(&[dir("d", 0o700)]), layer(&[dir("d", 0o700)])];
    assert_eq!(told(&layers).1, [""; 0]);
}

#[test]
fn links_join_the_names_that_still_show() {
    let layers = [
        layer(&[file("d/z", 0o600), hardlink("d/m", "d/z")]),
        layer(&[lower("a", "d/m"), whiteout("d/m")]),
        layer(&[symlink("l", "d"), lower("b", "d/z")]),
        layer(&[lower("c", "l/z"), whiteout("d/z")]),
    ];
    let (shown, fixups, _) = told(&layers);
    assert_eq!(shown, ["a 0:d/z", "b = a", "c = a", "d 755", "l 2:l"]);
    assert_eq!(fixups, ["a 0:d/z", "b = a", "c = a"]);
}

#[test]
fn byte_order_puts_files_before_their_links_and_parents_before_children() {
    let layers = [layer(&[file("a/b", 0o600), hardlink("a-b", "a/b")])];
    assert_eq!(told(&layers).0, ["a 755", "a-b 0:a/b", "a/b = a-b"]);
}

#[test]
fn a_layer_reaches_through_a_link_of_a_lower_one() {
    let base = layer(&[
        dir("usr/lib", 0o711),
        file("usr/lib/old", 0o600),
        symlink("lib", "/usr/lib"),
    ]);
    let layers = [
        base.clone(),
        layer(&[file("lib/new", 0o600), whiteout("lib/old")]),
    ];
    let (shown, fixups, overlay) = told(&layers);
    let wanted = [
        "lib 0:lib",
        "usr 755",
        "usr/lib 711",
        "usr/lib/new 1:lib/new",
    ];
    assert_eq!(shown, wanted);
    assert_eq!((fixups.len(), overlay), (0, false));
    // A listed directory takes the link's place.
    let layers = [base, layer(&[dir("lib", 0o700), file("lib/new", 0o600)])];
    let (shown, _, overlay) = told(&layers);
    assert_eq!(shown[..2], ["lib 700", "lib/new 1:lib/new"]);
    assert!(overlay);
}

#[test]
fn a_directory_over_a_link_into_a_lower_layer_is_no_case_for_overlay() {
    let layers = [
        layer(&[file("f", 0o600), file("p/old", 0o601)]),
        layer(&[lower("p", "f")]),
        layer(&[file("p/new", 0o602)]),
    ];
    let (shown, _, overlay) = told(&layers);
    assert_eq!(shown, ["f 0:f", "p 755", "p/new 2:p/new"]);
    assert!(!overlay);
}

#[test]
fn whiteouts_that_nothing_is_merged_with_would_be_listed() {
    let layers = [layer(&[file("f", 0o600)]), layer(&[whiteout("d/gone")])];
    assert_eq!(told(&layers).1, ["d 755"]);
    let opaque = node("d", NodeKind::Dir { opaque: true }, 0o755);
    let layers = [
        layer(&[dir("d", 0o755)]),
        layer(&[opaque, whiteout("d/gone")]),
    ];
    assert_eq!(told(&layers).1, ["d 755"]);
}

#[test]
fn what_cannot_be_is_named_with_its_layer() {
    let base = || {
        layer(&[
            symlink("x", "y"),
            symlink("y", "x"),
            file("f", 0o600),
            dir("d", 0o700),
        ])
    };
    let rows: &[(Index, &str)] = &[
        (
            layer(&[lower("n", "gone/f")]),
            "layer 2: hard link \"n\" to \"gone/f\": no lower layer has it",
        ),
        (
            layer(&[lower("n", "d")]),
            "layer 2: hard link \"n\" to \"d\": is a directory",
        ),
        (
            layer(&[lower("n", "x/f")]),
            "layer 2: hard link \"n\" to \"x/f\": too many levels of symbolic links",
        ),
        (
            layer(&[lower("n", "f/g")]),
            "layer 2: hard link \"n\" to \"f/g\": not a directory",
        ),
        (
            layer(&[file("x/n", 0o600)]),
            "layer 2: \"x\" leads through a symbolic link of a lower layer: too many levels of symbolic links",
        ),
        (
            layer(&[hardlink("n", "f")]),
            "the index of layer 2 is damaged: \"n\" links to nothing",
        ),
        (
            Index {
                nodes: vec![file("p/n", 0o600)],
            },
            "the index of layer 2 is damaged: \"p/n\" is in no directory",
        ),
        (
            Index {
                nodes: vec![way(""), file("../n", 0o600)],
            },
            "the index of layer 2 is damaged: \"../n\" is no plain path",
        ),
        (
            Index {
                nodes: vec![file("b", 0o600), file("a", 0o600)],
            },
            "the index of layer 2 is damaged: \"a\" is out of order",
        ),
    ];
    for (index, wanted) in rows {
        let fault = merge(&[&base(), index]).expect_err(wanted);
        assert_eq!(fault.to_string(), *wanted);
    }
}

#[test]
fn links_that_double_at_each_step_end() {
    let mut nodes = vec![dir("d0", 0o755)];
    for n in 1..60 {
        let target = format!("d{}/../d{}", n - 1, n - 1);
        nodes.push(symlink(&format!("d{n}"), &target));
    }
    let top = layer(&[file("d59/f", 0o600)]);
    let fault = merge(&[&layer(&nodes), &top]).expect_err("it has too many links");
    assert!(fault.to_string().contains("too many levels"), "{fault}");
}

#[test]
fn an_opaque_root_takes_a_tree() {
    let mut above = layer(&[file("y", 0o600)]);
    above.nodes[0].kind = NodeKind::Dir { opaque: true };
    let (shown, _, overlay) = told(&[layer(&[file("x", 0o600)]), above.clone()]);
    assert_eq!(shown, ["y 1:y"]);
    assert!(!overlay, "overlay would show x");
    // Nothing lies below the lowest.
    assert!(told(&[above]).2);
}
