//! `rkt enter`: a command inside a running app. Checks here, the rest in
//! stage1's own entry point, which this process becomes. The pod of an ordinary
//! user is in that user's namespace, which is joined first.

use crate::entrypoint::Stage1;
use crate::env::Env;
use crate::rootless;
use model::fault::Result;
use model::{AcName, Context, Fault};
use pod::entry::{EnterArgs, Entry};
use pod::{Pod, State};
use std::ffi::OsString;
use std::time::Duration;

#[derive(Clone, Debug, Default)]
pub struct EnterRequest {
    /// A UUID or a unique prefix of one.
    pub pod: String,
    /// `--app`.
    pub app: Option<String>,
    /// Empty: `/bin/bash`.
    pub command: Vec<OsString>,
}

/// Returns only with a failure.
pub fn enter(env: &Env, request: &EnterRequest) -> Fault {
    match try_enter(env, request) {
        Ok(fault) | Err(fault) => fault,
    }
}

fn try_enter(env: &Env, request: &EnterRequest) -> Result<Fault> {
    rootless::check(env)?;
    let mut pod = Pod::find(&env.dir, &request.pod).message(|| "problem retrieving pod".into())?;
    if pod.state() != State::Running {
        let uuid = pod.uuid().as_str();
        return Err(Fault::conflict(format!(
            "pod {uuid:?} isn't currently running"
        )));
    }
    let app = match &request.app {
        Some(name) => AcName::new(name).message(|| "invalid app name".into())?,
        None => only_app(env, &pod, "unable to determine app name", "enter")?,
    };
    let command = if request.command.is_empty() {
        env.note("", "no command specified, assuming \"/bin/bash\"");
        vec!["/bin/bash".to_string()]
    } else {
        request.command.iter().map(utf8).collect::<Result<_>>()?
    };
    let stage1 = Stage1::of(env, &pod)?;
    // A pod that is just starting has no pid yet; one that hangs there never.
    let pid = pod.wait_init_pid(Some(Duration::from_secs(30)))?;
    rootless::join(&mut pod, pid)?;
    let words = EnterArgs { pid, app, command }.to_words();
    Ok(stage1.become_it(&pod, Entry::Enter, &words, &[]))
}

fn utf8(word: &OsString) -> Result<String> {
    let text = word
        .to_str()
        .ok_or_else(|| Fault::usage(format!("{word:?} is not UTF-8")))?;
    Ok(text.to_string())
}

/// The app of a pod that has one; of several, a list of them and a failure.
pub(crate) fn only_app(env: &Env, pod: &Pod, failure: &str, verb: &str) -> Result<AcName> {
    let mut apps = pod.summary()?.apps;
    match apps.len() {
        0 => Err(Fault::not_found("pod contains zero apps").message(failure)),
        1 => Ok(apps.remove(0).name),
        _ => {
            env.note("", "pod contains multiple apps:");
            for app in &apps {
                env.note("", &format!("\t{}", app.name.as_str()));
            }
            let cause = format!("specify app using \"rkt {verb} --app= ...\"");
            Err(Fault::usage(cause).message(failure))
        }
    }
}
