//! `rkt trust`: keys into the keystore.

use super::Report;
use crate::command::{Call, Command, Outcome, Stop};
use crate::flags::Flag;
use model::Fault;
use stage0::trust::Request;
use std::path::Path;

const COSIGN: Flag = Flag::text(
    "cosign",
    "",
    "file with a public key of cosign, for images of the registry or repository in --prefix",
);
const HTTP: Flag = Flag::bool(
    "insecure-allow-http",
    false,
    "look for keys over plain http too, and load them so",
);
const PREFIX: Flag = Flag::text(
    "prefix",
    "",
    "trust the keys for this name and all below it",
);
const ROOT: Flag = Flag::bool("root", false, "trust the keys in the files for every image");
const SKIP: Flag = Flag::bool(
    "skip-fingerprint-review",
    false,
    "do not ask whether the fingerprints are right",
);

pub static COMMAND: Command = Command {
    name: "trust",
    short: "let a key vouch for images",
    usage: "rkt trust [--prefix=PREFIX] [--insecure-allow-http] [--skip-fingerprint-review] \
            [--root] [--cosign=KEY] [PUBKEY ...]",
    long: "Images by name must be signed by a key that is trusted for a prefix of their name.\n\
           \n\
           PUBKEY is a file or a URL of OpenPGP keys. Without one, the site of PREFIX is asked\n\
           where its keys are. You are shown the fingerprints and asked, unless a flag answers.\n\
           \n\
           With --cosign, images of a registry or repository need a signature by that key:\n\
           rkt trust --cosign=cosign.pub --prefix=quay.io/example\n\
           \n\
           Keys are kept below /etc/rkt/trustedkeys, a file each, named by the fingerprint. To\n\
           trust a key no more, remove its file; to overrule one below /usr/lib/rkt, put an empty\n\
           file of the same name at the same place below /etc/rkt.",
    flags: &[&[COSIGN, HTTP, PREFIX, ROOT, SKIP]],
    run: Some(run),
    ..Command::EMPTY
};

const UNBOUNDED: &str = "aborting due to implicit unbounded trust (root domain)\n\
    Please provide a specific domain prefix to trust:\n    \
        rkt trust --prefix \"example.com/foo\" [PUBKEY]\n    \
        rkt trust --prefix \"example.com/foo/*\" [PUBKEY]\n\
    Otherwise, trust at the root domain (not recommended) must be explicitly requested:\n    \
        rkt trust --root PUBKEY";

fn run(call: Call) -> Outcome {
    let args = call.mixed()?;
    let keys = args.texts()?;
    let request = Request {
        prefix: args.flags.text(&PREFIX).to_string(),
        root: args.flags.bool(&ROOT),
        skip_fingerprint_review: args.flags.bool(&SKIP),
        insecure_allow_http: args.flags.bool(&HTTP),
        keys,
    };
    let cosign = args.flags.text(&COSIGN);
    if !cosign.is_empty() && (request.root || request.prefix.is_empty() || !request.keys.is_empty())
    {
        return Err(Fault::usage("--cosign goes with --prefix alone").into());
    }
    if request.prefix.is_empty() && !request.root {
        return Err(match request.keys.is_empty() {
            true => Stop::Usage,
            false => Fault::usage(UNBOUNDED).into(),
        });
    }
    let env = super::env(&args.flags, COMMAND.name)?;
    let mut report = Report::new(COMMAND.name);
    let result = match cosign {
        "" => stage0::trust::trust(&env, &request, &mut |line| report.line(line)),
        file => stage0::trust::trust_cosign(&env, Path::new(file), &request.prefix, &mut |line| {
            report.line(line);
        }),
    };
    report.end(result)
}
