//! Every path, method and failure of both sides.

use super::{parts, request};
use crate::metadata::key::Key;
use crate::metadata::pods::Pods;
use crate::metadata::routes;
use model::{PodUuid, base64};

const UUID: &str = "6d30845e-5d5c-4dcb-b565-b304e87f5e7b";
const OTHER: &str = "11111111-2222-4333-8444-555555555555";
const JSON: &str = "application/json";
const ASCII: &str = "text/plain; charset=us-ascii";

fn image_id() -> String {
    format!("sha512-{}", "ab".repeat(64))
}

fn pod_manifest() -> String {
    format!(
        "{{\"acVersion\":\"0.8.11\",\"acKind\":\"PodManifest\",\"apps\":[\
         {{\"name\":\"web\",\"image\":{{\"id\":\"{id}\"}},\"annotations\":[\
         {{\"name\":\"b\",\"value\":\"pod\"}},{{\"name\":\"new\",\"value\":\"n\"}}]}},\
         {{\"name\":\"side\",\"image\":{{\"id\":\"{id}\"}}}}],\"volumes\":null,\"isolators\":null,\
         \"annotations\":[{{\"name\":\"ip-address\",\"value\":\"10.1.2.3\"}},\
         {{\"name\":\"example.com/a/b\",\"value\":\"deep\"}}],\"ports\":[]}}",
        id = image_id()
    )
}

const IMAGE: &str = "{\"acKind\":\"ImageManifest\",\"acVersion\":\"0.8.11\",\
    \"name\":\"example.com/web\",\"annotations\":[{\"name\":\"a\",\"value\":\"1\"},\
    {\"name\":\"b\",\"value\":\"2\"}]}";
const BARE: &str =
    "{\"acKind\":\"ImageManifest\",\"acVersion\":\"0.8.11\",\"name\":\"example.com/side\"}";

struct Service {
    pods: Pods,
    key: Key,
}

impl Service {
    /// A pod with two apps, and one under a name that is none, token `t`.
    fn new() -> Service {
        let mut service = Service {
            pods: Pods::default(),
            key: Key::random().unwrap(),
        };
        let done = |answer: (u16, &str, String)| assert_eq!((answer.0, &*answer.2), (200, ""));
        done(service.register("PUT", &format!("/pods/{UUID}?token=t"), &pod_manifest()));
        done(service.register("PUT", &format!("/pods/{UUID}/web"), IMAGE));
        done(service.register("PUT", &format!("/pods/{UUID}/side"), BARE));
        done(service.register("PUT", &format!("/pods/{UUID}/Bad_Name"), IMAGE));
        service
    }

    fn register(&mut self, method: &str, target: &str, body: &str) -> (u16, &'static str, String) {
        parts(&routes::registration(
            &mut self.pods,
            &request(method, target, body),
        ))
    }

    fn ask(&self, method: &str, target: &str, form: &str) -> (u16, &'static str, String) {
        parts(&routes::public(
            &self.pods,
            &self.key,
            &request(method, target, form),
        ))
    }

    fn get(&self, page: &str) -> (u16, &'static str, String) {
        self.ask("GET", &format!("/t/acMetadata/v1{page}"), "")
    }

    fn post(&self, page: &str, form: &str) -> (u16, &'static str, String) {
        self.ask("POST", &format!("/t/acMetadata/v1/pod/hmac/{page}"), form)
    }
}

#[test]
fn pages() {
    let service = Service::new();
    let cases = [
        ("/pod/uuid", ASCII, UUID.to_string()),
        ("/pod/manifest", JSON, format!("{}\n", pod_manifest())),
        (
            "/pod/annotations",
            JSON,
            "[{\"name\":\"ip-address\",\"value\":\"10.1.2.3\"},\
             {\"name\":\"example.com/a/b\",\"value\":\"deep\"}]\n"
                .to_string(),
        ),
        ("/pod/annotations/ip-address", ASCII, "10.1.2.3".to_string()),
        (
            "/pod/annotations/example.com/a/b",
            ASCII,
            "deep".to_string(),
        ),
        (
            "/pod/annotations/example.com%2Fa%2Fb",
            ASCII,
            "deep".to_string(),
        ),
        (
            "/apps/web/annotations",
            JSON,
            "[{\"name\":\"a\",\"value\":\"1\"},{\"name\":\"b\",\"value\":\"pod\"},\
             {\"name\":\"new\",\"value\":\"n\"}]\n"
                .to_string(),
        ),
        ("/apps/web/annotations/a", ASCII, "1".to_string()),
        ("/apps/web/annotations/b", ASCII, "pod".to_string()),
        ("/apps/side/annotations", JSON, "[]\n".to_string()),
        ("/apps/side/image/id", ASCII, image_id()),
        ("/apps/Bad_Name/image/manifest", JSON, String::new()),
        ("/apps/web/image/manifest", JSON, String::new()),
    ];
    for (page, kind, text) in cases {
        let got = service.get(page);
        assert_eq!((got.0, got.1), (200, kind), "{page}");
        match text.is_empty() {
            true => assert!(got.2.contains("example.com/web"), "{page}"),
            false => assert_eq!(got.2, text, "{page}"),
        }
    }
    // The image's own annotations are not touched by the pod's.
    let image = service.get("/apps/web/image/manifest").2;
    assert!(image.contains("{\"name\":\"b\",\"value\":\"2\"}") && !image.contains("\"new\""));
}

