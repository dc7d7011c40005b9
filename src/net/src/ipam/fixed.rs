//! The IPAM `static`: addresses that the configuration or the caller names.
//!
//! `CNI_ARGS` adds to the configured addresses, `args` and then `runtimeConfig`
//! replace what there is. Nothing is kept, so nothing is freed; nobody sees to
//! it that an address is used once.

use crate::attach::Call;
use crate::ipam::{place, values};
use crate::outcome::Spec;
use crate::outcome::read::optional_ip;
use crate::{Cidr, Dns, Ip, Network, Outcome, Plugin};
use model::json::{Cursor, Fields};
use model::{Fault, fault::Result};
use std::net::IpAddr;

/// Most addresses of one interface.
const MAX_ADDRESSES: usize = 256;

pub(super) fn add(call: &Call<'_>) -> Result<Outcome> {
    // Speaks of the command line, so no file is named.
    let asked = Asked::read(&call.network.args)?;
    grant(call.network, call.plugin, &asked).map_err(|fault| place(call, fault))
}

fn grant(network: &Network, plugin: &Plugin, asked: &Asked) -> Result<Outcome> {
    let mut fields = Cursor::new(&plugin.object).fields()?;
    let mut ipam = fields.need("ipam")?.fields()?;
    let mut ips = ipam.list_of("addresses", configured)?;
    asked.add_to(&mut ips);
    let (of_args, of_runtime) = values::asked_ips(&mut fields)?;
    for list in [of_args, of_runtime].into_iter().flatten() {
        let these = list.list_of(|field| Ok(without_gateway(values::cidr(&field)?)))?;
        if !these.is_empty() {
            ips = these;
        }
    }
    check(&ips, &ipam, network)?;
    Ok(Outcome {
        ips,
        routes: values::routes(&mut ipam)?,
        dns: match ipam.take("dns") {
            Some(dns) => values::dns(&dns)?,
            None => Dns::default(),
        },
        ..Outcome::default()
    })
}

fn configured(field: Cursor<'_>) -> Result<Ip> {
    let mut of = field.fields()?;
    let mut ip = without_gateway(values::cidr(&of.need("address")?)?);
    let place = of.take("gateway");
    ip.gateway = optional_ip(place.clone())?;
    match (ip.gateway, place) {
        (Some(gw), Some(place)) if gw.is_ipv4() != ip.address.is_v4() => {
            let address = ip.address;
            Err(place.fault(format!("{gw} is of another family than {address}")))
        }
        _ => Ok(ip),
    }
}

fn without_gateway(address: Cidr) -> Ip {
    Ip {
        address,
        gateway: None,
        interface: None,
    }
}

/// `IP` and `GATEWAY` of `CNI_ARGS`; both may be lists.
#[derive(Debug, Default)]
struct Asked {
    ips: Vec<Ip>,
    gateways: Vec<IpAddr>,
}

impl Asked {
    fn read(args: &str) -> Result<Asked> {
        let [ips, gateways] = values::cni_args(args, ["IP", "GATEWAY"])?;
        let address = |text| {
            Cidr::parse(text).map(without_gateway).map_err(|_| {
                Fault::invalid(format!(
                    "the 'ip' field is expected to be in CIDR notation, got: '{text}'"
                ))
            })
        };
        let gateway = |text: &str| {
            text.parse()
                .map_err(|_| Fault::invalid(format!("invalid gateway address: {text}")))
        };
        Ok(Asked {
            ips: items(ips).map(address).collect::<Result<_>>()?,
            gateways: items(gateways).map(gateway).collect::<Result<_>>()?,
        })
    }

    /// A gateway goes to the addresses in whose networks it is.
    fn add_to(&self, ips: &mut Vec<Ip>) {
        ips.extend(self.ips.iter().cloned());
        for &gateway in &self.gateways {
            for ip in ips.iter_mut().filter(|ip| ip.address.contains(gateway)) {
                ip.gateway = Some(gateway);
            }
        }
    }
}

fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

