#![expect(clippy::unwrap_used, reason = "tests")]
use super::super::message::tests::reply;
use super::*;

fn message(options: &[(u8, &[u8])]) -> Message {
    Message {
        xid: 1,
        secs: 0,
        broadcast: true,
        ciaddr: Ipv4Addr::UNSPECIFIED,
        yiaddr: Ipv4Addr::new(10, 1, 2, 3),
        chaddr: [2, 0, 0, 0, 0, 1],
        options: options
            .iter()
            .map(|(code, value)| (*code, value.to_vec()))
            .collect(),
    }
}

const PLAIN: [(u8, &[u8]); 3] = [
    (option::SERVER, &[10, 1, 0, 1]),
    (option::MASK, &[255, 255, 0, 0]),
    (option::LEASE_TIME, &[0, 0, 0, 100]),
];

fn with(more: &[(u8, &[u8])]) -> Result<Terms, &'static str> {
    // The later one of an option would be joined to the earlier one.
    let kept = PLAIN
        .iter()
        .filter(|(code, _)| more.iter().all(|(other, _)| other != code));
    let options: Vec<_> = kept.chain(more).copied().collect();
    Terms::read(&message(&options))
}

fn routes(terms: &Terms) -> Vec<String> {
    let text = |route: &Route| match route.gw {
        Some(gw) => format!("{} via {gw}", route.dst),
        None => route.dst.to_string(),
    };
    terms.routes().iter().map(text).collect()
}

#[test]
fn the_least_that_makes_a_lease() {
    let terms = with(&[]).unwrap();
    assert_eq!(terms.address.to_string(), "10.1.2.3/16");
    assert_eq!(terms.server, Ipv4Addr::new(10, 1, 0, 1));
    let times = terms.times.unwrap();
    assert_eq!(times.renew, Duration::from_secs(50));
    assert_eq!(times.rebind, Duration::from_millis(87_500));
    assert_eq!(times.expire, Duration::from_secs(100));
    let outcome = terms.outcome();
    assert_eq!(outcome.ips[0].gateway, None);
    assert!(outcome.routes.is_empty() && outcome.dns.is_empty());
}

#[test]
fn without_these_it_is_none() {
    for (code, _) in PLAIN {
        let options: Vec<_> = PLAIN.into_iter().filter(|(c, _)| *c != code).collect();
        assert!(Terms::read(&message(&options)).is_err(), "{code}");
        assert!(with(&[(code, &[1, 2])]).is_err(), "{code}");
    }
    assert!(with(&[(option::LEASE_TIME, &[0; 4])]).is_err());
    assert!(with(&[(option::MASK, &[255, 0, 255, 0])]).is_err());
    assert!(with(&[(option::MASK, &[0; 4])]).is_err());
    assert!(with(&[(option::SERVER, &[0; 4])]).is_err());
}

#[test]
fn an_address_must_be_a_hosts() {
    for ip in [
        [0, 0, 0, 0],
        [127, 0, 0, 1],
        [224, 0, 0, 1],
        [255, 255, 255, 255],
        [10, 1, 0, 0],
        [10, 1, 255, 255],
    ] {
        let mut message = message(&PLAIN);
        message.yiaddr = ip.into();
        assert!(Terms::read(&message).is_err(), "{ip:?}");
    }
    let mut message = message(&PLAIN);
    message.options[1].1 = vec![255; 4];
    assert_eq!(Terms::read(&message).unwrap().address.len, 32);
}

#[test]
fn times_of_a_server_count_when_they_make_sense() {
    let times = |renew: u8, rebind: u8| {
        let terms = with(&[
            (option::RENEW_TIME, &[0, 0, 0, renew]),
            (option::REBIND_TIME, &[0, 0, 0, rebind]),
        ]);
        let times = terms.unwrap().times.unwrap();
        (times.renew.as_secs(), times.rebind.as_secs())
    };
    assert_eq!(times(10, 20), (10, 20));
    assert_eq!(times(0, 0), (50, 87));
    assert_eq!(times(200, 90), (50, 90));
    assert_eq!(times(30, 200), (30, 87));
    assert_eq!(times(20, 10), (10, 10));
    let for_ever = with(&[(option::LEASE_TIME, &[255; 4])]).unwrap();
    assert_eq!(for_ever.times, None);
}

