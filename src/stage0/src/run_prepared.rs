//! `run-prepared`: the second half of `run`, for a pod that `prepare` made.

use crate::entrypoint::Stage1;
use crate::env::{Env, need_root};
use crate::metadata::client;
use crate::run::{RunOptions, Settings, start};
use model::fault::Result;
use model::{Context, Fault};
use pod::{Pod, State};

/// Returns only with a failure.
pub fn run_prepared(env: &Env, uuid: &str, options: &RunOptions) -> Fault {
    match try_run_prepared(env, uuid, options) {
        Ok(fault) | Err(fault) => fault,
    }
}

fn try_run_prepared(env: &Env, uuid: &str, options: &RunOptions) -> Result<Fault> {
    need_root()?;
    let pod = Pod::find(&env.dir, uuid).message(|| "problem retrieving pod".into())?;
    if pod.state() != State::Prepared {
        return Err(Fault::conflict(format!(
            "pod {:?} is not prepared",
            pod.uuid().as_str()
        )));
    }
    if options.interactive && pod.summary()?.apps.len() > 1 {
        return Err(Fault::usage(
            "interactive option only supports pods with one app",
        ));
    }
    let stage1 = Stage1::of(env, &pod)?;
    if let Stage1::Image(legacy) = &stage1 {
        legacy.check(&pod)?;
    }
    let settings = Settings::of(options, &stage1)?;
    if pod.is_overlay() && crate::overlay::unsupported(&env.dir).is_some() {
        return Err(Fault::unsupported(
            "unable to run prepared overlay-enabled pod: overlay not supported",
        ));
    }
    if options.mds_register {
        client::check_available()?;
    }
    start(env, pod, options, &settings, &stage1)
}