fn check(ips: &[Ip], ipam: &Fields<'_>, network: &Network) -> Result<()> {
    if ips.len() > MAX_ADDRESSES {
        return Err(ipam.fault(format!("more than {MAX_ADDRESSES} addresses")));
    }
    for (at, ip) in ips.iter().enumerate() {
        let (ip, before) = (ip.address.ip, &ips[..at]);
        if before.iter().any(|other| other.address.ip == ip) {
            return Err(ipam.fault(format!("the address {ip} is given twice")));
        }
        if ip.is_unspecified() || ip.is_multicast() {
            return Err(ipam.fault(format!("{ip} cannot be an interface's address")));
        }
    }
    let v4 = ips.iter().filter(|ip| ip.address.is_v4()).count();
    if (v4 > 1 || ips.len() - v4 > 1) && Spec::of(&network.version) < Spec::V0_3 {
        return Err(ipam.fault(format!(
            "CNI version {} does not support more than 1 address per family",
            network.version
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::conf;

    fn try_grant(ipam: &str, beside: &str, args: &str) -> Result<Outcome> {
        let text = format!(
            r#"{{"cniVersion": "1.0.0", "name": "n", "type": "bridge"{beside},
                "ipam": {{"type": "static"{ipam}}}}}"#
        );
        let network = conf::parse("n.conf", "F", text.as_bytes()).unwrap();
        grant(&network, &network.plugins[0], &Asked::read(args)?)
    }

    /// `address,gateway` of each.
    fn ips(outcome: &Outcome) -> Vec<String> {
        let gateway = |ip: &Ip| ip.gateway.map_or(String::new(), |gw| gw.to_string());
        let ips = outcome.ips.iter();
        ips.map(|ip| format!("{},{}", ip.address, gateway(ip)))
            .collect()
    }

    const TWO: &str = r#", "addresses": [{"address": "10.1.0.5/16", "gateway": "10.1.0.1"},
        {"address": "fd00::5/64"}], "routes": [{"dst": "0.0.0.0/0"}],
        "dns": {"nameservers": ["10.1.0.1"], "domain": "d"}"#;

    #[test]
    fn what_is_configured_is_given() {
        let outcome = try_grant(TWO, "", "").unwrap();
        assert_eq!(ips(&outcome), ["10.1.0.5/16,10.1.0.1", "fd00::5/64,"]);
        assert_eq!((outcome.routes.len(), &*outcome.dns.domain), (1, "d"));
        assert!(try_grant("", "", "").unwrap().ips.is_empty());
    }

    #[test]
    fn the_caller_adds_and_replaces() {
        let runtime = r#", "runtimeConfig": {"ips": ["10.4.0.1/24"]}"#;
        let args = r#", "args": {"cni": {"ips": ["10.3.0.1/24", "fd03::1/64"]}}"#;
        let both = format!("{runtime}{args}");
        let cases: [(&str, &str, &[&str]); 4] = [
            (
                "",
                "IP=10.2.0.9/24,fd00::9/64;GATEWAY=10.2.0.1,fd00::1",
                &[
                    "10.1.0.5/16,10.1.0.1",
                    "fd00::5/64,fd00::1",
                    "10.2.0.9/24,10.2.0.1",
                    "fd00::9/64,fd00::1",
                ],
            ),
            (args, "IP=10.2.0.9/24", &["10.3.0.1/24,", "fd03::1/64,"]),
            (&both, "", &["10.4.0.1/24,"]),
            (
                r#", "runtimeConfig": {"ips": []}"#,
                "",
                &["10.1.0.5/16,10.1.0.1", "fd00::5/64,"],
            ),
        ];
        for (beside, cni_args, want) in cases {
            let outcome = try_grant(TWO, beside, cni_args).unwrap();
            assert_eq!(ips(&outcome), want, "{beside} {cni_args}");
        }
    }

    #[test]
    fn errors_name_the_field_or_the_argument() {
        for (ipam, args, want) in [
            (
                r#", "addresses": [{"address": "10.1.0.5"}]"#,
                "",
                "ipam.addresses[0].address: invalid CIDR address: \"10.1.0.5\"",
            ),
            (
                r#", "addresses": [{}]"#,
                "",
                "ipam.addresses[0].address: is missing",
            ),
            (
                r#", "addresses": [{"address": "10.1.0.5/16", "gateway": "fd00::1"}]"#,
                "",
                "ipam.addresses[0].gateway: fd00::1 is of another family than 10.1.0.5/16",
            ),
            (
                r#", "addresses": [{"address": "10.1.0.5/16"}, {"address": "10.1.0.5/24"}]"#,
                "",
                "ipam: the address 10.1.0.5 is given twice",
            ),
            (
                r#", "addresses": [{"address": "0.0.0.0/0"}]"#,
                "",
                "ipam: 0.0.0.0 cannot be an interface's address",
            ),
            (
                "",
                "IP=10.1.0.5",
                "the 'ip' field is expected to be in CIDR notation, got: '10.1.0.5'",
            ),
            ("", "GATEWAY=x", "invalid gateway address: x"),
            ("", "MAC=x", "ARGS: unknown args [\"MAC=x\"]"),
        ] {
            assert_eq!(try_grant(ipam, "", args).unwrap_err().cause, want);
        }
    }
}
