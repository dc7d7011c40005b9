//! Addresses, routes and DNS as configurations write them, and what the caller
//! asks for by `CNI_ARGS`, `args` and `runtimeConfig`.
//!
//! An IPv4 address in IPv6 clothes counts as IPv4, as it does for CNI's own
//! plugins; files on disk are named that way.

use crate::outcome::Dns;
use crate::{Cidr, Route};
use model::json::{Cursor, Fields};
use model::text::quote;
use model::{Fault, fault::Result};
use std::net::IpAddr;

pub(super) fn ip(field: &Cursor<'_>) -> Result<IpAddr> {
    let text = field.str()?;
    let ip: IpAddr = text
        .parse()
        .map_err(|_| field.fault(format!("invalid IP address: {}", quote(text))))?;
    Ok(ip.to_canonical())
}

pub(super) fn cidr(field: &Cursor<'_>) -> Result<Cidr> {
    let text = field.str()?;
    // IPv4 in IPv6 clothes has a prefix that means nothing to IPv4.
    let plain = |cidr: &Cidr| cidr.ip == cidr.ip.to_canonical();
    let cidr = Cidr::parse(text).ok().filter(plain);
    cidr.ok_or_else(|| field.fault(format!("invalid CIDR address: {}", quote(text))))
}

/// A CIDR without any bit behind the prefix.
pub(super) fn network(field: &Cursor<'_>) -> Result<Cidr> {
    let cidr = cidr(field)?;
    if !cidr.is_network() {
        return Err(field.fault(format!(
            "{cidr} has host bits set: for a prefix of {} bits the network address is {}",
            cidr.len,
            cidr.network().ip
        )));
    }
    Ok(cidr)
}

/// The `routes` of an `ipam` object.
pub(super) fn routes(fields: &mut Fields<'_>) -> Result<Vec<Route>> {
    fields.list_of("routes", |field| {
        let mut of = field.fields()?;
        let dst = network(&of.need("dst")?)?;
        let mut route = Route::to(dst, None);
        if let Some(gw) = of.take("gw").filter(|gw| gw.value().as_str() != Some("")) {
            let ip = ip(&gw)?;
            if ip.is_ipv4() != dst.is_v4() {
                return Err(gw.fault(format!("{ip} is of another family than {dst}")));
            }
            route.gw = Some(ip);
        }
        let mut number = |key| of.take(key).map(|field| field.u32()).transpose();
        route.mtu = number("mtu")?.filter(|mtu| *mtu != 0);
        route.advmss = number("advmss")?.filter(|advmss| *advmss != 0);
        route.priority = number("priority")?.filter(|priority| *priority != 0);
        route.table = number("table")?;
        if let Some(scope) = of.take("scope") {
            let number = u8::try_from(scope.u32()?);
            route.scope = Some(number.map_err(|_| scope.fault("is larger than 255"))?);
        }
        Ok(route)
    })
}

/// A `dns` object. The words end up in a resolv.conf, which has no quoting.
pub(crate) fn dns(field: &Cursor<'_>) -> Result<Dns> {
    let word = |field: Cursor<'_>| {
        let text = field.str()?;
        match text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            true => Err(field.fault(format!("{} is not one word", quote(text)))),
            false => Ok(text.to_string()),
        }
    };
    let mut fields = field.fields()?;
    Ok(Dns {
        nameservers: fields.list_of("nameservers", word)?,
        domain: fields
            .take("domain")
            .map(word)
            .transpose()?
            .unwrap_or_default(),
        search: fields.list_of("search", word)?,
        options: fields.list_of("options", word)?,
    })
}

/// The text of a resolv.conf.
pub(super) fn resolv_conf(text: &str) -> Dns {
    let mut dns = Dns::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some(key) = words.next() else {
            continue;
        };
        let mut rest: Vec<String> = words.map(str::to_string).collect();
        match key {
            "nameserver" => dns.nameservers.extend(rest.into_iter().next()),
            "domain" if !rest.is_empty() => dns.domain = rest.swap_remove(0),
            "search" => dns.search.extend(rest),
            "options" => dns.options.extend(rest),
            _ => {}
        }
    }
    dns
}

/// The values of `CNI_ARGS` for `keys`, in the order of these; empty when absent.
/// Others are refused unless `IgnoreUnknown` is among them.
pub(super) fn cni_args<'a, const N: usize>(args: &'a str, keys: [&str; N]) -> Result<[&'a str; N]> {
    let mut values = [""; N];
    let mut unknown = Vec::new();
    let mut ignore_unknown = false;
    for pair in args.split(';').filter(|_| !args.is_empty()) {
        let Some((key, value)) = pair
            .split_once('=')
            .filter(|(_, value)| !value.contains('='))
        else {
            return Err(Fault::invalid(format!(
                "ARGS: invalid pair {}",
                quote(pair)
            )));
        };
        if key == "IgnoreUnknown" {
            ignore_unknown = flag(pair, value)?;
        } else if let Some(at) = keys.iter().position(|known| *known == key) {
            values[at] = value;
        } else {
            unknown.push(quote(pair));
        }
    }
    match unknown.is_empty() || ignore_unknown {
        true => Ok(values),
        false => Err(
            Fault::invalid(format!("ARGS: unknown args [{}]", unknown.join(" ")))
                .hint("IgnoreUnknown=1 makes plugins pass over what they do not know"),
        ),
    }
}

fn flag(pair: &str, value: &str) -> Result<bool> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(Fault::invalid(format!(
            "ARGS: error parsing value of pair {}: boolean unmarshal error: invalid input {value}",
            quote(pair)
        ))),
    }
}

