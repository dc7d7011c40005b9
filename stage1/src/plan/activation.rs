//! Which app takes which of the sockets that rkt was handed (sd_listen_fds(3)): pure, from their ports and the pod's
//! manifest.
//!
//! A port that the image declares `socketActivated` takes the sockets that are bound to its port of the host (`--port`),
//! or to its own number. An app alone in its pod, with no such port, takes them all. A socket that nobody takes is no
//! error, but is said.

use model::{App, ExposedPort, Fault};

/// A socket that was handed over, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed {
    /// Of `LISTEN_FDNAMES`; `unknown` without.
    pub name: String,
    /// Protocol and port of an internet socket; a unix socket has none.
    pub port: Option<(Protocol, u16)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    fn is(self, word: &str) -> bool {
        word == match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

/// For each app the places of its sockets in `handed`, in order; and what is to be said.
pub fn share(
    handed: &[Handed],
    apps: &[(&str, &App)],
    exposed: &[ExposedPort],
) -> Result<(Vec<Vec<usize>>, Vec<String>), Fault> {
    let mut shares = vec![Vec::new(); apps.len()];
    let mut warnings = Vec::new();
    if handed.is_empty() {
        return Ok((shares, warnings));
    }
    let activated = |app: &App| app.ports.iter().any(|port| port.socket_activated);
    if let [(_, app)] = apps
        && !activated(app)
    {
        shares[0] = (0..handed.len()).collect();
        return Ok((shares, warnings));
    }
    for (at, socket) in handed.iter().enumerate() {
        let mut takers = (0..apps.len()).filter(|app| takes(apps[*app].1, socket, exposed));
        match (takers.next(), takers.next()) {
            (Some(one), None) => shares[one].push(at),
            (Some(one), Some(other)) => {
                return Err(Fault::conflict(format!(
                    "the socket \"{}\" is wanted by app \"{}\" and by app \"{}\"",
                    socket.name, apps[one].0, apps[other].0
                ))
                .hint("give their ports different ports of the host (--port)"));
            }
            (None, _) => warnings.push(format!(
                "warning: no app of the pod has a socketActivated port for the socket \"{}\"",
                socket.name
            )),
        }
    }
    Ok((shares, warnings))
}

fn takes(app: &App, socket: &Handed, exposed: &[ExposedPort]) -> bool {
    let Some((protocol, number)) = socket.port else {
        return false;
    };
    app.ports
        .iter()
        .filter(|port| port.socket_activated && protocol.is(&port.protocol))
        .any(|port| {
            let host = exposed.iter().find(|exposed| exposed.name == port.name);
            let first = host.map_or(port.port, |exposed| exposed.host_port);
            (first..=first.saturating_add(port.count.max(1) - 1)).contains(&number)
        })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use model::AcName;
    use model::app::Port;

    fn app(ports: &[(&str, u16, bool)]) -> App {
        let port = |(name, port, socket_activated): &(&str, u16, bool)| Port {
            name: AcName::new(name).unwrap(),
            protocol: "tcp".into(),
            port: *port,
            count: 1,
            socket_activated: *socket_activated,
            extra: Vec::new(),
        };
        App {
            ports: ports.iter().map(port).collect(),
            ..App::default()
        }
    }

    fn tcp(port: u16) -> Handed {
        Handed {
            name: format!("s{port}"),
            port: Some((Protocol::Tcp, port)),
        }
    }

    #[test]
    fn by_port_of_the_host_else_by_its_own() {
        let (web, db) = (app(&[("http", 80, true)]), app(&[("sql", 5432, true)]));
        let exposed = [ExposedPort::parse_flag("http:8080").unwrap()];
        let apps = [("web", &web), ("db", &db)];
        let (shares, warnings) = share(&[tcp(5432), tcp(8080), tcp(80)], &apps, &exposed).unwrap();
        assert_eq!(shares, [vec![1], vec![0]]);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("s80"), "{warnings:?}");
        let udp = Handed {
            name: "u".into(),
            port: Some((Protocol::Udp, 5432)),
        };
        assert_eq!(share(&[udp], &apps, &[]).unwrap().0, [[0_usize; 0], []]);
    }

    #[test]
    fn an_app_alone_takes_all_unless_it_says_which() {
        let plain = app(&[("http", 80, false)]);
        let unix = Handed {
            name: "u".into(),
            port: None,
        };
        let handed = [unix, tcp(99)];
        assert_eq!(share(&handed, &[("a", &plain)], &[]).unwrap().0, [[0, 1]]);
        let picky = app(&[("http", 99, true)]);
        assert_eq!(share(&handed, &[("a", &picky)], &[]).unwrap().0, [[1]]);
    }

    #[test]
    fn two_takers_are_refused() {
        let one = app(&[("http", 80, true)]);
        let err = share(&[tcp(80)], &[("a", &one), ("b", &one)], &[]).unwrap_err();
        assert!(err.to_string().contains("wanted by app"), "{err}");
    }
}
