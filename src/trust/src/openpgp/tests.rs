//! What needs no gpg: a key and a signature that one made once, and files that
//! somebody broke. The table of verdicts is in `tests/gpg.rs`.

use super::*;

const ALICE: &str = include_str!("../testdata/alice.asc");
const BOB: &str = include_str!("../testdata/bob.asc");
const SIGNATURE: &str = include_str!("../testdata/alice.sig.asc");
const DATA: &[u8] = b"signed by alice\n";
const NOW: u64 = 1_800_000_000;

fn keys(text: &str) -> Keys {
    Keys {
        keys: PublicKey::parse(text.as_bytes()).expect("gpg made it"),
        notes: Vec::new(),
    }
}

fn check(keys: &Keys, signature: &[u8], data: &[u8], now: u64) -> Result<Signer> {
    let mut check = Check::new(signature)?;
    check.update(data);
    check.finish(keys, now)
}

#[test]
fn a_good_signature_names_its_maker() {
    let signer = check(&keys(ALICE), SIGNATURE.as_bytes(), DATA, NOW).expect("it is good");
    assert_eq!(signer.user_ids, ["alice <alice@example.com>"]);
    assert_eq!(signer.fingerprint, keys(ALICE).keys[0].fingerprint());
    let early = check(&keys(ALICE), SIGNATURE.as_bytes(), DATA, 1_000_000_000);
    assert!(early.is_err_and(|fault| fault.cause.contains("look at the clock")));
}

#[test]
fn a_stranger_is_told_from_a_forger() {
    use model::Kind;
    let kind = |keys: &Keys, data: &[u8]| {
        let verdict = check(keys, SIGNATURE.as_bytes(), data, NOW);
        verdict.map_err(|fault| fault.kind)
    };
    assert_eq!(kind(&keys(BOB), DATA), Err(Kind::NotFound));
    assert_eq!(kind(&keys(ALICE), b"other"), Err(Kind::Refused));
    let check = Check::new(SIGNATURE.as_bytes()).expect("it is one");
    assert!(check.expect_signer(&keys(ALICE)).is_ok());
    assert!(check.expect_signer(&keys(BOB)).is_err());
}

#[test]
fn broken_files_are_errors_and_no_more() {
    let (alice, bob) = (keys(ALICE), keys(BOB));
    for text in [ALICE, SIGNATURE] {
        for at in (0..text.len()).step_by(3) {
            for to in [0, b'=', b'\n'] {
                let mut bytes = text.as_bytes().to_vec();
                bytes[at] = to;
                let _ = PublicKey::parse(&bytes);
                let _ = check(&alice, &bytes, DATA, NOW);
            }
            let _ = PublicKey::parse(&text.as_bytes()[..at]);
            assert!(check(&bob, &text.as_bytes()[..at], DATA, NOW).is_err());
        }
    }
    let large = vec![b'-'; MAX_KEY + 1];
    assert!(PublicKey::parse(&large).is_err_and(|fault| fault.cause.contains("more than")));
    let packets = [0xc2, 0].repeat(32 * 1024);
    assert!(Check::new(&packets).is_err());
    // A packet that claims four gigabytes.
    assert!(Check::new(&[0xc2, 0xff, 0xff, 0xff, 0xff, 0xff, 4]).is_err());
}

#[test]
fn binary_octets_of_a_signature_may_all_break() {
    let armored = SIGNATURE
        .lines()
        .skip(2)
        .take_while(|line| !line.starts_with('='));
    let good = model::base64::decode(&armored.collect::<String>()).expect("base64");
    assert!(check(&keys(ALICE), &good, DATA, NOW).is_ok());
    let alice = keys(ALICE);
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        // Only the area that nothing vouches for may change.
        if check(&alice, &bytes, DATA, NOW).is_ok() {
            assert!(
                (good.len() - 80..good.len() - 64).contains(&at),
                "octet {at}"
            );
        }
    }
}
