//! The checks of the metadata service, as an app can make them.
//!
//! Each request has 100 ms in all; status and `Content-Type` are compared to the letter. The client is as small as the
//! server lets it be: one request per connection, a length, no chunks.

use super::{Check, same};
use serde_json::{Map, Value};
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_millis(100);
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=us-ascii";
const CONTENT: &str = "Old MacDonald Had A Farm";

/// All checks in their order.
pub fn failures() -> Vec<String> {
    let base = std::env::var("AC_METADATA_URL").unwrap_or_default();
    if base.is_empty() {
        return vec!["AC_METADATA_URL is not set".to_owned()];
    }
    let service = Service { base };
    let manifest = match service.pod_manifest() {
        Ok(manifest) => manifest,
        Err(failure) => return vec![failure],
    };
    let mut checks = vec![
        service.uuid().map(drop),
        service.pod_annotations(&manifest),
        service.signature(),
    ];
    for app in list(&manifest["apps"]) {
        checks.push(service.app(app));
    }
    checks.into_iter().filter_map(Check::err).collect()
}

struct Service {
    base: String,
}

impl Service {
    fn pod_manifest(&self) -> Result<Value, String> {
        let manifest = self.json("/pod/manifest")?;
        let apps = manifest["apps"].as_array().is_some_and(|apps| {
            apps.iter()
                .all(|app| app["name"].is_string() && app["image"]["id"].is_string())
        });
        match manifest["acKind"] == "PodManifest" && manifest["acVersion"].is_string() && apps {
            true => Ok(manifest),
            false => Err(format!("no pod manifest: {manifest}")),
        }
    }

    fn uuid(&self) -> Result<String, String> {
        let uuid = self.get("/pod/uuid", TEXT)?;
        let digits = uuid.replace('-', "");
        match digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            true => Ok(uuid),
            false => Err(format!("no UUID: {uuid:?}")),
        }
    }

    /// `null` and `[]` are not the same here.
    fn pod_annotations(&self, manifest: &Value) -> Check {
        let found = self.json("/pod/annotations")?;
        same(
            "the list of pod annotations",
            &found,
            &manifest["annotations"],
        )
    }

    fn app(&self, app: &Value) -> Check {
        let name = app["name"].as_str().unwrap_or_default();
        let image = self.json(&format!("/apps/{name}/image/manifest"))?;
        if image["acKind"] != "ImageManifest" || !image["name"].is_string() {
            return Err(format!("no image manifest: {image}"));
        }
        let id = self.get(&format!("/apps/{name}/image/id"), TEXT)?;
        same("the image's ID", &id.into(), &app["image"]["id"])?;
        let mut expected = list(&image["annotations"]).to_vec();
        for over in list(&app["annotations"]) {
            match expected.iter_mut().find(|one| one["name"] == over["name"]) {
                Some(one) => one["value"] = over["value"].clone(),
                None => expected.push(over.clone()),
            }
        }
        let found = self.json(&format!("/apps/{name}/annotations"))?;
        same(
            &format!("the list of annotations of {name}"),
            &list(&found).to_vec(),
            &expected,
        )
    }

    fn signature(&self) -> Check {
        let uuid = self.uuid()?;
        let sign = form(&[("content", CONTENT)]);
        let signature = self.ask("POST", "/pod/hmac/sign", &sign, TEXT)?;
        let verify = form(&[
            ("content", CONTENT),
            ("uuid", &uuid),
            ("signature", &signature),
        ]);
        self.ask("POST", "/pod/hmac/verify", &verify, TEXT)
            .map(drop)
    }

    fn json(&self, page: &str) -> Result<Value, String> {
        let text = self.get(page, JSON)?;
        serde_json::from_str(&text).map_err(|e| format!("{page}: {e}: {text:?}"))
    }

    fn get(&self, page: &str, kind: &str) -> Result<String, String> {
        self.ask("GET", page, "", kind)
    }

    fn ask(&self, method: &str, page: &str, body: &str, kind: &str) -> Result<String, String> {
        let url = format!("{}/acMetadata/v1{page}", self.base);
        let at = |what: String| format!("{method} {page}: {what}");
        let answer = exchange(method, &url, body).map_err(at)?;
        let (head, text) = answer
            .split_once("\r\n\r\n")
            .ok_or_else(|| at(format!("no answer: {answer:?}")))?;
        let mut lines = head.lines();
        let status = lines.next().and_then(|l| l.split(' ').nth(1));
        if status != Some("200") {
            return Err(at(format!("{head:?}: {text:?}")));
        }
        let fields: Map<String, Value> = lines
            .filter_map(|l| l.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.into()))
            .collect();
        same(
            "Content-Type",
            &fields.get("content-type"),
            &Some(&kind.into()),
        )
        .map_err(at)?;
        let length = fields.get("content-length").and_then(Value::as_str);
        same("Content-Length", &length, &Some(&*text.len().to_string())).map_err(at)?;
        Ok(text.to_owned())
    }
}

/// One request and all that comes back, within the time.
fn exchange(method: &str, url: &str, body: &str) -> Result<String, String> {
    let end = Instant::now() + PATIENCE;
    let late = || format!("timed out after {PATIENCE:?}");
    let said = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => late(),
        _ => e.to_string(),
    };
    let left = || {
        let left = end.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left).ok_or_else(late)
    };
    let (host, path) = url
        .strip_prefix("http://")
        .and_then(|rest| rest.split_at_checked(rest.find('/')?))
        .ok_or_else(|| format!("no URL: {url:?}"))?;
    let mut addresses = host.to_socket_addrs().map_err(said)?;
    let address = addresses
        .next()
        .ok_or_else(|| format!("no address: {host:?}"))?;
    let mut stream = TcpStream::connect_timeout(&address, left()?).map_err(said)?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nMetadata-Flavor: AppContainer\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).map_err(said)?;
    let mut answer = Vec::new();
    loop {
        let mut bytes = [0; 4096];
        stream.set_read_timeout(Some(left()?)).map_err(said)?;
        match stream.read(&mut bytes).map_err(said)? {
            0 => break,
            n => answer.extend_from_slice(&bytes[..n]),
        }
    }
    String::from_utf8(answer).map_err(|e| e.to_string())
}

fn form(pairs: &[(&str, &str)]) -> String {
    let pairs = pairs.iter().map(|(name, value)| {
        let escaped: String = value
            .bytes()
            .map(|b| match b {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => char::from(b).to_string(),
                b' ' => "+".to_owned(),
                b => format!("%{b:02X}"),
            })
            .collect();
        format!("{name}={escaped}")
    });
    pairs.collect::<Vec<_>>().join("&")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
