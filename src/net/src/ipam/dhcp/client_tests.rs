#![expect(clippy::unwrap_used, reason = "tests")]
use super::super::message::tests::reply;
use super::*;
use std::sync::atomic::{AtomicU32, Ordering};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];
const SERVER: [u8; 4] = [10, 0, 0, 1];

fn random() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(256, Ordering::SeqCst)
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(1000 + seconds)
}

fn client() -> Client {
    Client::new(MAC, b"\0id".to_vec(), random, at(0))
}

/// What a good server says to whatever the client asked last.
fn answer(client: &Client, kind: u8) -> Message {
    Message {
        xid: client.xid,
        secs: 0,
        broadcast: true,
        ciaddr: Ipv4Addr::UNSPECIFIED,
        yiaddr: Ipv4Addr::new(10, 0, 0, 5),
        chaddr: MAC,
        options: vec![
            (option::KIND, vec![kind]),
            (option::SERVER, SERVER.to_vec()),
            (option::MASK, vec![255, 255, 255, 0]),
            (option::LEASE_TIME, vec![0, 0, 0, 100]),
        ],
    }
}

/// The message that is sent at `now`, read back, and to whom.
fn sent(client: &mut Client, now: Duration) -> (Message, To) {
    let Task::Send(mut bytes, to) = client.tick(now) else {
        panic!("nothing is sent");
    };
    assert_eq!(client.tick(now), Task::Nothing, "once is enough");
    bytes[0] = 2;
    (Message::parse(&bytes).unwrap(), to)
}

fn tell(client: &mut Client, now: Duration, message: &Message) -> News {
    client.receive(now, &reply(message))
}

/// With a lease of 100 s from `at(0)`.
fn bound() -> Client {
    let mut client = client();
    sent(&mut client, at(0));
    let offer = answer(&client, message::OFFER);
    assert_eq!(tell(&mut client, at(0), &offer), News::None);
    sent(&mut client, at(0));
    let ack = answer(&client, message::ACK);
    assert!(matches!(tell(&mut client, at(0), &ack), News::Granted(..)));
    client
}

#[test]
fn four_messages_make_a_lease() {
    let mut client = client();
    let (discover, to) = sent(&mut client, at(0));
    assert_eq!((discover.kind(), to), (Some(message::DISCOVER), To::Link));
    assert!(discover.broadcast && discover.ciaddr.is_unspecified());
    assert_eq!(discover.get(option::CLIENT_ID).unwrap(), b"\0id");
    let offer = answer(&client, message::OFFER);
    tell(&mut client, at(1), &offer);
    let (request, to) = sent(&mut client, at(1));
    assert_eq!((request.kind(), to), (Some(message::REQUEST), To::Link));
    assert_eq!(request.xid, discover.xid);
    assert_eq!(request.address(option::SERVER), Some(SERVER.into()));
    let wanted = request.address(option::WANTED_ADDRESS);
    assert_eq!(wanted, Some(Ipv4Addr::new(10, 0, 0, 5)));
    let ack = answer(&client, message::ACK);
    let News::Granted(terms, held) = tell(&mut client, at(2), &ack) else {
        panic!("no lease");
    };
    assert_eq!(terms.address, held.address);
    assert_eq!(held.since, at(1), "from when it was asked for");
    assert_eq!((client.due(), client.ear()), (Some(at(51)), None));
}

#[test]
fn silence_is_asked_again_ever_more_slowly() {
    let mut client = client();
    let mut pauses = Vec::new();
    let mut now = at(0);
    for _ in 0..12 {
        sent(&mut client, now);
        pauses.push((client.due().unwrap() - now).as_millis());
        now = client.due().unwrap();
    }
    assert!(pauses[0] < 1000);
    assert!(pauses.windows(2).take(6).all(|two| two[0] < two[1]));
    assert!(pauses.iter().all(|pause| *pause < 65_000));
}

#[test]
fn an_offer_that_leads_nowhere_is_given_up() {
    let mut client = client();
    sent(&mut client, at(0));
    let offer = answer(&client, message::OFFER);
    tell(&mut client, at(0), &offer);
    let mut kinds = Vec::new();
    for _ in 0..5 {
        let now = client.due().unwrap();
        kinds.push(sent(&mut client, now).0.kind().unwrap());
    }
    assert_eq!(kinds, [3, 3, 3, 3, message::DISCOVER]);
}

#[test]
fn answers_that_are_not_for_us_do_nothing() {
    let mut client = client();
    sent(&mut client, at(0));
    let good = answer(&client, message::OFFER);
    let mut other_xid = good.clone();
    other_xid.xid ^= 1;
    let mut other_mac = good.clone();
    other_mac.chaddr[5] ^= 1;
    let mut other_kind = good.clone();
    other_kind.options[0].1 = vec![message::ACK];
    for message in [other_xid, other_mac, other_kind] {
        assert_eq!(tell(&mut client, at(0), &message), News::None);
        assert_eq!(client.phase, Phase::Select);
    }
    assert_eq!(client.complaint(), None);
    let mut useless = good.clone();
    useless.options.pop();
    tell(&mut client, at(0), &useless);
    assert!(client.complaint().unwrap().contains("no lease time"));
    tell(&mut client, at(0), &good);
    // Another server has nothing to say about this one's offer.
    for kind in [message::ACK, message::NAK] {
        let mut rogue = answer(&client, kind);
        rogue.options[1].1 = vec![10, 0, 0, 66];
        assert_eq!(tell(&mut client, at(0), &rogue), News::None);
    }
    assert!(matches!(client.phase, Phase::Request(_)));
}

