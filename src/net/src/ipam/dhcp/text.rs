//! A lease as one line of text: it is granted in one process and renewed in
//! another. The last word proves that nothing is cut off.

use super::{Lease, Times};
use crate::Cidr;
use model::{Fault, fault::Result};
use std::time::Duration;

impl Lease {
    /// No field has a space or a newline in it.
    pub fn to_text(&self) -> String {
        let id: String = self
            .client_id
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let times = self.times.as_ref().map_or_else(String::new, |times| {
            let [renew, rebind, expire] =
                [times.renew, times.rebind, times.expire].map(|time| time.as_nanos());
            format!(" {renew} {rebind} {expire}")
        });
        format!(
            "{} {id} {} {} {}{times} end",
            self.if_name,
            self.server,
            self.address,
            self.since.as_nanos()
        )
    }

    pub fn parse(text: &str) -> Result<Lease> {
        read(text).ok_or_else(|| Fault::corrupt(format!("{text:?} is no lease")))
    }
}

fn read(text: &str) -> Option<Lease> {
    let words: Vec<&str> = text.split(' ').collect();
    let [if_name, id, server, address, since, times @ .., "end"] = &words[..] else {
        return None;
    };
    Some(Lease {
        if_name: (*if_name).to_string(),
        client_id: bytes(id)?,
        server: server.parse().ok()?,
        address: Cidr::parse(address).ok()?,
        since: nanos(since)?,
        times: match times {
            [] => None,
            [renew, rebind, expire] => Some(Times {
                renew: nanos(renew)?,
                rebind: nanos(rebind)?,
                expire: nanos(expire)?,
            }),
            _ => return None,
        },
    })
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes();
    let pairs = digits.chunks(2).map(|pair| {
        let text = std::str::from_utf8(pair)
            .ok()
            .filter(|text| text.len() == 2)?;
        u8::from_str_radix(text, 16).ok()
    });
    pairs.collect()
}

fn nanos(text: &str) -> Option<Duration> {
    text.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let lasting = Lease {
            if_name: "eth0".into(),
            client_id: vec![0, b'a', 255],
            server: [10, 0, 0, 1].into(),
            address: Cidr::parse("10.0.0.9/24").unwrap(),
            since: Duration::from_nanos(12_345_678_901),
            times: None,
        };
        let short = Lease {
            times: Some(Times {
                renew: Duration::from_secs(5),
                rebind: Duration::from_millis(8_500),
                expire: Duration::from_secs(10),
            }),
            ..lasting.clone()
        };
        for lease in [lasting, short] {
            let text = lease.to_text();
            assert_eq!(Lease::parse(&text).unwrap(), lease, "{text}");
            assert!(Lease::parse(&text[..text.len() / 2]).is_err());
        }
        for text in [
            "",
            "eth0",
            "eth0 0 10.0.0.1 10.0.0.9/24 1 end",
            "eth0 00 10.0.0.1 10.0.0.9/24 1 2 end",
        ] {
            assert!(Lease::parse(text).is_err(), "{text}");
        }
    }
}
