//! The pods that are registered, and what is answered about each.
//!
//! Everything that a request can ask for is rendered when it is registered: an
//! answer costs no more than a look-up, however large the manifest is.

use super::reply::{ASCII, JSON, Reply};
use model::fault::Result;
use model::text::quote;
use model::{AcIdentifier, AcName, Annotation, Fault, ImageManifest, PodManifest, PodUuid, json};
use std::collections::HashMap;
use std::rc::Rc;

#[derive(Default)]
pub(super) struct Pods {
    by_uuid: HashMap<PodUuid, Pod>,
    by_token: HashMap<Vec<u8>, PodUuid>,
}

pub(super) struct Pod {
    pub uuid: PodUuid,
    token: Vec<u8>,
    manifest: PodManifest,
    document: Rc<[u8]>,
    annotations: Rc<[u8]>,
    /// By the name of registration, which need not be well-formed.
    apps: HashMap<String, App>,
}

struct App {
    document: Rc<[u8]>,
    merged: Vec<Annotation>,
    annotations: Rc<[u8]>,
}

impl Pods {
    /// A pod that registers again starts anew, with its new token only.
    pub fn add(&mut self, uuid: PodUuid, token: Vec<u8>, manifest: PodManifest) -> Result<()> {
        if self
            .by_token
            .get(&token)
            .is_some_and(|other| *other != uuid)
        {
            return Err(Fault::conflict("token is in use by another pod"));
        }
        self.remove(&uuid);
        let json = manifest.to_json();
        // As the manifest has them: a client may compare the two.
        let annotations = json.get("annotations").cloned().unwrap_or_default();
        let pod = Pod {
            uuid: uuid.clone(),
            token: token.clone(),
            document: document(&json),
            annotations: document(&annotations),
            manifest,
            apps: HashMap::new(),
        };
        self.by_token.insert(token, uuid.clone());
        self.by_uuid.insert(uuid, pod);
        Ok(())
    }

    /// False: there is no such pod.
    pub fn add_app(&mut self, uuid: &PodUuid, name: String, image: ImageManifest) -> bool {
        let Some(pod) = self.by_uuid.get_mut(uuid) else {
            return false;
        };
        let of_pod = pod.manifest.app(&name).map(|app| &app.annotations[..]);
        let merged = merge(image.annotations.clone(), of_pod.unwrap_or_default());
        let whole = document(&image.to_json());
        let mut shown = image;
        shown.annotations = merged;
        let list = shown.to_json().get("annotations").cloned();
        let app = App {
            document: whole,
            annotations: document(&list.unwrap_or_else(|| Vec::<model::Value>::new().into())),
            merged: shown.annotations,
        };
        pod.apps.insert(name, app);
        true
    }

    /// False: there is no such pod.
    pub fn remove(&mut self, uuid: &PodUuid) -> bool {
        let Some(pod) = self.by_uuid.remove(uuid) else {
            return false;
        };
        self.by_token.remove(&pod.token);
        true
    }

    pub fn by_token(&self, token: &str) -> Option<&Pod> {
        self.by_uuid.get(self.by_token.get(token.as_bytes())?)
    }
}

impl Pod {
    pub fn manifest(&self) -> Reply {
        Reply::new(200, JSON, self.document.clone())
    }

    pub fn annotations(&self) -> Reply {
        Reply::new(200, JSON, self.annotations.clone())
    }

    pub fn annotation(&self, name: &str) -> Reply {
        let what = format!("Pod annotation {}", quote(name));
        annotation(&self.manifest.annotations, name, &what)
    }

    /// `parts` is the path behind `/apps/NAME/`.
    pub fn app(&self, name: &str, parts: &[&str]) -> Reply {
        let Some(app) = self.apps.get(name) else {
            return Reply::plain(404, "app not found\n");
        };
        if parts == ["image", "manifest"] {
            return Reply::new(200, JSON, app.document.clone());
        }
        if AcName::new(name).is_err() {
            let name = quote(name);
            return Reply::plain(400, format!("App name {name} is not a valid AC Name"));
        }
        match parts {
            ["annotations"] => Reply::new(200, JSON, app.annotations.clone()),
            ["annotations", rest @ ..] => {
                let wanted = rest.join("/");
                // The two messages begin with different words.
                if AcIdentifier::new(&wanted).is_err() {
                    let wanted = quote(&wanted);
                    return not_an_identifier(&format!("App annotation name {wanted}"));
                }
                let what = format!("App annotation {}", quote(&wanted));
                annotation(&app.merged, &wanted, &what)
            }
            ["image", "id"] => match self.manifest.app(name) {
                Some(app) => Reply::new(200, ASCII, app.image.id.as_bytes()),
                None => Reply::plain(404, "app not found\n"),
            },
            _ => Reply::no_such_page(),
        }
    }
}

fn annotation(list: &[Annotation], name: &str, what: &str) -> Reply {
    if AcIdentifier::new(name).is_err() {
        return not_an_identifier(what);
    }
    match Annotation::find(list, name) {
        Some(value) => Reply::new(200, ASCII, value.as_bytes()),
        None => Reply::plain(404, format!("{what} not found")),
    }
}

fn not_an_identifier(what: &str) -> Reply {
    Reply::plain(400, format!("{what} is not a valid AC Identifier"))
}

/// The image's annotations in their order, overridden in place by the pod's;
/// what only the pod has comes behind.
fn merge(mut list: Vec<Annotation>, over: &[Annotation]) -> Vec<Annotation> {
    for new in over {
        match list.iter_mut().find(|old| old.name == new.name) {
            Some(old) => old.value.clone_from(&new.value),
            None => list.push(new.clone()),
        }
    }
    list
}

fn document(value: &model::Value) -> Rc<[u8]> {
    let mut text = json::to_compact(value);
    text.push('\n');
    text.into_bytes().into()
}
