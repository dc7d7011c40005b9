//! Several configuration files as one, and the JSON of `rkt config`.

use super::{BasicCredentials, Config, Credentials, Document};
use crate::fault::{Fault, Result};
use crate::text::quote;
use serde_json::{Value, json};

impl Config {
    /// Adds one more file of the same configuration root; an item that is
    /// there already is an error.
    pub fn add(&mut self, document: Document) -> Result<()> {
        match document {
            Document::Auth {
                domains,
                credentials,
            } => {
                for domain in domains {
                    if self.auth.iter().any(|(old, _)| *old == domain) {
                        return twice(format!(
                            "auth for domain {} is already specified",
                            quote(&domain)
                        ));
                    }
                    self.auth.push((domain, credentials.clone()));
                }
            }
            Document::DockerAuth {
                registries,
                credentials,
            } => {
                for registry in registries {
                    if self.docker_auth.iter().any(|(old, _)| *old == registry) {
                        return twice(format!(
                            "credentials for docker registry {} are already specified",
                            quote(&registry)
                        ));
                    }
                    self.docker_auth.push((registry, credentials.clone()));
                }
            }
            Document::Paths {
                data,
                stage1_images,
            } => {
                set_once(&mut self.data, data, "data directory is already specified")?;
                set_once(
                    &mut self.stage1_images,
                    stage1_images,
                    "stage1 images directory is already specified",
                )?;
            }
            Document::Stage1 {
                name_version,
                location,
            } => {
                set_once(
                    &mut self.stage1_name_version,
                    name_version,
                    "name and version of a default stage1 image are already specified",
                )?;
                set_once(
                    &mut self.stage1_location,
                    location,
                    "location of a default stage1 image is already specified",
                )?;
            }
        }
        Ok(())
    }

    /// Lays a stronger configuration root over this one.
    pub fn override_with(&mut self, stronger: Config) {
        replace_entries(&mut self.auth, stronger.auth);
        replace_entries(&mut self.docker_auth, stronger.docker_auth);
        replace(&mut self.data, stronger.data);
        replace(&mut self.stage1_images, stronger.stage1_images);
        replace(&mut self.stage1_name_version, stronger.stage1_name_version);
        replace(&mut self.stage1_location, stronger.stage1_location);
    }

    /// What `rkt config` prints: one document per domain and per registry, then
    /// the paths and the stage1. Secrets included, as rkt does.
    pub fn to_json(&self) -> Value {
        let mut documents: Vec<Value> = Vec::new();
        for (domain, credentials) in &self.auth {
            let (kind, credentials) = credentials_to_json(credentials);
            documents.push(json!({
                "rktVersion": "v1", "rktKind": "auth", "domains": [domain], "type": kind,
                "credentials": credentials,
            }));
        }
        for (registry, credentials) in &self.docker_auth {
            documents.push(json!({
                "rktVersion": "v1", "rktKind": "dockerAuth", "registries": [registry],
                "credentials": basic_to_json(credentials),
            }));
        }
        let text = |option: &Option<String>| option.clone().unwrap_or_default();
        documents.push(json!({
            "rktVersion": "v1", "rktKind": "paths", "data": text(&self.data),
            "stage1-images": text(&self.stage1_images),
        }));
        let (name, version) = self.stage1_name_version.clone().unwrap_or_default();
        documents.push(json!({
            "rktVersion": "v1", "rktKind": "stage1", "name": name, "version": version,
            "location": text(&self.stage1_location),
        }));
        json!({ "stage0": documents })
    }
}

fn credentials_to_json(credentials: &Credentials) -> (&'static str, Value) {
    match credentials {
        Credentials::Basic(basic) => ("basic", basic_to_json(basic)),
        Credentials::OAuth { token } => ("oauth", json!({"token": token.expose()})),
        Credentials::Aws {
            access_key_id,
            secret_access_key,
            region,
        } => (
            "aws",
            json!({
                "accessKeyID": access_key_id, "secretAccessKey": secret_access_key.expose(),
                "awsRegion": region,
            }),
        ),
    }
}

fn basic_to_json(credentials: &BasicCredentials) -> Value {
    json!({"user": credentials.user, "password": credentials.password.expose()})
}

fn set_once<T>(place: &mut Option<T>, value: Option<T>, message: &str) -> Result<()> {
    if value.is_some() && place.is_some() {
        return twice(message.to_string());
    }
    replace(place, value);
    Ok(())
}

fn replace<T>(place: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *place = value;
    }
}

fn replace_entries<T>(entries: &mut Vec<(String, T)>, stronger: Vec<(String, T)>) {
    for (key, value) in stronger {
        match entries.iter_mut().find(|(old, _)| *old == key) {
            Some((_, old)) => *old = value,
            None => entries.push((key, value)),
        }
    }
}

fn twice(message: String) -> Result<()> {
    Err(Fault::invalid(message))
}