#[test]
fn failures_of_pages() {
    let service = Service::new();
    for (page, status, text) in [
        (
            "/pod/annotations/none",
            404,
            "Pod annotation \"none\" not found",
        ),
        (
            "/pod/annotations/No!",
            400,
            "Pod annotation \"No!\" is not a valid AC Identifier",
        ),
        (
            "/apps/web/annotations/none",
            404,
            "App annotation \"none\" not found",
        ),
        (
            "/apps/web/annotations/%0a",
            400,
            "App annotation name \"\\n\" is not a valid AC Identifier",
        ),
        ("/apps/nope/annotations", 404, "app not found\n"),
        ("/apps/nope/image/id", 404, "app not found\n"),
        ("/apps/No!/image/manifest", 404, "app not found\n"),
        (
            "/apps/Bad_Name/image/id",
            400,
            "App name \"Bad_Name\" is not a valid AC Name",
        ),
        (
            "/apps/Bad_Name/annotations",
            400,
            "App name \"Bad_Name\" is not a valid AC Name",
        ),
        (
            "/apps/Bad_Name/annotations/a",
            400,
            "App name \"Bad_Name\" is not a valid AC Name",
        ),
        ("/", 404, "404 page not found\n"),
        ("/pod", 404, "404 page not found\n"),
        ("/pod/uuid/", 404, "404 page not found\n"),
        ("/apps/web", 404, "404 page not found\n"),
        ("/apps/web/image", 404, "404 page not found\n"),
        ("/apps/web/image/id/x", 404, "404 page not found\n"),
        ("/pod/hmac/sign", 404, "404 page not found\n"),
        ("/pod/%zz", 400, "400 Bad Request: malformed path\n"),
    ] {
        let want = (status, "text/plain; charset=utf-8", text.to_string());
        assert_eq!(service.get(page), want, "{page}");
    }
    for page in [
        "pod/uuid",
        "pod/manifest",
        "pod/annotations",
        "pod/annotations/a",
        "apps/web/image/id",
    ] {
        for token in ["wrong", "", "T", "t%00", "tt"] {
            let got = service.ask("GET", &format!("/{token}/acMetadata/v1/{page}"), "");
            assert_eq!((got.0, &*got.2), (401, "pod not found\n"), "{token}");
        }
    }
    for (method, target) in [
        ("GET", "/"),
        ("GET", "/t"),
        ("GET", "/t/acMetadata/v2/pod/uuid"),
        ("GET", "/t/acmetadata/v1/pod/uuid"),
        ("POST", "/t/acMetadata/v1/pod/uuid"),
        ("HEAD", "/t/acMetadata/v1/pod/uuid"),
        ("DELETE", "/t/acMetadata/v1/pod/uuid"),
        ("PUT", "/t/acMetadata/v1/pod/hmac/sign"),
        // Registration is not for the public.
        ("PUT", "/pods/6d30845e-5d5c-4dcb-b565-b304e87f5e7b?token=x"),
        ("DELETE", "/pods/6d30845e-5d5c-4dcb-b565-b304e87f5e7b"),
    ] {
        assert_eq!(service.ask(method, target, "").0, 404, "{method} {target}");
    }
}

#[test]
fn signatures() {
    let mut service = Service::new();
    service.register("PUT", &format!("/pods/{OTHER}?token=u"), &pod_manifest());
    let (status, kind, signature) = service.post("sign", "content=Old+MacDonald%20Had");
    assert_eq!((status, kind), (200, ASCII));
    let uuid = PodUuid::new(UUID).unwrap();
    let bytes = service.key.sign(&uuid, b"Old MacDonald Had");
    assert_eq!(signature, base64::encode(&bytes));
    assert_eq!(bytes.len(), 64);
    let escaped = signature
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D");
    let good = format!("uuid={UUID}&content=Old%20MacDonald+Had&signature={escaped}");
    assert_eq!(service.post("verify", &good), (200, ASCII, String::new()));
    // Whoever asks, under whatever token.
    let elsewhere = "/nobody/acMetadata/v1/pod/hmac/verify";
    assert_eq!(service.ask("POST", elsewhere, &good).0, 200);
    for form in [
        good.replace(UUID, OTHER),
        good.replace("Old", "New"),
        format!("uuid={UUID}&content=x&signature=AAAA"),
    ] {
        assert_eq!(
            service.post("verify", &form),
            (403, ASCII, String::new()),
            "{form}"
        );
    }
    assert_eq!(
        service
            .ask("POST", "/wrong/acMetadata/v1/pod/hmac/sign", "content=x")
            .0,
        401
    );
    // The other pod signs the same differently.
    let other = service.ask(
        "POST",
        "/u/acMetadata/v1/pod/hmac/sign",
        "content=Old+MacDonald+Had",
    );
    assert_ne!(other.2, signature);
    for (page, form, text) in [
        ("sign", "", "content form value not found"),
        ("sign", "content=", "content form value not found"),
        ("sign", "content=%zz", "content form value not found"),
        ("verify", "", "uuid field missing or malformed: "),
        (
            "verify",
            "uuid=x&content=y",
            "uuid field missing or malformed: ",
        ),
        ("verify", &format!("uuid={UUID}"), "content field missing"),
        (
            "verify",
            &format!("uuid={UUID}&content=x"),
            "signature field missing or corrupt: ",
        ),
        (
            "verify",
            &format!("uuid={UUID}&content=x&signature=!"),
            "signature field missing or corrupt: ",
        ),
    ] {
        let got = service.post(page, form);
        assert_eq!(got.0, 400, "{form}");
        assert!(got.2.starts_with(text), "{form}: {}", got.2);
    }
    // A form is a form by its type; the query counts as well.
    let mut plain = request("POST", "/t/acMetadata/v1/pod/hmac/sign", "content=x");
    plain.form = false;
    assert_eq!(
        routes::public(&service.pods, &service.key, &plain).status,
        400
    );
    plain.target += "?content=x";
    assert_eq!(
        routes::public(&service.pods, &service.key, &plain).status,
        200
    );
}

