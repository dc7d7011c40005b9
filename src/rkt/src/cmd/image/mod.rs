//! `rkt image`: what can be done with images in the store.

pub mod cat_manifest;
pub mod export;
pub mod extract;
pub mod fetch;
pub mod gc;
pub mod list;
pub mod render;
pub mod rm;
pub mod verify;

use crate::command::{Args, Command, Outcome, Stop};
use crate::flags::Flag;
use model::fault::Result;
use stage0::Env;
use stage0::images::UnpackRequest;
use std::path::PathBuf;

pub static COMMAND: Command = Command {
    name: "image",
    short: "work with the images in the store",
    usage: "rkt image [command]",
    long: "IMAGE in these commands is an image ID or a name.\n\
           \n\
           Of an ID, \"sha512-\" and a few characters are enough where no other image has\n\
           them. A name may carry a version, as in \"example.com/app:1.0\"; without one, of\n\
           the images of that name one that was fetched as the latest is meant, else the one\n\
           imported last.",
    children: &[
        &cat_manifest::COMMAND,
        &export::COMMAND,
        &extract::COMMAND,
        &fetch::COMMAND,
        &gc::COMMAND,
        &list::COMMAND,
        &render::COMMAND,
        &rm::COMMAND,
        &verify::COMMAND,
    ],
    ..Command::EMPTY
};

const OVERWRITE: Flag = Flag::bool("overwrite", false, "replace the directory if it exists");
const ROOTFS_ONLY: Flag = Flag::bool("rootfs-only", false, "leave the manifest out");

/// `extract` and `render` differ in what they write only.
fn unpack(
    args: Args,
    command: &'static str,
    verb: fn(&Env, &UnpackRequest) -> Result<()>,
) -> Outcome {
    let Ok([image, dir]) = <[String; 2]>::try_from(args.texts()?) else {
        return Err(Stop::Usage);
    };
    let env = super::env(&args.flags, command)?;
    stage0::rootless::for_images(&env)?;
    let request = UnpackRequest {
        image,
        dir: PathBuf::from(dir),
        rootfs_only: args.flags.bool(&ROOTFS_ONLY),
        overwrite: args.flags.bool(&OVERWRITE),
    };
    verb(&env, &request)?;
    Ok(0)
}
