//! Images that lie on disk: OCI layouts as a directory and as a tar, and what `docker save` writes.

use crate::{fetch, rendered, umoci};
use tests::registry::{Registry, images, tool};
use tests::tree::assert_same;
use tests::{Rkt, root_test_once, skip};

root_test_once! {
    fn layouts_and_saved_archives(s) {
        if let Some(reason) = Registry::missing() {
            skip!("{reason}");
        }
        let layout = match images() {
            Ok(layout) => layout,
            Err(reason) => skip!("{reason}"),
        };
        let theirs = umoci(s, &layout, "redis");
        let source = format!("oci:{}:redis", layout.display());
        let copy = |target: &str| tool("skopeo", &["copy", "-q", "--insecure-policy", &source, target]);
        let oci_tar = s.at("oci.tar").display().to_string();
        copy(&format!("oci-archive:{oci_tar}:redis"));
        let saved = s.at("saved.tar").display().to_string();
        copy(&format!("docker-archive:{saved}:example.com/redis:7"));
        tool("gzip", &["-k", &saved]);
        for (image, what) in [
            (format!("{}:redis", layout.display()), "a layout"),
            (format!("{oci_tar}:redis"), "a layout in a tar"),
            (oci_tar, "a layout of one image in a tar"),
            (format!("{saved}:example.com/redis:7"), "a saved archive"),
            (format!("{saved}.gz"), "a saved archive, compressed"),
        ] {
            let id = fetch(s, &image);
            assert_same(&rendered(s, &id), &theirs, what);
        }
        // Verified by its digest; without one a check would be skipped.
        let manifest = tool("skopeo", &["inspect", "--format", "{{.Digest}}", &source]);
        Rkt::secure(s).args(["fetch", &format!("{}@{}", layout.display(), manifest.trim())]).run().ok();
        Rkt::secure(s)
            .args(["fetch", &format!("{}:redis", layout.display())])
            .run()
            .code(254)
            .stderr_has("--insecure-options=image");
        // A tag that is not there says which are.
        let out = Rkt::new(s).args(["fetch", &format!("{}:nothing", layout.display())]).run().code(254);
        assert!(out.stderr.contains("redis"), "{out}");
    }
}