#[test]
fn registration() {
    let mut service = Service::new();
    let pod = pod_manifest();
    let path = format!("/pods/{UUID}");
    for (method, target, body, status, text) in [
        (
            "PUT",
            "/pods/?token=t",
            &*pod,
            400,
            "UUID is missing or malformed: ",
        ),
        (
            "PUT",
            "/pods/x?token=t",
            &pod,
            400,
            "UUID is missing or malformed: ",
        ),
        (
            "PUT",
            "/pods/x/web",
            IMAGE,
            400,
            "UUID is missing or malformed: ",
        ),
        ("PUT", &path, &pod, 400, "token missing"),
        ("PUT", &format!("{path}?token="), &pod, 400, "token missing"),
        (
            "PUT",
            &format!("{path}?token=t"),
            "{",
            400,
            "JSON-decoding failed: ",
        ),
        (
            "PUT",
            &format!("{path}?token=t"),
            IMAGE,
            400,
            "JSON-decoding failed: ",
        ),
        (
            "PUT",
            &format!("/pods/{OTHER}?token=t"),
            &pod,
            400,
            "token is in use by another pod",
        ),
        ("PUT", &format!("{path}/"), IMAGE, 400, "app missing"),
        (
            "PUT",
            &format!("{path}/web"),
            "[]",
            400,
            "JSON-decoding failed: ",
        ),
        (
            "PUT",
            &format!("/pods/{OTHER}/web"),
            IMAGE,
            404,
            "Pod with given UUID not found",
        ),
        (
            "DELETE",
            "/pods/x",
            "",
            400,
            "UUID is missing or malformed: ",
        ),
        (
            "DELETE",
            &format!("/pods/{OTHER}"),
            "",
            404,
            "pod not found\n",
        ),
        (
            "DELETE",
            &format!("{path}/web"),
            "",
            404,
            "404 page not found\n",
        ),
        ("GET", &path, "", 404, "404 page not found\n"),
        ("POST", &path, &pod, 404, "404 page not found\n"),
        ("PUT", "/", "", 404, "404 page not found\n"),
        (
            "GET",
            "/t/acMetadata/v1/pod/uuid",
            "",
            404,
            "404 page not found\n",
        ),
    ] {
        let got = service.register(method, target, body);
        assert_eq!(got.0, status, "{method} {target}: {}", got.2);
        assert!(got.2.starts_with(text), "{method} {target}: {}", got.2);
    }
    assert_eq!(service.get("/pod/uuid").0, 200);
    // Anew: another token, and none of the apps.
    assert_eq!(
        service
            .register("PUT", &format!("{path}?token=new"), &pod)
            .0,
        200
    );
    assert_eq!(service.get("/pod/uuid").0, 401);
    assert_eq!(service.ask("GET", "/new/acMetadata/v1/pod/uuid", "").0, 200);
    assert_eq!(
        service
            .ask("GET", "/new/acMetadata/v1/apps/web/annotations", "")
            .0,
        404
    );
    assert_eq!(service.register("DELETE", &path, "").0, 200);
    assert_eq!(service.register("DELETE", &path, "").0, 404);
    assert_eq!(service.ask("GET", "/new/acMetadata/v1/pod/uuid", "").0, 401);
}

#[test]
fn annotations_are_null_where_the_manifest_says_so() {
    let mut service = Service::new();
    let manifest = pod_manifest();
    let at = manifest.find("\"annotations\":[{\"name\":\"ip").unwrap();
    let end = manifest.find(",\"ports\"").unwrap();
    let without = format!(
        "{}\"annotations\":null{}",
        &manifest[..at],
        &manifest[end..]
    );
    service.register("PUT", &format!("/pods/{UUID}?token=t"), &without);
    assert_eq!(service.get("/pod/annotations").2, "null\n");
    assert!(
        service
            .get("/pod/manifest")
            .2
            .contains("\"annotations\":null")
    );
}