#[test]
fn a_refused_request_starts_over_but_not_at_once() {
    let mut client = client();
    sent(&mut client, at(0));
    let offer = answer(&client, message::OFFER);
    tell(&mut client, at(0), &offer);
    sent(&mut client, at(0));
    let xid = client.xid;
    let nak = answer(&client, message::NAK);
    tell(&mut client, at(0), &nak);
    assert_eq!(client.tick(at(0)), Task::Nothing);
    let (discover, _) = sent(&mut client, at(1));
    assert_eq!(discover.kind(), Some(message::DISCOVER));
    assert_ne!(discover.xid, xid);
}

#[test]
fn a_lease_is_renewed_with_its_server_first() {
    let mut client = bound();
    assert_eq!(client.tick(at(49)), Task::Nothing);
    let (request, to) = sent(&mut client, at(50));
    assert_eq!(to, To::Server(SERVER.into()));
    assert_eq!(request.ciaddr, Ipv4Addr::new(10, 0, 0, 5));
    assert!(!request.broadcast && request.get(option::SERVER).is_none());
    assert_eq!(request.get(option::WANTED_ADDRESS), None);
    assert_eq!(client.ear(), Some(Ear::Datagram));
    let mut other = answer(&client, message::ACK);
    other.yiaddr = Ipv4Addr::new(10, 0, 0, 6);
    assert_eq!(tell(&mut client, at(50), &other), News::None);
    let ack = answer(&client, message::ACK);
    assert_eq!(tell(&mut client, at(51), &ack), News::Renewed);
    assert_eq!(client.due(), Some(at(100)));
}

#[test]
fn then_with_any_and_then_it_is_lost() {
    let mut client = bound();
    let mut seen = Vec::new();
    let dropped = loop {
        let now = client.due().unwrap();
        match client.tick(now) {
            Task::Send(_, to) => seen.push((now, to)),
            Task::Drop(address) => break (now, address.to_string()),
            Task::Nothing => panic!("due, and nothing to do"),
        }
        assert!(seen.len() < 30, "a flood");
    };
    assert_eq!(dropped, (at(100), "10.0.0.5/24".into()));
    let rebind = at(87) + Duration::from_millis(500);
    for (when, to) in &seen {
        let wanted = match *when < rebind {
            true => To::Server(SERVER.into()),
            false => To::All,
        };
        assert_eq!(*to, wanted, "{when:?}");
    }
    assert!(seen.iter().any(|(when, _)| *when == rebind));
    let (discover, _) = sent(&mut client, at(100));
    assert_eq!(discover.kind(), Some(message::DISCOVER));
}

#[test]
fn another_server_may_take_over_when_the_first_is_gone() {
    let mut client = bound();
    sent(&mut client, at(90));
    let mut ack = answer(&client, message::ACK);
    ack.options[1].1 = vec![10, 0, 0, 2];
    assert_eq!(tell(&mut client, at(90), &ack), News::Renewed);
    let (_, to) = sent(&mut client, at(145));
    assert_eq!(to, To::Server([10, 0, 0, 2].into()));
}

#[test]
fn a_refused_renewal_loses_the_address_at_once() {
    let mut client = bound();
    sent(&mut client, at(50));
    let nak = answer(&client, message::NAK);
    assert!(matches!(tell(&mut client, at(50), &nak), News::Lost(_)));
    assert_eq!(client.ear(), Some(Ear::Packet));
}

#[test]
fn after_a_long_sleep_the_lease_is_gone() {
    let mut client = bound();
    assert!(matches!(client.tick(at(100_000)), Task::Drop(_)));
}

#[test]
fn a_lease_for_ever_needs_nothing() {
    let mut client = client();
    sent(&mut client, at(0));
    let offer = answer(&client, message::OFFER);
    tell(&mut client, at(0), &offer);
    sent(&mut client, at(0));
    let mut ack = answer(&client, message::ACK);
    ack.options[3].1 = vec![255; 4];
    tell(&mut client, at(0), &ack);
    assert_eq!(client.due(), None);
    assert_eq!(client.tick(at(1 << 40)), Task::Nothing);
}

#[test]
fn giving_back_names_address_and_server() {
    let client = client();
    let own = Ipv4Addr::new(10, 0, 0, 5);
    let mut bytes = client.inform(own);
    bytes[0] = 2;
    let inform = Message::parse(&bytes).unwrap();
    assert_eq!((inform.kind(), inform.ciaddr), (Some(message::INFORM), own));
    let ack = reply(&answer(&client, message::ACK));
    assert_eq!(client.informed(&ack), Some(SERVER.into()));
    let mut bytes = client.release(own, SERVER.into());
    bytes[0] = 2;
    let release = Message::parse(&bytes).unwrap();
    assert_eq!(release.kind(), Some(message::RELEASE));
    assert_eq!(release.ciaddr, own);
    assert_eq!(release.address(option::SERVER), Some(SERVER.into()));
    assert_eq!(release.get(option::WANTED_OPTIONS), None);
}
