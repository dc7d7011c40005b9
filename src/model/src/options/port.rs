//! `--port`: which port of the host leads to which port of the pod.

use crate::app::Port;
use crate::fault::{Fault, Result};
use crate::name::AcName;
use crate::pod::ExposedPort;
use crate::text::quote;
use std::net::Ipv4Addr;

impl ExposedPort {
    /// `NAME:[HOSTIP:]HOSTPORT` of `run` and `prepare`.
    pub fn parse_flag(text: &str) -> Result<ExposedPort> {
        let parts: Vec<&str> = text.splitn(3, ':').collect();
        let (name, ip, port) = match parts[..] {
            [name, port] => (name, None, port),
            [name, ip, port] => (name, Some(ip), port),
            _ => {
                return Err(Fault::usage(format!(
                    "{} is not in name:[ip:]port format",
                    quote(text)
                )));
            }
        };
        Ok(ExposedPort {
            name: read_name(name)?,
            host_ip: ip.map(read_ip).transpose()?,
            host_port: read_port(port)?,
            pod_port: None,
        })
    }

    /// `name:proto:podPort:hostIP:hostPort` of `app sandbox`.
    pub fn parse_sandbox_flag(text: &str) -> Result<ExposedPort> {
        let parts: Vec<&str> = text.split(':').collect();
        let [name, protocol, pod_port, host_ip, host_port] = parts[..] else {
            return Err(Fault::usage(format!(
                "{} is not in name:proto:podPort:hostIP:hostPort format",
                quote(text)
            )));
        };
        let name = read_name(name)?;
        if !matches!(protocol, "tcp" | "udp") {
            return Err(Fault::usage(format!(
                "{} is not a valid protocol: should be \"tcp\" or \"udp\"",
                quote(protocol)
            )));
        }
        let pod_port = match read_port(pod_port)? {
            0 => return Err(Fault::usage("\"0\" is not a valid port number")),
            port => port,
        };
        Ok(ExposedPort {
            name: name.clone(),
            host_port: read_port(host_port)?,
            host_ip: Some(read_ip(host_ip)?),
            pod_port: Some(Port {
                name,
                protocol: protocol.to_string(),
                port: pod_port,
                count: 1,
                socket_activated: false,
                extra: Vec::new(),
            }),
        })
    }
}

fn read_name(text: &str) -> Result<AcName> {
    AcName::new(text).map_err(|_| Fault::usage(format!("{} is not a valid port name", quote(text))))
}

fn read_ip(text: &str) -> Result<Ipv4Addr> {
    text.parse()
        .map_err(|_| Fault::usage(format!("{} is not a valid IP", quote(text))))
}

fn read_port(text: &str) -> Result<u16> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    digits
        .then(|| text.parse().ok())
        .flatten()
        .ok_or_else(|| Fault::usage(format!("{} is not a valid port number", quote(text))))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn ports_of_run() {
        let port = ExposedPort::parse_flag("http:8080").unwrap();
        assert_eq!(
            (port.name.as_str(), port.host_port, port.host_ip),
            ("http", 8080, None)
        );
        let port = ExposedPort::parse_flag("http:127.0.0.1:80").unwrap();
        assert_eq!(port.host_ip, Some(Ipv4Addr::LOCALHOST));
        for (text, want) in [
            ("http", "\"http\" is not in name:[ip:]port format"),
            ("", "\"\" is not in name:[ip:]port format"),
            ("HTTP:80", "\"HTTP\" is not a valid port name"),
            (":80", "\"\" is not a valid port name"),
            ("http:x:80", "\"x\" is not a valid IP"),
            ("http:::1:80", "\"\" is not a valid IP"),
            ("http:65536", "\"65536\" is not a valid port number"),
            ("http:+80", "\"+80\" is not a valid port number"),
            ("http:", "\"\" is not a valid port number"),
            ("http:1.2.3.4:80:90", "\"80:90\" is not a valid port number"),
        ] {
            assert_eq!(ExposedPort::parse_flag(text).unwrap_err().cause, want);
        }
    }

    #[test]
    fn ports_of_a_sandbox() {
        let port = ExposedPort::parse_sandbox_flag("dns:udp:53:0.0.0.0:5353").unwrap();
        let inner = port.pod_port.unwrap();
        assert_eq!(
            (inner.protocol.as_str(), inner.port, port.host_port),
            ("udp", 53, 5353)
        );
        for text in [
            "dns:udp:53:5353",
            "dns:sctp:53:0.0.0.0:1",
            "dns:tcp:0:0.0.0.0:1",
            "dns:tcp:1::1",
            "a:tcp:1:1.1.1.1:1:1",
        ] {
            assert!(ExposedPort::parse_sandbox_flag(text).is_err(), "{text}");
        }
    }
}
