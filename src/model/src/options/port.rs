//! `--port`: which port of the host leads to which port of the pod.

use crate::app::Port;
use crate::fault::{Fault, Result};
use crate::name::AcName;
use crate::pod::ExposedPort;
use crate::text::quote;
use std::net::IpAddr;

impl ExposedPort {
    /// `NAME:[HOSTIP:]HOSTPORT` of `run` and `prepare`; an IPv6 address stands
    /// in brackets: `http:[::1]:8080`.
    pub fn parse_flag(text: &str) -> Result<ExposedPort> {
        let form = || Fault::usage(format!("{} is not in name:[ip:]port format", quote(text)));
        let (name, rest) = text.split_once(':').ok_or_else(form)?;
        let name = read_name(name)?;
        let (ip, port) = match split_v6(rest) {
            Some((ip, port)) => (Some(ip), port),
            None => match rest.split_once(':') {
                Some((ip, port)) => (Some(ip), port),
                None => (None, rest),
            },
        };
        Ok(ExposedPort {
            name,
            host_ip: ip.map(read_ip).transpose()?,
            host_port: read_port(port)?,
            pod_port: None,
        })
    }

    /// `name:proto:podPort:hostIP:hostPort` of `app sandbox`.
    pub fn parse_sandbox_flag(text: &str) -> Result<ExposedPort> {
        let form = || {
            Fault::usage(format!(
                "{} is not in name:proto:podPort:hostIP:hostPort format",
                quote(text)
            ))
        };
        let parts: Vec<&str> = text.splitn(4, ':').collect();
        let [name, protocol, pod_port, rest] = parts[..] else {
            return Err(form());
        };
        let (host_ip, host_port) = split_v6(rest)
            .or_else(|| rest.split_once(':').filter(|(_, port)| !port.contains(':')))
            .ok_or_else(form)?;
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

/// `[::1]:80` to its parts.
fn split_v6(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('[')?
        .split_once("]:")
        .filter(|(ip, _)| ip.contains(':'))
}

fn read_name(text: &str) -> Result<AcName> {
    AcName::new(text).map_err(|_| Fault::usage(format!("{} is not a valid port name", quote(text))))
}

fn read_ip(text: &str) -> Result<IpAddr> {
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
        assert_eq!(port.host_ip, Some(std::net::Ipv4Addr::LOCALHOST.into()));
        let port = ExposedPort::parse_flag("http:[::1]:80").unwrap();
        assert_eq!(
            (port.host_ip, port.host_port),
            (Some(std::net::Ipv6Addr::LOCALHOST.into()), 80)
        );
        for (text, want) in [
            ("http", "\"http\" is not in name:[ip:]port format"),
            ("", "\"\" is not in name:[ip:]port format"),
            ("HTTP:80", "\"HTTP\" is not a valid port name"),
            (":80", "\"\" is not a valid port name"),
            ("http:x:80", "\"x\" is not a valid IP"),
            ("http:::1:80", "\"\" is not a valid IP"),
            ("http:[::1:80", "\"[\" is not a valid IP"),
            ("http:[x:]:80", "\"x:\" is not a valid IP"),
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
        let port = ExposedPort::parse_sandbox_flag("dns:udp:53:[::]:5353").unwrap();
        assert_eq!(port.host_ip, Some(std::net::Ipv6Addr::UNSPECIFIED.into()));
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
