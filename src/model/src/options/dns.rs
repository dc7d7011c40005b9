//! `--dns`, `--dns-search`, `--dns-opt`, `--dns-domain` and `--hosts-entry`:
//! what `/etc/resolv.conf` and `/etc/hosts` of the apps shall be.
//!
//! All values together give one `DnsOptions`; it also renders the two files,
//! which is a matter of text alone.

use crate::fault::{Fault, Result};
use crate::text::key_value;
use std::net::IpAddr;

/// Where `/etc/resolv.conf` comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResolvMode {
    /// From the first network that offers one.
    #[default]
    Default,
    /// Never written.
    None,
    /// The host's own.
    Host,
    /// From the flags.
    Stage0,
}

/// Where `/etc/hosts` comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostsMode {
    #[default]
    Default,
    Host,
    /// From the flags, after the default lines.
    Stage0,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsOptions {
    pub resolv: ResolvMode,
    pub hosts: HostsMode,
    pub nameservers: Vec<IpAddr>,
    pub search: Vec<String>,
    pub options: Vec<String>,
    pub domain: Option<String>,
    /// Names by address, both in the order given.
    pub hosts_entries: Vec<(IpAddr, Vec<String>)>,
}

/// Combines the values of all five flags.
pub fn dns_options(
    dns: &[String],
    search: &[String],
    options: &[String],
    domain: Option<&str>,
    hosts_entries: &[String],
) -> Result<DnsOptions> {
    let mut out = DnsOptions {
        search: search.to_vec(),
        options: options.to_vec(),
        domain: domain
            .filter(|domain| !domain.is_empty())
            .map(str::to_string),
        ..DnsOptions::default()
    };
    let words = search
        .iter()
        .chain(options)
        .map(String::as_str)
        .chain(out.domain.as_deref());
    for word in words {
        // A line break would add lines of one's own to the file.
        if word.chars().any(char::is_control) {
            return Err(Fault::usage(format!(
                "Invalid DNS option: {}",
                crate::text::quote(word)
            )));
        }
    }
    for value in dns.iter().flat_map(|value| value.split(',')) {
        match value {
            "host" | "none" if dns.len() > 1 || dns[0] != value => {
                return Err(Fault::usage(format!(
                    "no other --dns options allowed when --dns={value} is passed"
                )));
            }
            "host" => out.resolv = ResolvMode::Host,
            "none" => out.resolv = ResolvMode::None,
            value => out.nameservers.push(parse_ip("dns", value)?),
        }
    }
    let stage0 = !out.search.is_empty() || !out.options.is_empty() || out.domain.is_some();
    match out.resolv {
        ResolvMode::Host | ResolvMode::None if stage0 => {
            return Err(Fault::usage(format!(
                "Cannot call --dns-opt, --dns-search, or --dns-domain with --dns={}",
                if out.resolv == ResolvMode::Host {
                    "host"
                } else {
                    "none"
                }
            )));
        }
        ResolvMode::Default if stage0 || !out.nameservers.is_empty() => {
            out.resolv = ResolvMode::Stage0
        }
        _ => {}
    }
    for value in hosts_entries.iter().flat_map(|value| value.split(',')) {
        add_host(&mut out, value)?;
    }
    Ok(out)
}

fn add_host(out: &mut DnsOptions, value: &str) -> Result<()> {
    const ALONE: &str = "cannot pass --hosts-entry=host with multiple hosts-entries";
    if value == "host" {
        if out.hosts != HostsMode::Default {
            return Err(Fault::usage(ALONE));
        }
        out.hosts = HostsMode::Host;
        return Ok(());
    }
    let (ip, name) = match key_value(value) {
        Some((ip, name)) if !name.contains('=') && is_host_name(name) => (ip, name),
        _ => {
            return Err(Fault::usage(format!(
                "Did not understand --hosts-entry {value}"
            )));
        }
    };
    let ip = parse_ip("hosts-entry", ip)?;
    if out.hosts == HostsMode::Host {
        return Err(Fault::usage(ALONE));
    }
    out.hosts = HostsMode::Stage0;
    match out.hosts_entries.iter_mut().find(|(old, _)| *old == ip) {
        Some((_, names)) => names.push(name.to_string()),
        None => out.hosts_entries.push((ip, vec![name.to_string()])),
    }
    Ok(())
}

fn parse_ip(flag: &str, text: &str) -> Result<IpAddr> {
    text.parse()
        .map_err(|_| Fault::usage(format!("Invalid IP passed to --{flag}: {text}")))
}

/// What can stand as one word in `/etc/hosts`.
fn is_host_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|c| !c.is_control() && !c.is_whitespace() && c != '#')
}

impl DnsOptions {
    /// The content of `/etc/resolv.conf` for the mode `Stage0`.
    pub fn resolv_conf(&self) -> String {
        let servers: Vec<String> = self.nameservers.iter().map(|ip| ip.to_string()).collect();
        let domain = self.domain.as_deref().unwrap_or_default();
        let source = "Generated by rkt run";
        resolv_conf_text(source, &self.search, &servers, &self.options, domain)
    }

