//! Every parser of text against mangled input: none may panic, and what is
//! accepted must print and parse back to the same.
//!
//! The mangling is deterministic, so a failure repeats.

use crate::docker::DockerReference;
use crate::label::Annotation;
use crate::oci::{Platform, Provenance, save};
use crate::options::{self, EnvFiles, InsecureOptions};
use crate::pod::{ExposedPort, Mount, Volume};
use crate::reference::Reference;
use crate::{
    AcIdentifier, AcName, ImageId, PodUuid, Quantity, Version, base64, config, duration, text, time,
};

const SEEDS: [&str; 22] = [
    "example.com/app:v1,os=linux,arch=amd64",
    "cimd:appc:v=0:example.com/a?version=1+2%20&os=linux",
    "cimd:aci-archive:v=0:file%3A%2F%2F%2Fa.aci",
    "docker://[::1]:5000/a/b__c:tag@sha256:00",
    "file:///a/../b%20c.aci?x#y",
    "https://user@host:1/a/b.aci",
    "data,kind=host,source=/srv,readOnly=true,recursive=false",
    "data,kind=empty,mode=0700,uid=1,gid=2,target=/m",
    "volume=data,target=/a%2Cb+c",
    "http:127.0.0.1:8080",
    "web:tcp:80:0.0.0.0:8080",
    "-1.5e-3",
    "12345678901234567890.12345678901234567890Gi",
    "1h30m0.000000001s",
    "2016-01-02T03:04:05.678901234+01:30",
    "1.30.0-alpha.1+git",
    "6d30845e-5d5c-4dcb-b565-b304e87f5e7b",
    "sha512-93e4d1919733bc76aee6a40686485cb4bc3bc628ee6790bc08bbe68a1eb33f9a",
    "mode=retain,errno=EPERM,read,@rkt/default-whitelist",
    "image,tls,all-run",
    "10.0.0.1=name,host,none,8.8.8.8",
    r#"{"rktKind":"stage1","rktVersion":"v1","name":"n","version":"v","location":"https://x"}"#,
];

const SPICE: [&str; 16] = [
    "",
    "\0",
    "é",
    "日",
    "%",
    "%2",
    "+",
    "-",
    ".",
    "/",
    ":",
    "=",
    ",",
    "@",
    "9999999999",
    "\u{202e}",
];

fn feed(word: &str) {
    for exists in [true, false] {
        if let Ok(reference) = Reference::parse(word, &|_| exists, "/cwd") {
            let _ = reference.to_string();
            if let Some(uri) = reference.to_cimd() {
                let back = Reference::parse(&uri, &|_| false, "/").expect("we wrote it");
                assert_eq!(back.to_cimd().as_deref(), Some(uri.as_str()), "{word}");
            }
        }
    }
    if let Ok(reference) = DockerReference::parse(word) {
        assert_eq!(
            DockerReference::parse(&reference.to_string()).ok(),
            Some(reference),
            "{word}"
        );
    }
    if let Ok(platform) = Platform::parse(word) {
        assert_eq!(
            Platform::parse(&platform.to_string()).ok(),
            Some(platform),
            "{word}"
        );
    }
    if let Ok(bytes) = base64::decode(word) {
        assert_eq!(base64::encode(&bytes), word);
    }
    let _ = save::member(word);
    let _ = Provenance::of_local(word, Some(word));
    if let Ok(quantity) = Quantity::parse(word) {
        assert_eq!(
            Quantity::parse(&quantity.to_string()).ok(),
            Some(quantity),
            "{word}"
        );
    }
    if let Ok(nanoseconds) = duration::parse(word) {
        assert_eq!(
            duration::parse(&duration::to_text(nanoseconds)).ok(),
            Some(nanoseconds),
            "{word}"
        );
    }
    if let Ok(version) = Version::parse(word) {
        assert_eq!(
            Version::parse(&version.to_string()).ok(),
            Some(version),
            "{word}"
        );
    }
    if let Ok(uuid) = PodUuid::new(word) {
        assert_eq!(PodUuid::new(uuid.as_str()).ok(), Some(uuid));
    }
    if let Ok(name) = AcName::sanitize(word) {
        assert_eq!(AcName::new(name.as_str()).ok(), Some(name));
    }
    if let Ok(name) = AcIdentifier::sanitize(word) {
        assert_eq!(AcIdentifier::new(name.as_str()).ok(), Some(name));
    }
    let _ = (
        ImageId::new(word),
        ImageId::is_hash(word),
        time::parse_rfc3339(word),
        text::quote(word),
    );
    let _ = (
        Volume::parse_flag(word),
        Mount::parse_flag(word),
        Mount::parse_volume_flag(word),
    );
    let _ = (
        ExposedPort::parse_flag(word),
        ExposedPort::parse_sandbox_flag(word),
    );
    let _ = (InsecureOptions::parse(word), Annotation::new(word, word));
    let _ = (
        options::seccomp(word),
        options::memory(word),
        options::cpu(word),
    );
    let _ = (
        options::caps_retain(word),
        options::supplementary_gids(word),
        options::cpu_shares(word),
    );
    let _ = (
        options::rlimit(word),
        options::sysctl(&mut Vec::new(), word),
    );
    let words = [word.to_string()];
    let dns = options::dns_options(&words, &words, &words, Some(word), &words).unwrap_or_default();
    let _ = (dns.resolv_conf(), dns.hosts_lines());
    let _ = EnvFiles::default().add("f", word.as_bytes());
    for dir in config::ConfigDir::ALL {
        let _ = config::parse_file(dir, "/etc/rkt/x.json", word.as_bytes());
    }
}

#[test]
fn mangled_words_never_panic() {
    for seed in SEEDS {
        feed(seed);
        let ends: Vec<usize> = seed
            .char_indices()
            .map(|(at, _)| at)
            .chain([seed.len()])
            .collect();
        for &at in &ends {
            feed(&seed[..at]);
            feed(&seed[at..]);
            for spice in SPICE {
                feed(&format!("{}{spice}{}", &seed[..at], &seed[at..]));
                // The same with the next character overwritten.
                let rest = seed[at..].chars().skip(1).collect::<String>();
                feed(&format!("{}{spice}{rest}", &seed[..at]));
            }
        }
    }
}

#[test]
fn long_words_are_cheap() {
    for piece in ["a", "a,", "a=b,", "9", "%41", "/", ":", "1h", ",a=1", "é"] {
        feed(&piece.repeat(50_000));
    }
}
