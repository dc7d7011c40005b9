//! An `Outcome` as the result of a given version of the specification.
//!
//! What that version has no place for is left out; what it wants beyond the
//! outcome (an address's family, a route's gateway) follows from it.

use super::{Dns, Interface, Ip, Outcome, Spec};
use crate::Route;
use model::Value;

type Fields = Vec<(&'static str, Value)>;

impl Outcome {
    /// `version` is checked by whoever read it; what is none counts as 0.1.0.
    pub fn to_json(&self, version: &str) -> Value {
        let spec = Spec::of(version);
        let mut fields = vec![("cniVersion", Value::from(version))];
        if spec < Spec::V0_3 {
            for (key, ip) in [("ip4", self.first_v4()), ("ip6", self.first_v6())] {
                fields.extend(ip.map(|ip| (key, self.family(ip))));
            }
        } else {
            let lists = [
                (
                    "interfaces",
                    list(&self.interfaces, |one| interface(one, spec)),
                ),
                ("ips", list(&self.ips, |ip| address(ip, spec))),
                ("routes", list(&self.routes, |one| route(one, None, spec))),
            ];
            fields.extend(lists.into_iter().filter(|(_, list)| !is_empty(list)));
        }
        fields.push(("dns", dns(&self.dns)));
        Value::from_iter(fields)
    }

    /// One address of 0.1.0, with the routes of its family.
    fn family(&self, ip: &Ip) -> Value {
        let v4 = ip.address.is_v4();
        let routes: Vec<&Route> = self.routes.iter().filter(|r| r.dst.is_v4() == v4).collect();
        let mut fields = vec![("ip", Value::from(ip.address.to_string()))];
        fields.extend(
            ip.gateway
                .map(|gw| ("gateway", Value::from(gw.to_string()))),
        );
        if !routes.is_empty() {
            let routes = list(&routes, |one| route(one, ip.gateway, Spec::V0_1));
            fields.push(("routes", routes));
        }
        Value::from_iter(fields)
    }
}

fn interface(interface: &Interface, spec: Spec) -> Value {
    let mut fields = vec![("name", Value::from(interface.name.as_str()))];
    push_text(&mut fields, "mac", &interface.mac);
    if spec >= Spec::V1_1 {
        fields.extend(interface.mtu.map(|mtu| ("mtu", mtu.into())));
    }
    push_text(&mut fields, "sandbox", &interface.sandbox);
    Value::from_iter(fields)
}

fn address(ip: &Ip, spec: Spec) -> Value {
    let mut fields = Fields::new();
    if spec < Spec::V1_0 {
        let family = if ip.address.is_v4() { "4" } else { "6" };
        fields.push(("version", family.into()));
    }
    fields.extend(ip.interface.map(|index| ("interface", index.into())));
    fields.push(("address", ip.address.to_string().into()));
    fields.extend(ip.gateway.map(|gw| ("gateway", gw.to_string().into())));
    Value::from_iter(fields)
}

fn route(route: &Route, gateway: Option<std::net::IpAddr>, spec: Spec) -> Value {
    let mut fields = vec![("dst", Value::from(route.dst.to_string()))];
    let gw = route.gw.or(gateway);
    fields.extend(gw.map(|gw| ("gw", gw.to_string().into())));
    if spec >= Spec::V1_1 {
        let numbers = [
            ("mtu", route.mtu),
            ("advmss", route.advmss),
            ("priority", route.priority),
            ("table", route.table),
            ("scope", route.scope.map(u32::from)),
        ];
        fields.extend(
            numbers
                .into_iter()
                .filter_map(|(key, n)| Some((key, n?.into()))),
        );
    }
    Value::from_iter(fields)
}

fn dns(dns: &Dns) -> Value {
    let mut fields = Fields::new();
    let mut push_list = |key, texts: &[String]| {
        if !texts.is_empty() {
            fields.push((key, list(texts, |text| text.as_str().into())));
        }
    };
    push_list("nameservers", &dns.nameservers);
    push_list("search", &dns.search);
    push_list("options", &dns.options);
    push_text(&mut fields, "domain", &dns.domain);
    Value::from_iter(fields)
}

fn push_text(fields: &mut Fields, key: &'static str, text: &str) {
    if !text.is_empty() {
        fields.push((key, text.into()));
    }
}

fn list<T>(items: &[T], write: impl Fn(&T) -> Value) -> Value {
    Value::Array(items.iter().map(write).collect())
}

fn is_empty(list: &Value) -> bool {
    list.as_array().is_some_and(Vec::is_empty)
}
