//! `P/net-info.json`: the pod's networks, as rkt writes them; also the
//! `networks` of `rkt list --format=json`.
//!
//! One line: a JSON array in load order, `null` when there is no network.

use model::{Fault, Value, fault::Result};
use rustix::fd::AsFd;
use rustix::io::Errno;

use crate::{Pod, files, layout};

const MAX: usize = 1 << 20;

/// A pod's end of one network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetInfo {
    pub name: String,
    /// Path of the configuration's copy, relative to `P`.
    pub conf: String,
    pub plugin: String,
    pub if_name: String,
    /// Dotted quad.
    pub ip: String,
    /// `IP=1.2.3.4` or empty.
    pub args: String,
    /// Dotted quad.
    pub mask: String,
    /// Ours; empty without one.
    pub ip6: String,
    pub mask6: String,
}

impl NetInfo {
    /// In rkt's key order; every key of rkt's is always there.
    pub fn to_json(&self) -> Value {
        let ours = [("ip6", &*self.ip6), ("mask6", &*self.mask6)];
        self.fields()
            .into_iter()
            .chain(ours.into_iter().filter(|(_, text)| !text.is_empty()))
            .collect()
    }

    fn fields(&self) -> [(&'static str, &str); 7] {
        [
            ("netName", &self.name),
            ("netConf", &self.conf),
            ("pluginPath", &self.plugin),
            ("ifName", &self.if_name),
            ("ip", &self.ip),
            ("args", &self.args),
            ("mask", &self.mask),
        ]
    }

    pub fn from_json(value: &Value) -> Result<NetInfo> {
        if !value.is_object() {
            return Err(Fault::invalid("expected an object for a network"));
        }
        let text = |key: &str| match value.get(key) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(Fault::invalid(format!("expected a string for {key:?}"))),
        };
        Ok(NetInfo {
            name: text("netName")?,
            conf: text("netConf")?,
            plugin: text("pluginPath")?,
            if_name: text("ifName")?,
            ip: text("ip")?,
            args: text("args")?,
            mask: text("mask")?,
            ip6: text("ip6")?,
            mask6: text("mask6")?,
        })
    }
}

/// `name:ip4=IP`, as listings show a network; with an IPv6 address as a second
/// entry, so that the first is what scripts know.
impl std::fmt::Display for NetInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:ip4={}", self.name, self.ip)?;
        if self.ip6.is_empty() {
            return Ok(());
        }
        write!(f, ", {}:ip6={}", self.name, self.ip6)
    }
}

/// The content of the file.
pub fn to_text(networks: &[NetInfo]) -> String {
    let value = match networks {
        [] => Value::Null,
        networks => networks.iter().map(NetInfo::to_json).collect(),
    };
    let mut text = model::json::to_compact(&value);
    text.push('\n');
    text
}

pub fn parse(bytes: &[u8]) -> Result<Vec<NetInfo>> {
    match model::json::parse(bytes)? {
        Value::Null => Ok(Vec::new()),
        Value::Array(list) => list.iter().map(NetInfo::from_json).collect(),
        _ => Err(Fault::invalid("expected an array of networks")),
    }
}

/// Reads the file; a pod without it has no networks of its own.
pub(crate) fn read(dir: impl AsFd) -> Result<Vec<NetInfo>> {
    let corrupt = |fault: Fault| fault.link(layout::NET_INFO);
    let mut buf = [0; 2048];
    match files::read_into(&dir, layout::NET_INFO, &mut buf) {
        // Empty: written just before a power cut.
        Err(Errno::NOENT) | Ok([]) => Ok(Vec::new()),
        Ok(bytes) if bytes.iter().all(|byte| *byte == 0) => Ok(Vec::new()),
        Ok(bytes) if bytes.len() < 2048 => parse(bytes).map_err(corrupt),
        Ok(_) => files::read(&dir, layout::NET_INFO, MAX)
            .map_err(|err| Fault::io("open", layout::NET_INFO, err))
            .and_then(|bytes| parse(&bytes).map_err(corrupt)),
        Err(err) => Err(Fault::io("open", layout::NET_INFO, err)),
    }
    .map(|mut infos: Vec<NetInfo>| {
        // Not joined yet: of use to gc alone.
        infos.retain(|info| !info.plugin.is_empty() || !info.ip.is_empty());
        infos
    })
}

impl Pod {
    pub fn networks(&self) -> Result<Vec<NetInfo>> {
        read(self)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const RKT: &str = r#"[{"netName":"default","netConf":"net/99-default.conf","pluginPath":"stage1/rootfs/usr/lib/rkt/plugins/net/ptp","ifName":"eth0","ip":"172.16.28.17","args":"","mask":"255.255.255.0"}]
"#;

    #[test]
    fn a_second_family_is_a_second_entry() {
        let text = RKT.replace("\"}]", "\",\"ip6\":\"fd00::2\",\"mask6\":\"ffff::\"}]");
        let nets = parse(text.as_bytes()).unwrap();
        assert_eq!(to_text(&nets), text);
        assert_eq!(
            nets[0].to_string(),
            "default:ip4=172.16.28.17, default:ip6=fd00::2"
        );
    }

    #[test]
    fn rkt_text_survives_reading_and_writing() {
        let nets = parse(RKT.as_bytes()).unwrap();
        assert_eq!(nets[0].to_string(), "default:ip4=172.16.28.17");
        assert_eq!(to_text(&nets), RKT);
        assert_eq!(to_text(&[]), "null\n");
        assert_eq!(parse(b"null\n").unwrap(), []);
    }

    #[test]
    fn other_shapes_are_refused() {
        for text in ["", "{}", "[1]", r#"[{"ip":4}]"#, "[[]]", "\"x\""] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
