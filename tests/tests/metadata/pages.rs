//! What is registered is what is answered.

use crate::{
    ASCII, IMAGE, JSON, TOKEN, UUID, get, image_id, mds_test, page, pod_manifest, post, register,
    register_pod, said, service,
};
use serde_json::Value;

const OTHER: &str = "11111111-2222-4333-8444-555555555555";

mds_test! {
    fn every_page() {
        let running = service();
        assert_eq!(get(&page("/pod/uuid")).parts(), (401, "text/plain; charset=utf-8", "pod not found\n"));
        register_pod();
        for (at, kind, text) in [
            ("/pod/uuid", ASCII, UUID),
            ("/pod/annotations", JSON, "[{\"name\":\"role\",\"value\":\"shop\"}]\n"),
            ("/pod/annotations/role", ASCII, "shop"),
            (
                "/apps/web/annotations",
                JSON,
                "[{\"name\":\"a\",\"value\":\"of the image\"},{\"name\":\"b\",\"value\":\"of the pod\"}]\n",
            ),
            ("/apps/web/annotations/b", ASCII, "of the pod"),
            ("/apps/web/image/id", ASCII, &image_id()),
        ] {
            assert_eq!(get(&page(at)).parts(), (200, kind, text), "{at}");
        }
        for (at, document) in [("/pod/manifest", pod_manifest()), ("/apps/web/image/manifest", IMAGE.to_owned())] {
            let answer = get(&page(at));
            assert_eq!((answer.status, answer.kind()), (200, JSON), "{at}");
            let parse = |text: &str| serde_json::from_str::<Value>(text).expect("a document");
            assert_eq!(parse(answer.text()), parse(&document), "{at}");
        }
        for (at, status) in [("/pod/annotations/no", 404), ("/apps/no/image/id", 404), ("/pod/annotations/-", 400), ("/x", 404)] {
            assert_eq!(get(&page(at)).status, status, "{at}");
        }
        assert_eq!(register("DELETE", &format!("/pods/{UUID}"), "").status, 200);
        assert_eq!(get(&page("/pod/uuid")).status, 401);
        assert_eq!(register("DELETE", &format!("/pods/{UUID}"), "").status, 404);
        for line in [
            format!("metadata-service: PUT /pods/{UUID}?token=TOKEN - 200\n"),
            format!("metadata-service: PUT /pods/{UUID}/web - 200\n"),
            // Who reads the log does not learn the token.
            "metadata-service: GET /TOKEN/acMetadata/v1/pod/uuid - 200\n".to_owned(),
            "metadata-service: GET /TOKEN/acMetadata/v1/pod/uuid - 401\n".to_owned(),
            format!("metadata-service: DELETE /pods/{UUID} - 404\n"),
        ] {
            said(&running, &line);
        }
    }
}

mds_test! {
    fn signatures_of_two_pods() {
        let _running = service();
        register_pod();
        assert_eq!(register("PUT", &format!("/pods/{OTHER}?token=other"), &pod_manifest()).status, 200);
        let signed = |token: &str| {
            let answer = post(&format!("/{token}/acMetadata/v1/pod/hmac/sign"), "content=a+letter");
            assert_eq!((answer.status, answer.kind()), (200, ASCII));
            answer.text().replace('+', "%2B")
        };
        let (mine, theirs) = (signed(TOKEN), signed("other"));
        assert_ne!(mine, theirs);
        let verified = |token: &str, uuid: &str, content: &str, signature: &str| {
            let form = format!("uuid={uuid}&content={content}&signature={signature}");
            let answer = post(&format!("/{token}/acMetadata/v1/pod/hmac/verify"), &form);
            assert_eq!((answer.kind(), answer.text()), (ASCII, ""));
            answer.status
        };
        // Each can check what the other has signed.
        assert_eq!(verified("other", UUID, "a+letter", &mine), 200);
        assert_eq!(verified(TOKEN, OTHER, "a+letter", &theirs), 200);
        assert_eq!(verified(TOKEN, OTHER, "a+letter", &mine), 403);
        assert_eq!(verified(TOKEN, UUID, "a+forged+letter", &mine), 403);
        assert_eq!(post(&page("/pod/hmac/sign"), "").status, 400);
        assert_eq!(post("/nobody/acMetadata/v1/pod/hmac/sign", "content=x").status, 401);
    }
}
