//! `P/runtime-config`: how the pod was run, for the entry points that come
//! later. The JSON has the fields that rkt's own had.

use std::os::fd::BorrowedFd;

use model::{Fault, PodUuid, Value, fault::Result, json};
use pod::entry::{IpcMode, RunArgs};
use pod::layout;

use crate::load;

/// The metadata service's URL is known only when the network is there.
pub fn to_json(args: &RunArgs, metadata_url: Option<&str>) -> String {
    let text = |text: Option<&str>| Value::from(text.unwrap_or_default());
    let object = |fields: Vec<(&str, Value)>| {
        Value::Object(
            fields
                .into_iter()
                .map(|(key, value)| (key.to_string(), value))
                .collect(),
        )
    };
    let url = metadata_url.map(|url| ("MetadataURL", text(Some(url))));
    let fields = vec![
        ("Hostname", text(args.hostname.as_deref())),
        ("Debug", args.debug.into()),
        ("Mutable", args.mutable.into()),
        ("Net", args.net.as_str().into()),
        ("Interactive", args.interactive.into()),
        (
            "InsecureOptions",
            object(vec![
                ("DisablePaths", args.disable_paths.into()),
                ("DisableCapabilities", args.disable_capabilities.into()),
                ("DisableSeccomp", args.disable_seccomp.into()),
            ]),
        ),
        (
            "PrivateUsers",
            args.private_users
                .map(|(first, count)| format!("{first}:{count}"))
                .unwrap_or_default()
                .into(),
        ),
        (
            "IPCMode",
            args.ipc
                .map(|mode| mode.to_string())
                .unwrap_or_default()
                .into(),
        ),
    ];
    json::to_compact(&object(fields.into_iter().chain(url).collect()))
}

/// What the pod was run with, and where it finds the metadata service.
pub fn read(pod: BorrowedFd<'_>, uuid: PodUuid) -> Result<(RunArgs, Option<String>)> {
    parse(&load::read(pod, layout::RUNTIME_CONFIG)?, uuid)
}

fn parse(bytes: &[u8], uuid: PodUuid) -> Result<(RunArgs, Option<String>)> {
    let value = json::parse(bytes)?;
    let insecure = &value["InsecureOptions"];
    // A damaged record must not loosen what bounds the command.
    let switch = |value: &Value| {
        value
            .as_bool()
            .ok_or_else(|| Fault::corrupt(format!("{} is damaged", layout::RUNTIME_CONFIG)))
    };
    let word = |key: &str| value[key].as_str().filter(|word| !word.is_empty());
    let mut args = RunArgs::new(uuid);
    args.hostname = word("Hostname").map(str::to_string);
    args.net = word("Net").unwrap_or("none").to_string();
    args.interactive = switch(&value["Interactive"])?;
    args.disable_paths = switch(&insecure["DisablePaths"])?;
    args.disable_capabilities = switch(&insecure["DisableCapabilities"])?;
    args.disable_seccomp = switch(&insecure["DisableSeccomp"])?;
    args.private_users = match &value["PrivateUsers"] {
        // A pod of before there were any.
        Value::Null => None,
        users => range(users.as_str().unwrap_or("damaged"))?,
    };
    args.ipc = word("IPCMode").map(IpcMode::parse).transpose()?;
    Ok((args, word("MetadataURL").map(str::to_string)))
}

fn range(text: &str) -> Result<Option<(u32, u32)>> {
    if text.is_empty() {
        return Ok(None);
    }
    let parts = text.split_once(':');
    parts
        .and_then(|(first, count)| Some(Some((first.parse().ok()?, count.parse().ok()?))))
        .ok_or_else(|| Fault::corrupt(format!("{} is damaged", layout::RUNTIME_CONFIG)))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_is_written_is_read_and_damage_is_refused() {
        let uuid = PodUuid::new("04a71208-6692-473e-ac24-5cae4faa7786").unwrap();
        let mut args = RunArgs::new(uuid.clone());
        args.net = "host".into();
        args.disable_seccomp = true;
        args.ipc = Some(IpcMode::Parent);
        args.private_users = Some((65536, 65536));
        for url in [None, Some("http://127.0.0.1:18112/ab")] {
            let read = parse(to_json(&args, url).as_bytes(), uuid.clone()).unwrap();
            assert_eq!(read, (args.clone(), url.map(str::to_string)));
        }
        assert!(parse(b"{}", uuid.clone()).is_err());
        let good = to_json(&args, None);
        let users = "\"PrivateUsers\":\"65536:65536\"";
        assert!(good.contains(users));
        for bad in ["\"PrivateUsers\":7", "\"PrivateUsers\":\"x\""] {
            let damaged = good.replace(users, bad);
            assert!(parse(damaged.as_bytes(), uuid.clone()).is_err(), "{bad}");
        }
    }
}