#[test]
fn routes_by_the_router_by_class_and_without_classes() {
    const ROUTER: (u8, &[u8]) = (option::ROUTER, &[10, 1, 0, 9, 10, 1, 0, 8]);
    const CLASSFUL: (u8, &[u8]) = (
        option::STATIC_ROUTES,
        &[
            192, 168, 5, 0, 10, 1, 0, 7, 172, 20, 1, 1, 10, 1, 0, 7, 0, 0, 0, 0, 10, 1, 0, 7,
        ],
    );
    let terms = with(&[ROUTER, CLASSFUL]).unwrap();
    assert_eq!(
        routes(&terms),
        [
            "192.168.5.0/24 via 10.1.0.7",
            "172.20.1.1/32 via 10.1.0.7",
            "0.0.0.0/0 via 10.1.0.9"
        ]
    );
    let gateway: std::net::IpAddr = Ipv4Addr::new(10, 1, 0, 9).into();
    assert_eq!(terms.outcome().ips[0].gateway, Some(gateway));
    let classless: &[u8] = &[
        0, 10, 1, 0, 1, // default
        24, 10, 7, 7, 10, 1, 0, 2, // a network
        25, 10, 7, 8, 128, 0, 0, 0, 0, // on the link
        32, 8, 8, 8, 8, 10, 1, 0, 3, // a host
        8, 127, 10, 1, 0, 3, // not into the pod itself
    ];
    let terms = with(&[ROUTER, CLASSFUL, (option::ROUTES, classless)]).unwrap();
    assert_eq!(
        routes(&terms),
        [
            "0.0.0.0/0 via 10.1.0.1",
            "10.7.7.0/24 via 10.1.0.2",
            "10.7.8.128/25",
            "8.8.8.8/32 via 10.1.0.3"
        ]
    );
    for bad in [&[33, 1, 1, 1, 1, 1, 10, 1, 0, 1][..], &[24, 10, 7], &[0, 1]] {
        assert!(with(&[(option::ROUTES, bad)]).is_err(), "{bad:?}");
    }
}

#[test]
fn names_are_names() {
    let dns = |options: &[(u8, &[u8])]| with(options).unwrap().outcome().dns;
    let good = dns(&[
        (option::DNS, &[10, 1, 0, 53, 127, 0, 0, 1, 9, 9, 9, 9]),
        (option::DOMAIN, b"example.com\0"),
        (
            option::SEARCH,
            b"\x03eng\x07example\x03com\0\x05sales\xc0\x04",
        ),
    ]);
    assert_eq!(good.nameservers, ["10.1.0.53", "9.9.9.9"]);
    assert_eq!(good.domain, "example.com");
    assert_eq!(good.search, ["eng.example.com", "sales.example.com"]);
    for bad in [
        &b"a b"[..],
        b"x\nnameserver 6.6.6.6",
        b"..",
        b"",
        &[b'a'; 254],
        &[0xff],
    ] {
        assert_eq!(dns(&[(option::DOMAIN, bad)]).domain, "", "{bad:?}");
    }
    for bad in [
        &b"\x03eng"[..],
        b"\xc0\x00",
        b"\x01a\xc0\x00",
        b"\x01a\xc0\x02",
        b"\xc0",
        b"\x80a",
        b"\x03a\nb\0",
    ] {
        assert!(dns(&[(option::SEARCH, bad)]).search.is_empty(), "{bad:?}");
    }
}

/// Whatever stands in the options: no panic, and what is granted holds.
#[test]
fn garbage_grants_nothing_strange() {
    let mut state = 12345u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let codes = [1, 3, 6, 15, 26, 33, 51, 54, 58, 59, 119, 121];
    let mut granted = 0;
    for _ in 0..20_000 {
        let mut noisy = message(&PLAIN);
        for _ in 0..next() % 8 {
            let code = codes[usize::from(next()) % codes.len()];
            let value = (0..next() % 40).map(|_| next()).collect();
            let at = usize::from(next()) % (noisy.options.len() + 1);
            noisy.options.insert(at, (code, value));
        }
        let mut bytes = reply(&noisy);
        for _ in 0..next() % 3 {
            let at = (usize::from(next()) + 100) % bytes.len();
            bytes[at] = next();
        }
        bytes.truncate(bytes.len() - usize::from(next() % 16));
        let Ok(terms) = Message::parse(&bytes).and_then(|message| Terms::read(&message)) else {
            continue;
        };
        granted += 1;
        assert!(terms.routes().iter().all(|route| route.dst.is_network()));
        let dns = terms.outcome().dns;
        for text in dns.search.iter().chain([&dns.domain]) {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            assert!(text.chars().all(plain), "{text:?}");
        }
        if let Some(times) = terms.times {
            assert!(times.renew <= times.rebind && times.rebind <= times.expire);
        }
    }
    assert!(granted > 100, "{granted}: the noise drowned everything");
}
