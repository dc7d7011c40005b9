//! Sizes as `rkt image list` shows them: in powers of 1024 with IEC suffixes.

const SUFFIXES: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// `9B`, `9.8MiB`, `12MiB`: one decimal below ten, none above.
pub fn iec(bytes: u64) -> String {
    if bytes < 10 {
        return format!("{bytes}B");
    }
    let step = bytes.ilog2() / 10;
    // In tenths of the unit, rounded half up; a u128 because of the factor ten.
    let unit = 1u128 << (10 * step);
    let tenths = (u128::from(bytes) * 10 + unit / 2) / unit;
    let suffix = SUFFIXES[step as usize];
    if tenths < 100 {
        return format!("{}.{}{suffix}", tenths / 10, tenths % 10);
    }
    // The tenths are rounded once more, half to even, as Go's `%.0f` does.
    let (whole, rest) = (tenths / 10, tenths % 10);
    let up = rest > 5 || (rest == 5 && whole % 2 == 1);
    format!("{}{suffix}", whole + u128::from(up))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (bytes, want) in [
            (0, "0B"),
            (9, "9B"),
            (10, "10B"),
            (1023, "1023B"),
            (1024, "1.0KiB"),
            (1536, "1.5KiB"),
            (10_188, "9.9KiB"),
            (10_189, "10KiB"),
            (12_800, "12KiB"),
            (13_824, "14KiB"),
            (1_048_575, "1024KiB"),
            (1 << 20, "1.0MiB"),
            (10_276_045, "9.8MiB"),
            (34_603_008, "33MiB"),
            (u64::MAX, "16EiB"),
        ] {
            assert_eq!(iec(bytes), want, "{bytes}");
        }
    }
}