    /// The lines that the mode `Stage0` adds to the default `/etc/hosts`.
    pub fn hosts_lines(&self) -> String {
        let mut text = "# Added by rkt run --hosts-entry\n".to_string();
        for (ip, names) in &self.hosts_entries {
            text.push_str(&format!("{ip} {}\n", names.join(" ")));
        }
        text
    }
}

/// `/etc/resolv.conf` in rkt's form; an empty domain is none.
pub fn resolv_conf_text(
    source: &str,
    search: &[String],
    nameservers: &[String],
    options: &[String],
    domain: &str,
) -> String {
    let mut text = format!("# {source}\n\n");
    let mut line = |key: &str, words: &[String]| {
        if !words.is_empty() {
            text.push_str(&format!("{key} {}\n", words.join(" ")));
        }
    };
    line("search", search);
    for server in nameservers {
        line("nameserver", std::slice::from_ref(server));
    }
    line("options", options);
    if !domain.is_empty() {
        text.push_str(&format!("domain {domain}\n"));
    }
    text
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn list(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| word.to_string()).collect()
    }

    fn dns(servers: &[&str], search: &[&str]) -> Result<DnsOptions> {
        dns_options(&list(servers), &list(search), &[], None, &[])
    }

    fn hosts(entries: &[&str]) -> Result<DnsOptions> {
        dns_options(&[], &[], &[], None, &list(entries))
    }

    #[test]
    fn the_mode_follows_from_the_flags() {
        assert_eq!(dns(&[], &[]).unwrap(), DnsOptions::default());
        assert_eq!(dns(&["host"], &[]).unwrap().resolv, ResolvMode::Host);
        assert_eq!(dns(&["none"], &[]).unwrap().resolv, ResolvMode::None);
        assert_eq!(dns(&[], &["a"]).unwrap().resolv, ResolvMode::Stage0);
        let options = dns(&["8.8.8.8,::1", "1.1.1.1"], &["a", "b"]).unwrap();
        assert_eq!(options.nameservers.len(), 3);
        let all = dns_options(
            &list(&["8.8.8.8"]),
            &list(&["a", "b"]),
            &list(&["x"]),
            Some("d"),
            &[],
        );
        assert_eq!(
            all.unwrap().resolv_conf(),
            "# Generated by rkt run\n\nsearch a b\nnameserver 8.8.8.8\noptions x\ndomain d\n"
        );
    }

    #[test]
    fn bad_name_servers() {
        for (servers, search, want) in [
            (
                &["host", "8.8.8.8"][..],
                &[][..],
                "no other --dns options allowed when --dns=host is passed",
            ),
            (
                &["8.8.8.8", "none"],
                &[],
                "no other --dns options allowed when --dns=none is passed",
            ),
            (
                &["none,8.8.8.8"],
                &[],
                "no other --dns options allowed when --dns=none is passed",
            ),
            (&["x"], &[], "Invalid IP passed to --dns: x"),
            (&[""], &[], "Invalid IP passed to --dns: "),
            (
                &["host"],
                &["a"],
                "Cannot call --dns-opt, --dns-search, or --dns-domain with --dns=host",
            ),
            (
                &[],
                &["a\nnameserver 6.6.6.6"],
                "Invalid DNS option: \"a\\nnameserver 6.6.6.6\"",
            ),
        ] {
            assert_eq!(dns(servers, search).unwrap_err().cause, want);
        }
    }

    #[test]
    fn hosts_entries() {
        assert_eq!(hosts(&["host"]).unwrap().hosts, HostsMode::Host);
        let options = hosts(&["10.0.0.1=a,10.0.0.2=b", "10.0.0.1=c"]).unwrap();
        assert_eq!(options.hosts, HostsMode::Stage0);
        assert_eq!(
            options.hosts_lines(),
            "# Added by rkt run --hosts-entry\n10.0.0.1 a c\n10.0.0.2 b\n"
        );
        let alone = "cannot pass --hosts-entry=host with multiple hosts-entries";
        for (entries, want) in [
            (
                &["10.0.0.1"][..],
                "Did not understand --hosts-entry 10.0.0.1",
            ),
            (
                &["10.0.0.1=a=b"],
                "Did not understand --hosts-entry 10.0.0.1=a=b",
            ),
            (&["10.0.0.1="], "Did not understand --hosts-entry 10.0.0.1="),
            (&["x=a"], "Invalid IP passed to --hosts-entry: x"),
            (&["host", "10.0.0.1=a"], alone),
            (&["10.0.0.1=a,host"], alone),
            (&["host,host"], alone),
            (
                &["10.0.0.1=a\nb"],
                "Did not understand --hosts-entry 10.0.0.1=a\nb",
            ),
        ] {
            assert_eq!(hosts(entries).unwrap_err().cause, want);
        }
    }
}
