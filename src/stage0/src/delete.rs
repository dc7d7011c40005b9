//! Removing a marked pod and everything that it left on the host. `rm` and `gc`
//! come here with the pod's lock held.
//!
//! The order lets a kill at any point be followed by another attempt: first
//! what lives outside of the pod directory, by the records inside; then the
//! directory, the manifest last. Nothing on this way needs free disk space.

use crate::entrypoint::{Stage1, Streams};
use crate::env::Env;
use crate::fetch::open_store;
use crate::metadata::client;
use crate::{leftovers, old_pod, torn};
use model::Fault;
use model::fault::Result;
use pod::entry::{Entry, GcArgs, NETWORK_STAYS};
use pod::{Place, Pod, layout};

pub(crate) fn delete(env: &Env, pod: Pod) -> Result<()> {
    let uuid = pod.uuid().as_str().to_string();
    let torn = match pod.state().place() {
        Place::ExitedGarbage => torn::mend(env, &pod).and_then(|()| tear_down(env, &pod)),
        _ => Ok(()),
    };
    if let Err(fault) = torn {
        if fault.exit == NETWORK_STAYS as u8 {
            return Err(fault.exit(254));
        }
        // What it left is a leak; the directory may go all the same.
        env.note(
            "",
            &format!("problem performing stage1 GC on {uuid:?}: {fault}"),
        );
    }
    if let Err(fault) = client::unregister(&pod) {
        // Forgotten at the latest when the service ends.
        env.note(
            "",
            &format!("cannot unregister pod {uuid:?} from the metadata service: {fault}"),
        );
    }
    leftovers::unmount(env, &pod.path())
        .map_err(|fault| fault.message(format!("GC of leftover mounts for pod {uuid:?} failed")))?;
    // Layers go before the directory that says who held them: a hold without a
    // pod would wait for the next image gc.
    let store = open_store(env)?;
    if let Err(fault) = store.release(pod.uuid()) {
        env.note(
            "",
            &format!("cannot release the layers of pod {uuid:?}: {fault}"),
        );
    }
    pod.delete()
}

/// Cgroups and networks, by stage1's gc. Of a pod that rkt 1.30 made this does
/// the same without 1.30's programs, which may be gone with their tree.
fn tear_down(env: &Env, pod: &Pod) -> Result<()> {
    let stage1 = Stage1::of(env, pod)?;
    if let Stage1::Image(legacy) = &stage1
        && legacy.old
    {
        return old_pod::tear_down(env, pod);
    }
    // Nothing was started yet, or it was cleaned up at exit already.
    let ours = matches!(stage1, Stage1::BuiltIn(_));
    if ours && pod.read_file(layout::PID)?.is_none() && pod.read_file(layout::CGROUPS)?.is_none() {
        return Ok(());
    }
    let args = GcArgs {
        debug: env.debug,
        local_config: Some(env.local_config.display().to_string()),
        uuid: pod.uuid().clone(),
    };
    let words = args.to_words(stage1.interface());
    let status = stage1.run(env, pod, Entry::Gc, &words, Streams::Errors)?;
    if status.success() {
        return Ok(());
    }
    // The directory is all that says what is to be undone.
    if ours && status.code() == Some(NETWORK_STAYS) {
        let copies = pod.path().join(layout::NET);
        return Err(Fault::conflict(format!(
            "a network of pod {:?} could not be left",
            pod.uuid().as_str()
        ))
        .hint(format!(
            "put right what is named above and run rkt gc; removing a file of {} gives that network up",
            copies.display()
        ))
        .exit(NETWORK_STAYS as u8));
    }
    Err(Fault::conflict(format!("stage1 gc: {status}")))
}
