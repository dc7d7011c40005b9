//! `config.json` of docker and `auth.json` of the containers' tools, which share
//! a form: logins by registry, and programs that know more.

use super::key::Key;
use super::{Login, Places, most_specific, program};
use model::base64;
use model::config::{BasicCredentials, Secret};
use model::fault::{Context, Fault, Result};
use model::json::{self, Cursor};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Docker's file holds other settings too, but none is near this size.
const MAX_FILE: u64 = 1 << 20;

#[derive(Debug, Default)]
pub(super) struct AuthFile {
    /// Its path, or the variable that holds it.
    name: String,
    logins: Vec<(Key, Login)>,
    /// Programs by registry.
    helpers: Vec<(Key, String)>,
    /// The program for all others.
    helper: Option<String>,
}

/// All that exist, the strongest first.
pub(super) fn read_all(places: &Places) -> Result<Vec<AuthFile>> {
    let mut files = Vec::new();
    for path in &places.containers {
        files.extend(read(path)?);
    }
    if let Some(text) = &places.docker_text {
        files.push(AuthFile::parse(
            "DOCKER_AUTH_CONFIG",
            text.expose().as_bytes(),
        )?);
    }
    if let Some(path) = &places.docker {
        files.extend(read(path)?);
    }
    Ok(files)
}

/// What is missing, or not ours to read, holds no login of ours.
fn read(path: &Path) -> Result<Option<AuthFile>> {
    let failed = |err| Fault::io("read", path.display(), err);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(err) => match err.kind() {
            io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::NotADirectory => return Ok(None),
            _ => return Err(failed(err)),
        },
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Fault::invalid(format!(
            "{} is larger than {MAX_FILE} bytes",
            path.display()
        )));
    }
    // An empty file is what some tools leave behind.
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    AuthFile::parse(&path.display().to_string(), &bytes).map(Some)
}

impl AuthFile {
    pub(super) fn parse(name: &str, bytes: &[u8]) -> Result<AuthFile> {
        let mut file = AuthFile::read(bytes)
            .link(|| format!("read {name}"))
            .map_err(|fault| {
                let cause = format!("{name}: {}", fault.cause);
                Fault { cause, ..fault }.hint("it holds logins to registries, as JSON")
            })?;
        file.name = name.to_string();
        Ok(file)
    }

    fn read(bytes: &[u8]) -> Result<AuthFile> {
        let value = json::parse(bytes)?;
        let mut fields = Cursor::new(&value).fields()?;
        let mut file = AuthFile::default();
        if let Some(auths) = fields.take("auths") {
            let entries = auths.value().as_object();
            let entries = entries.ok_or_else(|| auths.expected("an object"))?;
            for (key, entry) in entries {
                let place = Cursor::named(entry, format!("auths[{key:?}]"));
                if let Some(login) = login(&place)? {
                    file.logins.push((Key::parse(key), login));
                }
            }
        }
        for (key, suffix) in fields.string_map("credHelpers")? {
            file.helpers.push((Key::parse(&key), suffix));
        }
        file.helper = Some(fields.text("credsStore")?).filter(|suffix| !suffix.is_empty());
        Ok(file)
    }

    /// A program for this registry, then what stands in the file, then the
    /// program for all.
    pub(super) fn login(&self, wanted: &Key, path: Option<&OsStr>) -> Result<Option<Login>> {
        let ask = |suffix: &String| {
            program::get(suffix, wanted.server(), path, program::TIME_OUT)
                .map_err(|fault| fault.hint(format!("the program is named in {}", self.name)))
        };
        if let Some(suffix) = most_specific(&self.helpers, wanted)
            && let Some(login) = ask(suffix)?
        {
            return Ok(Some(login));
        }
        if let Some(login) = most_specific(&self.logins, wanted) {
            return Ok(Some(login.clone()));
        }
        match &self.helper {
            Some(suffix) => ask(suffix),
            None => Ok(None),
        }
    }
}

/// One entry; an empty one means that a program has the login.
fn login(entry: &Cursor<'_>) -> Result<Option<Login>> {
    let mut fields = entry.fields()?;
    let registry_token = fields.text("registrytoken")?;
    let identity_token = fields.text("identitytoken")?;
    let (mut user, mut password) = (fields.text("username")?, fields.text("password")?);
    let auth = fields.text("auth")?;
    if !auth.is_empty() {
        // No error repeats the text: it is the secret.
        let bad = || entry.fault("auth is not the base64 of user:password");
        let pair = base64::decode(auth.trim()).map_err(|_| bad())?;
        let pair = String::from_utf8(pair).map_err(|_| bad())?;
        let pair = pair.trim_end_matches('\0');
        let (name, secret) = pair.split_once(':').ok_or_else(bad)?;
        (user, password) = (name.to_string(), secret.to_string());
    }
    for text in [&registry_token, &identity_token, &user, &password] {
        if text.chars().any(char::is_control) {
            return Err(entry.fault("a login contains a control character"));
        }
    }
    Ok(if !registry_token.is_empty() {
        Some(Login::Token(Secret::new(registry_token)))
    } else if !identity_token.is_empty() {
        Some(Login::Identity(Secret::new(identity_token)))
    } else if user.is_empty() && password.is_empty() {
        None
    } else {
        Some(Login::Basic(BasicCredentials {
            user,
            password: Secret::new(password),
        }))
    })
}
