//! Which request is answered how: the public side and the registration.
//!
//! Pure but for the pods that a registration adds; statuses and texts are those
//! that clients of rkt know.

use super::form;
use super::key::Key;
use super::pods::Pods;
use super::reply::{ASCII, Reply};
use super::request::Request;
use model::fault::Result;
use model::{Fault, ImageManifest, PodManifest, PodUuid, base64};

/// `/TOKEN/acMetadata/v1/…`
pub(super) fn public(pods: &Pods, key: &Key, request: &Request) -> Reply {
    let Some(parts) = form::segments(&request.target) else {
        return malformed();
    };
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let [token, "acMetadata", "v1", rest @ ..] = &parts[..] else {
        return Reply::no_such_page();
    };
    let pod = || {
        pods.by_token(token)
            .ok_or_else(|| Reply::plain(401, "pod not found\n"))
    };
    let reply = match (request.method.as_str(), rest) {
        ("GET", ["pod", "uuid"]) => {
            pod().map(|pod| Reply::new(200, ASCII, pod.uuid.as_str().as_bytes()))
        }
        ("GET", ["pod", "manifest"]) => pod().map(|pod| pod.manifest()),
        ("GET", ["pod", "annotations"]) => pod().map(|pod| pod.annotations()),
        ("GET", ["pod", "annotations", name @ ..]) => {
            pod().map(|pod| pod.annotation(&name.join("/")))
        }
        ("GET", ["apps", app, what @ ..]) if names_app_page(what) => {
            pod().map(|pod| pod.app(app, what))
        }
        ("POST", ["pod", "hmac", "sign"]) => pod().map(|pod| sign(key, &pod.uuid, request)),
        // A signature may be checked by anyone, under any token.
        ("POST", ["pod", "hmac", "verify"]) if !token.is_empty() => Ok(verify(key, request)),
        _ => Ok(Reply::no_such_page()),
    };
    reply.unwrap_or_else(|refusal| refusal)
}

fn names_app_page(what: &[&str]) -> bool {
    matches!(
        what,
        ["annotations", ..] | ["image", "manifest"] | ["image", "id"]
    )
}

fn sign(key: &Key, uuid: &PodUuid, request: &Request) -> Reply {
    let content = form::value(request, "content");
    if content.is_empty() {
        return Reply::plain(400, "content form value not found");
    }
    let signature = base64::encode(&key.sign(uuid, &content));
    Reply::new(200, ASCII, signature.into_bytes())
}

fn verify(key: &Key, request: &Request) -> Reply {
    let uuid = match uuid_of(form::value(request, "uuid")) {
        Ok(uuid) => uuid,
        Err(fault) => {
            return Reply::plain(400, format!("uuid field missing or malformed: {fault}"));
        }
    };
    let content = form::value(request, "content");
    if content.is_empty() {
        return Reply::plain(400, "content field missing");
    }
    let signature = match signature_of(form::value(request, "signature")) {
        Ok(signature) => signature,
        Err(fault) => {
            let text = format!("signature field missing or corrupt: {fault}");
            return Reply::plain(400, text);
        }
    };
    match key.verify(&uuid, &content, &signature) {
        true => Reply::new(200, ASCII, Vec::new()),
        false => Reply::new(403, ASCII, Vec::new()),
    }
}

fn uuid_of(bytes: Vec<u8>) -> Result<PodUuid> {
    PodUuid::new(&String::from_utf8_lossy(&bytes))
}

fn signature_of(bytes: Vec<u8>) -> Result<Vec<u8>> {
    match std::str::from_utf8(&bytes) {
        Ok("") => Err(Fault::invalid("no signature")),
        Ok(text) => base64::decode(text),
        Err(_) => Err(Fault::invalid("malformed base64")),
    }
}

/// `/pods/UUID…`, on the unix socket only.
pub(super) fn registration(pods: &mut Pods, request: &Request) -> Reply {
    let Some(parts) = form::segments(&request.target) else {
        return malformed();
    };
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let ["pods", uuid, rest @ ..] = &parts[..] else {
        return Reply::no_such_page();
    };
    let known = match request.method.as_str() {
        "PUT" => true,
        "DELETE" => rest.is_empty(),
        _ => false,
    };
    if !known {
        return Reply::no_such_page();
    }
    let uuid = match PodUuid::new(uuid) {
        Ok(uuid) => uuid,
        Err(fault) => {
            return Reply::plain(400, format!("UUID is missing or malformed: {fault}"));
        }
    };
    match (request.method.as_str(), rest) {
        ("DELETE", _) => match pods.remove(&uuid) {
            true => Reply::empty(200),
            false => Reply::plain(404, "pod not found\n"),
        },
        (_, []) => register_pod(pods, uuid, request),
        (_, app) => register_app(pods, &uuid, app.join("/"), request),
    }
}

fn register_pod(pods: &mut Pods, uuid: PodUuid, request: &Request) -> Reply {
    let token = form::query(&request.target, "token");
    if token.is_empty() {
        return Reply::plain(400, "token missing");
    }
    match PodManifest::parse(&request.body) {
        Ok(manifest) => match pods.add(uuid, token, manifest) {
            Ok(()) => Reply::empty(200),
            Err(fault) => Reply::plain(400, fault.to_string()),
        },
        Err(fault) => bad_json(&fault),
    }
}

fn register_app(pods: &mut Pods, uuid: &PodUuid, app: String, request: &Request) -> Reply {
    if app.is_empty() {
        return Reply::plain(400, "app missing");
    }
    match ImageManifest::parse(&request.body) {
        Ok(image) => match pods.add_app(uuid, app, image) {
            true => Reply::empty(200),
            false => Reply::plain(404, "Pod with given UUID not found"),
        },
        Err(fault) => bad_json(&fault),
    }
}

fn bad_json(fault: &Fault) -> Reply {
    Reply::plain(400, format!("JSON-decoding failed: {fault}"))
}

fn malformed() -> Reply {
    Reply::plain(400, "400 Bad Request: malformed path\n")
}
