//! `fetch`, and how every other verb comes by its images: the fetch crate, given
//! what the environment holds.

use crate::env::Env;
use ::fetch::Fetcher;
use model::fault::Result;
use model::{Context, Fault, ImageId};
use store::Store;

pub use ::fetch::PullPolicy;
pub(crate) use ::fetch::host_arch;

/// One image of `rkt fetch`.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub image: String,
    /// `--signature`.
    pub signature: Option<String>,
}

/// `rkt fetch`: `found` hears of each image in argument order, as soon as it
/// and its dependencies are in the store.
pub fn fetch(
    env: &Env,
    images: &[Wanted],
    policy: PullPolicy,
    found: &mut dyn FnMut(&ImageId),
) -> Result<()> {
    if images.is_empty() {
        return Err(Fault::usage("must provide at least one image"));
    }
    let store = open_store(env)?;
    store.check_writable()?;
    let remarks = Remarks(env);
    let fetcher = fetcher(env, &store, policy, &remarks);
    for wanted in images {
        let id = fetcher.fetch(&wanted.image, wanted.signature.as_deref())?;
        if rustix::process::geteuid().is_root() && crate::overlay::unsupported(&env.dir).is_none() {
            // What a start would have to do otherwise.
            store
                .render(&id)
                .message(|| "error rendering tree store".into())?;
        }
        found(&id);
    }
    Ok(())
}

pub(crate) fn open_store(env: &Env) -> Result<Store> {
    Store::open(&env.dir).message(|| "cannot open store".into())
}

/// The remarks of a fetch are those of the subsystem `image`.
pub(crate) struct Remarks<'e>(pub &'e Env);

impl ::fetch::Notes for Remarks<'_> {
    fn note(&self, text: &str) {
        self.0.note("image", text);
    }
    fn debug(&self, text: &str) {
        self.0.debug_note("image", text);
    }
}

pub(crate) fn fetcher<'a>(
    env: &'a Env,
    store: &'a Store,
    policy: PullPolicy,
    remarks: &'a Remarks<'a>,
) -> Fetcher<'a> {
    Fetcher {
        store,
        policy,
        insecure: env.insecure,
        trust_keys_from_https: env.trust_keys_from_https,
        config: &env.config,
        system_config: &env.system_config,
        local_config: &env.local_config,
        user_config: env.user_config.as_deref(),
        review: remarks,
        notes: remarks,
        progress: env.progress.as_ref(),
    }
}
