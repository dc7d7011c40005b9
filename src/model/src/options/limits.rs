//! The per-image flags that become isolators: `--memory`, `--cpu`,
//! `--cpu-shares`, `--oom-score-adj`, `--caps-retain`, `--caps-remove`,
//! `--rlimit`, `--seccomp`; the pod's `--sysctl`; and `--supplementary-gids`.

use crate::fault::{Fault, Result};
use crate::isolator::{self, Isolator, Rlimit};
use crate::quantity::Quantity;
use crate::text::{key_value, quote};
use serde_json::json;

/// Below one page of memory nothing can run.
const LEAST_MEMORY: i64 = 4096;

pub fn memory(text: &str) -> Result<Isolator> {
    let quantity = positive(text)?;
    if quantity.value() < LEAST_MEMORY {
        return Err(Fault::usage(format!(
            "memory limit of {} bytes too low. Try a reasonable value, such as --memory=16M",
            quantity.value()
        )));
    }
    resource(isolator::MEMORY, &quantity)
}

pub fn cpu(text: &str) -> Result<Isolator> {
    resource(isolator::CPU, &positive(text)?)
}

fn positive(text: &str) -> Result<Quantity> {
    let quantity = Quantity::parse(text)?;
    if quantity < Quantity::from_units(0) {
        return Err(Fault::usage(format!("{} is negative", quote(text))));
    }
    Ok(quantity)
}

fn resource(name: &str, quantity: &Quantity) -> Result<Isolator> {
    let text = quantity.to_string();
    Isolator::new(
        name,
        json!({"default": false, "request": text, "limit": text}),
    )
}

pub fn cpu_shares(text: &str) -> Result<Isolator> {
    Isolator::new(isolator::CPU_SHARES, json!(integer(text)?))
}

pub fn oom_score_adj(text: &str) -> Result<Isolator> {
    Isolator::new(isolator::OOM_SCORE_ADJ, json!(integer(text)?))
}

fn integer(text: &str) -> Result<i64> {
    text.parse().map_err(|_| {
        Fault::usage(format!(
            "strconv.ParseInt: parsing {}: invalid syntax",
            quote(text)
        ))
    })
}

/// `--caps-retain=CAP_A,CAP_B`.
pub fn caps_retain(text: &str) -> Result<Isolator> {
    Isolator::new(isolator::CAPS_RETAIN, json!({"set": words(text)}))
}

/// `--caps-remove=CAP_A,CAP_B`.
pub fn caps_remove(text: &str) -> Result<Isolator> {
    Isolator::new(isolator::CAPS_REMOVE, json!({"set": words(text)}))
}

fn words(text: &str) -> Vec<&str> {
    text.split(',').filter(|word| !word.is_empty()).collect()
}

/// `--seccomp=mode=retain|remove[,errno=NAME],syscall…`.
pub fn seccomp(text: &str) -> Result<Isolator> {
    let (mut mode, mut errno) = (None, None);
    let mut set = Vec::new();
    for word in words(text) {
        match key_value(word) {
            Some(("mode", value)) => mode = Some(value),
            Some(("errno", value)) => errno = Some(value),
            Some(_) => {
                return Err(
                    Fault::usage("invalid seccomp command-line override").hint(format!(
                        "{} is neither mode=, errno= nor a name",
                        quote(word)
                    )),
                );
            }
            None => set.push(word),
        }
    }
    let name = match mode {
        Some("retain") => isolator::SECCOMP_RETAIN,
        Some("remove") => isolator::SECCOMP_REMOVE,
        _ => {
            let fault = Fault::usage("invalid seccomp mode command-line override");
            return Err(fault.hint("give mode=retain or mode=remove"));
        }
    };
    match errno {
        Some(errno) => Isolator::new(name, json!({"set": set, "errno": errno})),
        None => Isolator::new(name, json!({"set": set})),
    }
}

/// `--rlimit=NAME=SOFT[:HARD]`.
pub fn rlimit(text: &str) -> Result<Isolator> {
    Isolator::new(isolator::RLIMITS, Rlimit::parse_flag(text)?.to_json())
}