/// The lists `args.cni.ips` and `runtimeConfig.ips` of a plugin's object.
pub(super) fn asked_ips<'a>(
    plugin: &mut Fields<'a>,
) -> Result<(Option<Cursor<'a>>, Option<Cursor<'a>>)> {
    let mut of_args = None;
    if let Some(args) = plugin.take("args")
        && let Some(cni) = args.fields()?.take("cni")
    {
        of_args = cni.fields()?.take("ips");
    }
    let mut of_runtime = None;
    if let Some(runtime) = plugin.take("runtimeConfig") {
        of_runtime = runtime.fields()?.take("ips");
    }
    Ok((of_args, of_runtime))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use model::json;

    #[test]
    fn arguments_are_read_as_cni_does() {
        let keys = ["IP", "GATEWAY"];
        for (args, want) in [
            ("", ["", ""]),
            ("IP=10.1.0.7", ["10.1.0.7", ""]),
            ("GATEWAY=1;IP=2;IP=3", ["3", "1"]),
            ("IP=2;IgnoreUnknown=TRUE;K8S=x", ["2", ""]),
            ("IP=", ["", ""]),
        ] {
            assert_eq!(cni_args(args, keys).unwrap(), want, "{args}");
        }
        for (args, want) in [
            (
                "IP=1;ip=2;Foo=bar",
                "ARGS: unknown args [\"ip=2\" \"Foo=bar\"]",
            ),
            (
                "Foo=bar;IgnoreUnknown=0",
                "ARGS: unknown args [\"Foo=bar\"]",
            ),
            ("IP", "ARGS: invalid pair \"IP\""),
            ("IP=1=2", "ARGS: invalid pair \"IP=1=2\""),
            ("IP=1;", "ARGS: invalid pair \"\""),
            (
                "IgnoreUnknown=maybe",
                "ARGS: error parsing value of pair \"IgnoreUnknown=maybe\": boolean unmarshal \
                 error: invalid input maybe",
            ),
        ] {
            assert_eq!(cni_args(args, keys).unwrap_err().cause, want, "{args}");
        }
    }

    fn routes_of(text: &str) -> Result<Vec<Route>> {
        let value = json::parse(text.as_bytes()).unwrap();
        routes(&mut Cursor::new(&value).fields().unwrap())
    }

    #[test]
    fn routes_have_all_attributes_of_1_1() {
        let all = r#"{"routes": [{"dst": "0.0.0.0/0"},
            {"dst": "fd00::/8", "gw": "fd00::1", "mtu": 1400, "advmss": 1300, "priority": 7,
             "table": 0, "scope": 253},
            {"dst": "10.0.0.0/8", "gw": "", "mtu": 0}]}"#;
        let routes = routes_of(all).unwrap();
        assert_eq!(
            routes[0],
            Route::to(Cidr::parse("0.0.0.0/0").unwrap(), None)
        );
        assert_eq!(routes[1].gw.unwrap().to_string(), "fd00::1");
        assert_eq!((routes[1].mtu, routes[1].advmss), (Some(1400), Some(1300)));
        assert_eq!((routes[1].priority, routes[1].table), (Some(7), Some(0)));
        assert_eq!(routes[1].scope, Some(253));
        assert_eq!(routes[2].mtu, None);
        for (text, want) in [
            (r#"{"routes": [{}]}"#, "routes[0].dst: is missing"),
            (
                r#"{"routes": [{"dst": "10.1.2.3/16"}]}"#,
                "routes[0].dst: 10.1.2.3/16 has host bits set: for a prefix of 16 bits the \
                 network address is 10.1.0.0",
            ),
            (
                r#"{"routes": [{"dst": "0.0.0.0/0", "gw": "::1"}]}"#,
                "routes[0].gw: ::1 is of another family than 0.0.0.0/0",
            ),
            (
                r#"{"routes": [{"dst": "0.0.0.0/0", "scope": 256}]}"#,
                "routes[0].scope: is larger than 255",
            ),
            (
                r#"{"routes": {"dst": "x"}}"#,
                "routes: expected a list, found an object",
            ),
        ] {
            assert_eq!(routes_of(text).unwrap_err().cause, want);
        }
    }

    #[test]
    fn dns_is_words_alone() {
        let read = |text: &str| {
            dns(&Cursor::named(
                &json::parse(text.as_bytes()).unwrap(),
                "dns",
            ))
        };
        let full = r#"{"nameservers": ["1.1.1.1"], "domain": "d", "search": ["a", "b"],
            "options": ["ndots:1"]}"#;
        assert_eq!(read(full).unwrap().search, ["a", "b"]);
        assert!(read("{}").unwrap().is_empty());
        assert_eq!(
            read(r#"{"nameservers": ["1.1.1.1\noptions x"]}"#)
                .unwrap_err()
                .cause,
            "dns.nameservers[0]: \"1.1.1.1\\noptions x\" is not one word"
        );
        let file = "# x\nnameserver 10.0.0.1 \nnameserver\n;y\ndomain d e\ndomain\nsearch a b\n\
                    options ndots:2 rotate\nfoo bar\n";
        let dns = resolv_conf(file);
        assert_eq!(dns.nameservers, ["10.0.0.1"]);
        assert_eq!(dns.domain, "d");
        assert_eq!(dns.search, ["a", "b"]);
        assert_eq!(dns.options, ["ndots:2", "rotate"]);
    }
}
