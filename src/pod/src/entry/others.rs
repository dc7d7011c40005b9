//! The words of all entry points but `run`.

use model::{AcName, Fault, PodUuid, fault::Result};

use super::Interface;
use super::words::Words;

/// Words of `enter`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnterArgs {
    /// Container pid 1, in our pid namespace.
    pub pid: i32,
    pub app: AcName,
    /// Command and its arguments.
    pub command: Vec<String>,
}

impl EnterArgs {
    pub fn to_words(&self) -> Vec<String> {
        let mut words = vec![
            format!("--pid={}", self.pid),
            format!("--appname={}", self.app.as_str()),
            "--".to_string(),
        ];
        words.extend(self.command.iter().cloned());
        words
    }

    pub fn parse<S: AsRef<str>>(words: &[S]) -> Result<EnterArgs> {
        let mut words = Words::new(words);
        let (mut pid, mut app) = (None, None);
        while let Some(flag) = words.flag()? {
            match flag.name {
                "pid" => {
                    let value: Option<i32> = flag.value()?.parse().ok();
                    pid = Some(
                        value
                            .filter(|pid| *pid > 0)
                            .ok_or_else(|| flag.bad("expected a pid"))?,
                    );
                }
                "appname" => app = Some(AcName::new(flag.value()?)?),
                _ => return Err(flag.unknown()),
            }
        }
        let command: Vec<String> = words.rest();
        if command.is_empty() {
            return Err(Fault::usage("no command to enter with"));
        }
        let missing = |name: &str| Fault::usage(format!("--{name} is missing"));
        Ok(EnterArgs {
            pid: pid.ok_or_else(|| missing("pid"))?,
            app: app.ok_or_else(|| missing("appname"))?,
            command,
        })
    }
}

/// Words of `gc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcArgs {
    pub debug: bool,
    pub local_config: Option<String>,
    pub uuid: PodUuid,
}

impl GcArgs {
    /// The configuration directory goes as two words, from version 5 on.
    pub fn to_words(&self, to: Interface) -> Vec<String> {
        let mut words = Vec::new();
        if self.debug {
            words.push("--debug".to_string());
        }
        if let Some(dir) = self.local_config.as_ref().filter(|_| to.version >= 5) {
            words.extend(["--local-config".to_string(), dir.clone()]);
        }
        words.push(self.uuid.as_str().to_string());
        words
    }

    pub fn parse<S: AsRef<str>>(words: &[S]) -> Result<GcArgs> {
        let mut words = Words::new(words);
        let (mut debug, mut local_config) = (false, None);
        while let Some(flag) = words.flag()? {
            match flag.name {
                "debug" => debug = flag.bool()?,
                "local-config" => local_config = flag.text()?,
                _ => return Err(flag.unknown()),
            }
        }
        Ok(GcArgs {
            debug,
            local_config,
            uuid: words.uuid()?,
        })
    }
}

/// Words of `stop`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopArgs {
    pub force: bool,
    pub uuid: PodUuid,
}

impl StopArgs {
    pub fn to_words(&self) -> Vec<String> {
        let force = self.force.then(|| "--force".to_string());
        force
            .into_iter()
            .chain([self.uuid.as_str().to_string()])
            .collect()
    }

    pub fn parse<S: AsRef<str>>(words: &[S]) -> Result<StopArgs> {
        let mut words = Words::new(words);
        let mut force = false;
        while let Some(flag) = words.flag()? {
            match flag.name {
                "force" => force = flag.bool()?,
                _ => return Err(flag.unknown()),
            }
        }
        Ok(StopArgs {
            force,
            uuid: words.uuid()?,
        })
    }
}

/// Words of the `app-…` entry points; only `app-add` gets the UUID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppArgs {
    pub debug: bool,
    pub uuid: Option<PodUuid>,
    pub app: AcName,
}

impl AppArgs {
    pub fn to_words(&self) -> Vec<String> {
        let mut words = vec![format!("--debug={}", self.debug)];
        words.extend(
            self.uuid
                .as_ref()
                .map(|uuid| format!("--uuid={}", uuid.as_str())),
        );
        words.push(format!("--app={}", self.app.as_str()));
        words
    }

    pub fn parse<S: AsRef<str>>(words: &[S]) -> Result<AppArgs> {
        let mut words = Words::new(words);
        let (mut debug, mut uuid, mut app) = (false, None, None);
        while let Some(flag) = words.flag()? {
            match flag.name {
                "debug" => debug = flag.bool()?,
                "uuid" => uuid = Some(PodUuid::new(flag.value()?)?),
                "app" => app = Some(AcName::new(flag.value()?)?),
                _ => return Err(flag.unknown()),
            }
        }
        words.end()?;
        let app = app.ok_or_else(|| Fault::usage("--app is missing"))?;
        Ok(AppArgs { debug, uuid, app })
    }
}