/// `--sysctl=KEY=VALUE`, one more beside those of `settings`.
pub fn sysctl(settings: &mut Vec<(String, String)>, text: &str) -> Result<()> {
    let (key, value) = isolator::parse_sysctl(text)?;
    if settings.iter().any(|(known, _)| *known == key) {
        return Err(Fault::usage(format!("sysctl {} already set", quote(&key))));
    }
    settings.push((key, value));
    Ok(())
}

/// `--supplementary-gids=1,2`.
pub fn supplementary_gids(text: &str) -> Result<Vec<u32>> {
    text.split(',')
        .map(|word| {
            word.parse()
                .map_err(|_| Fault::usage("--supplementary-gids must be integers"))
        })
        .collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::isolator::Known;

    #[test]
    fn resources() {
        let made = memory("16Mi").unwrap();
        assert_eq!(
            made.value.to_string(),
            r#"{"default":false,"request":"16Mi","limit":"16Mi"}"#
        );
        assert_eq!(
            made.known,
            Known::Memory {
                request: Some(16 << 20),
                limit: Some(16 << 20)
            }
        );
        assert_eq!(
            cpu("500m").unwrap().known,
            Known::Cpu {
                request: Some(500),
                limit: Some(500)
            }
        );
        assert_eq!(
            memory("4095").unwrap_err().cause,
            "memory limit of 4095 bytes too low. Try a reasonable value, such as --memory=16M"
        );
        assert!(memory("-1G").is_err() && cpu("lots").is_err() && cpu("").is_err());
    }

    #[test]
    fn numbers() {
        assert_eq!(cpu_shares("2048").unwrap().known, Known::CpuShares(2048));
        assert_eq!(
            oom_score_adj("-500").unwrap().known,
            Known::OomScoreAdj(-500)
        );
        assert!(cpu_shares("1").is_err() && oom_score_adj("1001").is_err());
        assert_eq!(
            cpu_shares("x").unwrap_err().cause,
            "strconv.ParseInt: parsing \"x\": invalid syntax"
        );
        assert_eq!(supplementary_gids("1024,2048").unwrap(), [1024, 2048]);
        for bad in ["", "1,,2", "a", "-1", "4294967296"] {
            assert_eq!(
                supplementary_gids(bad).unwrap_err().cause,
                "--supplementary-gids must be integers"
            );
        }
    }

    #[test]
    fn settings_of_a_pod() {
        let mut settings = Vec::new();
        sysctl(&mut settings, "net.core.somaxconn=256").unwrap();
        sysctl(&mut settings, "kernel.sem=1 2 3 4").unwrap();
        assert_eq!(settings[1], ("kernel.sem".into(), "1 2 3 4".into()));
        assert_eq!(
            sysctl(&mut settings, "kernel.sem=5").unwrap_err().cause,
            "sysctl \"kernel.sem\" already set"
        );
        assert_eq!(settings.len(), 2);
        assert_eq!(
            rlimit("core=0").unwrap().value.to_string(),
            r#"{"core":{"soft":0,"hard":0}}"#
        );
    }

    #[test]
    fn capabilities_and_system_calls() {
        assert_eq!(
            caps_retain("CAP_KILL,CAP_CHOWN").unwrap().known,
            Known::CapabilitiesRetain(vec!["CAP_KILL".into(), "CAP_CHOWN".into()])
        );
        assert!(caps_remove("").is_err());
        assert_eq!(
            seccomp("mode=retain,errno=EPERM,chmod,@rkt/default-whitelist")
                .unwrap()
                .known,
            Known::SeccompRetain {
                set: vec!["chmod".into(), "@rkt/default-whitelist".into()],
                errno: Some("EPERM".into())
            }
        );
        assert_eq!(
            seccomp("mode=remove,reboot").unwrap().known,
            Known::SeccompRemove {
                set: vec!["reboot".into()],
                errno: None
            }
        );
        for (text, want) in [
            ("reboot", "invalid seccomp mode command-line override"),
            (
                "mode=log,reboot",
                "invalid seccomp mode command-line override",
            ),
            ("mode=retain,a=b", "invalid seccomp command-line override"),
            (
                "mode=retain",
                "os/linux/seccomp-retain-set.set: must not be empty",
            ),
            (
                "mode=retain,errno=x,read",
                "os/linux/seccomp-retain-set.errno: \"x\" is not the name of an error",
            ),
        ] {
            assert_eq!(seccomp(text).unwrap_err().cause, want);
        }
    }
}
