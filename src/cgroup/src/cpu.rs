//! The cpu controller: a ceiling (quota per period) and a share against
//! neighbours, in v1's and v2's scales.

use crate::controller::Controller;
use crate::file;
use crate::hierarchy::Version;
use crate::limits::Setting;
use std::os::fd::AsFd;

/// The usual period, microseconds.
const PERIOD: u64 = 100_000;
/// The kernel's bounds of a period and its least quota.
const LONGEST_PERIOD: u64 = 1_000_000;
const LEAST_QUOTA: u64 = 1_000;
/// The kernel's greatest quota (2⁴⁴ − 1 µs); more is no bound at all.
const GREATEST_QUOTA: u64 = (1 << 44) - 1;

/// Quota and period in microseconds; no quota is no bound. A quota below the
/// kernel's least gets a longer period instead: 5m is 1000 of 200000.
fn quota(milli: u64) -> (Option<u64>, u64) {
    let quota = milli.saturating_mul(PERIOD / 1000);
    if quota > GREATEST_QUOTA {
        (None, PERIOD)
    } else if quota >= LEAST_QUOTA {
        (Some(quota), PERIOD)
    } else {
        let period = (LEAST_QUOTA * 1000 / milli.max(1)).min(LONGEST_PERIOD);
        (Some(LEAST_QUOTA), period)
    }
}

/// v1 shares (2 to 262144, 1024 is usual) as a v2 weight (1 to 10000, 100 is
/// usual). The curve that runc 1.3.2 and crun 1.23 use, so that pods of ours
/// and containers of theirs weigh alike on one host; the usual stays the usual.
fn weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let l = (shares as f64).log2();
            let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
            // 10² must not become 101 by the last bit of a libm.
            (10f64.powf(exponent) - 1e-9).ceil() as u64
        }
    }
}

pub(crate) fn settings(version: Version, milli: Option<u64>, shares: Option<u64>) -> Vec<Setting> {
    let setting = |file, value: String| Setting {
        controller: Controller::Cpu,
        file,
        value,
    };
    let mut list = Vec::new();
    match (version, milli.map(quota)) {
        (_, None) => {}
        (Version::V1, Some((quota, period))) => {
            // The period first: a quota is checked against the period in force.
            list.push(setting("cpu.cfs_period_us", period.to_string()));
            list.push(setting(
                "cpu.cfs_quota_us",
                quota.map_or("-1".to_string(), |quota| quota.to_string()),
            ));
        }
        (Version::V2, Some((quota, period))) => {
            let quota = quota.map_or("max".to_string(), |quota| quota.to_string());
            list.push(setting("cpu.max", format!("{quota} {period}")));
        }
    }
    if let Some(shares) = shares {
        list.push(match version {
            Version::V1 => setting("cpu.shares", shares.clamp(2, 262_144).to_string()),
            Version::V2 => setting("cpu.weight", weight(shares).to_string()),
        });
    }
    list
}

/// Time on a processor so far, microseconds; v1 tells where cpuacct is mounted
/// together with cpu.
pub(crate) fn used(dir: impl AsFd) -> Option<u64> {
    let stat = file::read(&dir, "cpu.stat")
        .ok()
        .and_then(|text| file::field(&text, "usage_usec"));
    stat.or_else(|| file::number(&dir, "cpuacct.usage").map(|ns| ns / 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn millicores_become_quota_and_period() {
        for (milli, expected) in [
            (500, (Some(50_000), 100_000)),
            (1000, (Some(100_000), 100_000)),
            (2500, (Some(250_000), 100_000)),
            (10, (Some(1000), 100_000)),
            (5, (Some(1000), 200_000)),
            (1, (Some(1000), 1_000_000)),
            (u64::MAX, (None, 100_000)),
        ] {
            assert_eq!(quota(milli), expected, "{milli}");
        }
    }

    #[test]
    fn shares_become_weights_as_elsewhere() {
        for (shares, expected) in [
            (2, 1),
            (10, 4),
            (100, 17),
            (128, 21),
            (256, 35),
            (512, 59),
            (1000, 99),
            (1024, 100),
            (1536, 138),
            (2048, 174),
            (4096, 303),
            (10240, 639),
            (65536, 3023),
            (262_144, 10_000),
        ] {
            assert_eq!(weight(shares), expected, "{shares}");
        }
    }

    #[test]
    fn each_version_has_its_files() {
        let text = |list: Vec<Setting>| {
            list.iter()
                .map(|one| format!("{}={}", one.file, one.value))
                .collect::<Vec<_>>()
                .join("; ")
        };
        assert_eq!(
            text(settings(Version::V1, Some(500), Some(512))),
            "cpu.cfs_period_us=100000; cpu.cfs_quota_us=50000; cpu.shares=512"
        );
        assert_eq!(
            text(settings(Version::V2, Some(500), Some(512))),
            "cpu.max=50000 100000; cpu.weight=59"
        );
        assert_eq!(
            text(settings(Version::V2, Some(u64::MAX), None)),
            "cpu.max=max 100000"
        );
        assert_eq!(text(settings(Version::V1, None, None)), "");
    }
}
