//! `P/runtime-config`: how the pod was started, for the entry points that
//! come later (`app-add` runs the new app under the sandbox's own rules).
//! JSON with rkt 1.30's keys.

use model::{Fault, Value, fault::Result};
use rustix::io::Errno;

use crate::{Pod, RunArgs, files, layout};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeConfig {
    pub metadata_service_url: String,
    /// `shift:count` or empty.
    pub private_users: String,
    pub mds_token: String,
    pub hostname: String,
    pub debug: bool,
    pub mutable: bool,
    /// `host`, `stage0`, `none` or `default`.
    pub resolv_conf_mode: String,
    pub etc_hosts_mode: String,
    pub interactive: bool,
    pub disable_paths: bool,
    pub disable_capabilities: bool,
    pub disable_seccomp: bool,
    /// `auto`, `private`, `parent` or empty.
    pub ipc_mode: String,
}

impl RuntimeConfig {
    pub fn of(args: &RunArgs) -> RuntimeConfig {
        RuntimeConfig {
            metadata_service_url: String::new(),
            private_users: args
                .private_users
                .map(|(shift, count)| format!("{shift}:{count}"))
                .unwrap_or_default(),
            mds_token: args.mds_token.clone().unwrap_or_default(),
            hostname: args.hostname.clone().unwrap_or_default(),
            debug: args.debug,
            mutable: args.mutable,
            resolv_conf_mode: args.resolv_conf.to_string(),
            etc_hosts_mode: args.hosts.to_string(),
            interactive: args.interactive,
            disable_paths: args.disable_paths,
            disable_capabilities: args.disable_capabilities,
            disable_seccomp: args.disable_seccomp,
            ipc_mode: args.ipc.map(|ipc| ipc.to_string()).unwrap_or_default(),
        }
    }

    pub fn to_json(&self) -> String {
        let insecure: Value = [
            ("DisablePaths", self.disable_paths),
            ("DisableCapabilities", self.disable_capabilities),
            ("DisableSeccomp", self.disable_seccomp),
        ]
        .into_iter()
        .collect();
        let value: Value = [
            (
                "MetadataServiceURL",
                Value::from(&*self.metadata_service_url),
            ),
            ("PrivateUsers", Value::from(&*self.private_users)),
            ("MDSToken", Value::from(&*self.mds_token)),
            ("Hostname", Value::from(&*self.hostname)),
            ("Debug", Value::from(self.debug)),
            ("Mutable", Value::from(self.mutable)),
            ("ResolvConfMode", Value::from(&*self.resolv_conf_mode)),
            ("EtcHostsMode", Value::from(&*self.etc_hosts_mode)),
            // Always empty in rkt, too.
            ("NetList", Value::Object(Default::default())),
            ("Interactive", Value::from(self.interactive)),
            ("InsecureOptions", insecure),
            ("IPCMode", Value::from(&*self.ipc_mode)),
        ]
        .into_iter()
        .collect();
        model::json::to_compact(&value)
    }

    pub fn parse(bytes: &[u8]) -> Result<RuntimeConfig> {
        let value = model::json::parse(bytes)?;
        if !value.is_object() {
            return Err(Fault::invalid("expected an object"));
        }
        let text = |key: &str| match value.get(key) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(Fault::invalid(format!("expected a string for {key:?}"))),
        };
        let none = Value::Null;
        let insecure = value.get("InsecureOptions").unwrap_or(&none);
        let flag = |from: &Value, key: &str| match from.get(key) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(on)) => Ok(*on),
            Some(_) => Err(Fault::invalid(format!(
                "expected true or false for {key:?}"
            ))),
        };
        Ok(RuntimeConfig {
            metadata_service_url: text("MetadataServiceURL")?,
            private_users: text("PrivateUsers")?,
            mds_token: text("MDSToken")?,
            hostname: text("Hostname")?,
            debug: flag(&value, "Debug")?,
            mutable: flag(&value, "Mutable")?,
            resolv_conf_mode: text("ResolvConfMode")?,
            etc_hosts_mode: text("EtcHostsMode")?,
            interactive: flag(&value, "Interactive")?,
            disable_paths: flag(insecure, "DisablePaths")?,
            disable_capabilities: flag(insecure, "DisableCapabilities")?,
            disable_seccomp: flag(insecure, "DisableSeccomp")?,
            ipc_mode: text("IPCMode")?,
        })
    }
}

impl Pod {
    pub fn write_runtime_config(&self, config: &RuntimeConfig) -> Result<()> {
        files::write(
            self,
            layout::RUNTIME_CONFIG,
            0o644,
            config.to_json().as_bytes(),
        )
        .map_err(|err| self.io("write runtime-config of", err))
    }

    pub fn runtime_config(&self) -> Result<Option<RuntimeConfig>> {
        match files::read(self, layout::RUNTIME_CONFIG, 64 << 10) {
            Ok(bytes) => RuntimeConfig::parse(&bytes)
                .map(Some)
                .map_err(|fault| fault.link(layout::RUNTIME_CONFIG)),
            Err(Errno::NOENT) => Ok(None),
            Err(err) => Err(self.io("read runtime-config of", err)),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const RKT: &str = r#"{"MetadataServiceURL":"","PrivateUsers":"","MDSToken":"","Hostname":"","Debug":false,"Mutable":false,"ResolvConfMode":"default","EtcHostsMode":"default","NetList":{},"Interactive":false,"InsecureOptions":{"DisablePaths":false,"DisableCapabilities":false,"DisableSeccomp":false},"IPCMode":""}"#;

    #[test]
    fn rkt_text_survives_reading_and_writing() {
        assert_eq!(RuntimeConfig::parse(RKT.as_bytes()).unwrap().to_json(), RKT);
    }

    #[test]
    fn arguments_survive() {
        let uuid = model::PodUuid::random([7; 16]);
        let mut args = RunArgs::new(uuid);
        args.disable_paths = true;
        args.private_users = Some((65536, 65536));
        args.hostname = Some("h\"<".into());
        let config = RuntimeConfig::of(&args);
        assert_eq!(config.private_users, "65536:65536");
        assert_eq!(
            RuntimeConfig::parse(config.to_json().as_bytes()).unwrap(),
            config
        );
    }

    #[test]
    fn a_rule_of_the_wrong_type_is_refused() {
        for bad in [
            "[]",
            r#"{"Debug":"no"}"#,
            r#"{"InsecureOptions":{"DisablePaths":0}}"#,
        ] {
            assert!(RuntimeConfig::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
