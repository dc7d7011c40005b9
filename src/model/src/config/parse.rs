//! One configuration file, from its bytes.

use super::{BasicCredentials, ConfigDir, Credentials, Document, MAX_FILE, Secret};
use crate::fault::{Context, Fault, Result};
use crate::json::{self, Cursor, Fields};
use crate::text::quote;

const VERSION: &str = "v1";
const SCHEMES: [&str; 4] = ["docker", "file", "http", "https"];

/// Parses the file at `path`, which was found in a directory of this sort.
pub fn parse_file(dir: ConfigDir, path: &str, bytes: &[u8]) -> Result<Document> {
    parse(dir, path, bytes).link(|| format!("failed to parse {}", quote(path)))
}

fn parse(dir: ConfigDir, path: &str, bytes: &[u8]) -> Result<Document> {
    if bytes.len() > MAX_FILE {
        return Err(Fault::invalid(format!(
            "configuration file is larger than {MAX_FILE} bytes"
        )));
    }
    let value = json::parse(bytes)?;
    let mut fields = Cursor::new(&value).fields()?;
    let kind = fields.text("rktKind")?;
    let version = fields.text("rktVersion")?;
    if kind.is_empty() {
        return Err(Fault::invalid(format!(
            "no rktKind specified in {}",
            quote(path)
        )));
    }
    if version.is_empty() {
        return Err(Fault::invalid(format!(
            "no rktVersion specified in {}",
            quote(path)
        )));
    }
    if !dir.kinds().contains(&kind.as_str()) {
        let (parent, base) = path.rsplit_once('/').unwrap_or((".", path));
        return Err(Fault::invalid(format!(
            "the configuration directory {} expects to have configuration files of kinds {}, but {} has kind of {}",
            quote(parent),
            joined(dir.kinds()),
            quote(base),
            quote(&kind)
        )));
    }
    if version != VERSION {
        return Err(Fault::invalid(format!(
            "no parser available for configuration of kind {} and version {}",
            quote(&kind),
            quote(&version)
        )));
    }
    match kind.as_str() {
        "auth" => auth(&mut fields),
        "dockerAuth" => docker_auth(&mut fields),
        "paths" => paths(&mut fields),
        _ => stage1(&mut fields).map_err(|fault| Fault {
            cause: format!("invalid stage1 configuration: {}", fault.cause),
            ..fault
        }),
    }
}

/// rkt joins the words with quotes and then quotes the whole once more.
fn joined(words: &[&str]) -> String {
    quote(&words.join("\", \""))
}

fn auth(fields: &mut Fields<'_>) -> Result<Document> {
    let domains = names(fields, "domains")?;
    if domains.is_empty() {
        return Err(Fault::invalid("no domains specified"));
    }
    let kind = fields.text("type")?;
    if kind.is_empty() {
        return Err(Fault::invalid("no auth type specified"));
    }
    let given = fields.take("credentials");
    let mut given = given.map(|given| given.fields()).transpose()?;
    let credentials = match kind.as_str() {
        "basic" => Credentials::Basic(basic(given.as_mut())?),
        "oauth" => Credentials::OAuth {
            token: Secret::new(required(
                given.as_mut(),
                "token",
                "no oauth bearer token specified",
            )?),
        },
        "aws" => Credentials::Aws {
            access_key_id: required(
                given.as_mut(),
                "accessKeyID",
                "no AWS Access Key ID specified",
            )?,
            secret_access_key: Secret::new(required(
                given.as_mut(),
                "secretAccessKey",
                "no AWS Secret Access Key specified",
            )?),
            region: given
                .as_mut()
                .map_or(Ok(String::new()), |given| header_text(given, "awsRegion"))?,
        },
        kind => {
            return Err(Fault::invalid(format!(
                "unknown auth type: {}",
                quote(kind)
            )));
        }
    };
    Ok(Document::Auth {
        domains,
        credentials,
    })
}

fn docker_auth(fields: &mut Fields<'_>) -> Result<Document> {
    let registries = names(fields, "registries")?;
    if registries.is_empty() {
        return Err(Fault::invalid("no registries specified"));
    }
    let given = fields.take("credentials");
    let mut given = given.map(|given| given.fields()).transpose()?;
    Ok(Document::DockerAuth {
        registries,
        credentials: basic(given.as_mut())?,
    })
}

fn basic(mut given: Option<&mut Fields<'_>>) -> Result<BasicCredentials> {
    let user = required(given.as_deref_mut(), "user", "user not specified")?;
    let password = required(given, "password", "password not specified")?;
    Ok(BasicCredentials {
        user,
        password: Secret::new(password),
    })
}

fn required(given: Option<&mut Fields<'_>>, key: &'static str, missing: &str) -> Result<String> {
    match given.map_or(Ok(String::new()), |given| header_text(given, key))? {
        text if text.is_empty() => Err(Fault::invalid(missing)),
        text => Ok(text),
    }
}

/// A text that goes into a request header: a line break would add headers.
fn header_text(fields: &mut Fields<'_>, key: &'static str) -> Result<String> {
    let text = fields.text(key)?;
    if text.chars().any(char::is_control) {
        return Err(fields.fault(format!("{key} contains a control character")));
    }
    Ok(text)
}

fn names(fields: &mut Fields<'_>, key: &'static str) -> Result<Vec<String>> {
    fields.list_of(key, |item| item.string())
}

fn paths(fields: &mut Fields<'_>) -> Result<Document> {
    Ok(Document::Paths {
        data: absolute(fields, "data", "data")?,
        stage1_images: absolute(fields, "stage1-images", "stage1 images")?,
    })
}

fn absolute(fields: &mut Fields<'_>, key: &'static str, what: &str) -> Result<Option<String>> {
    let Some(field) = fields.take(key) else {
        return Ok(None);
    };
    match field.c_string()? {
        path if path.is_empty() => Ok(None),
        path if path.starts_with('/') => Ok(Some(path)),
        _ => Err(Fault::invalid(format!(
            "{what} directory must be an absolute path"
        ))),
    }
}

fn stage1(fields: &mut Fields<'_>) -> Result<Document> {
    let bad = |what: &str| Err(Fault::invalid(format!("default stage1 image {what}")));
    let (name, version) = (fields.text("name")?, fields.text("version")?);
    let name_version = match (name.is_empty(), version.is_empty()) {
        (true, true) => None,
        (false, false) => Some((name, version)),
        (true, false) => return bad("version specified, but name is missing"),
        (false, true) => return bad("name specified, but version is missing"),
    };
    let location = fields.text("location")?;
    if location.contains('\0') {
        return bad("location contains a NUL character");
    }
    let scheme = location
        .split_once(':')
        .map(|(scheme, _)| scheme)
        .filter(|scheme| {
            scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
        });
    match scheme {
        _ if location.is_empty() || location.starts_with('/') => {}
        None => return bad("location is either a relative path or a URL without scheme"),
        Some(scheme) if SCHEMES.contains(&scheme.to_ascii_lowercase().as_str()) => {}
        Some(scheme) => {
            return bad(&format!(
                "location URL has invalid scheme {}, allowed schemes are {}",
                quote(scheme),
                joined(&SCHEMES)
            ));
        }
    }
    Ok(Document::Stage1 {
        name_version,
        location: Some(location).filter(|text| !text.is_empty()),
    })
}
