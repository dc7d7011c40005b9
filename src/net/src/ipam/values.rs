//! Addresses, routes and DNS as configurations write them, and what the caller
//! asks for by `CNI_ARGS`, `args` and `runtimeConfig`.

use crate::outcome::read;
pub(super) use crate::outcome::read::{cidr, ip};
use crate::{Cidr, Dns, Route};
use model::json::{Cursor, Fields};
use model::text::quote;
use model::{Fault, fault::Result};
use std::net::IpAddr;

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
        let route = read::route(field)?;
        match route.gw {
            Some(gw) if gw.is_ipv4() != dst.is_v4() => {
                let place = of.need("gw")?;
                Err(place.fault(format!("{gw} is of another family than {dst}")))
            }
            _ => Ok(route),
        }
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
    let server = |field: Cursor<'_>| {
        let text = field.str()?;
        match text.parse::<IpAddr>() {
            Ok(_) => Ok(text.to_string()),
            Err(_) => Err(field.fault(format!("{} is no IP address", quote(text)))),
        }
    };
    let mut fields = field.fields()?;
    Ok(Dns {
        nameservers: fields.list_of("nameservers", server)?,
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
                "routes[0].scope: 256 is no scope",
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
            "dns.nameservers[0]: \"1.1.1.1\\noptions x\" is no IP address"
        );
        assert_eq!(
            read(r#"{"search": ["a b"]}"#).unwrap_err().cause,
            "dns.search[0]: \"a b\" is not one word"
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
