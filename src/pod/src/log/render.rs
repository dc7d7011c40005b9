//! The foreground form of a log line, as rkt's container flavours print it:
//! `[ 3057.817151] busybox[9]: hello world`, ended by CR LF.

use model::AcName;
use std::io::Write;

use super::line::{Line, Stream};

/// How one app's lines are shown.
#[derive(Clone, Debug)]
pub struct Foreground {
    /// Real time minus monotonic time, in nanoseconds.
    pub offset_ns: i64,
    pub app: AcName,
    /// The app's pid inside the pod.
    pub pid: i32,
}

impl Foreground {
    /// Appends the line. Empty lines are dropped and the parts of a long line
    /// stand each for itself, both as journald did it.
    pub fn render(&self, line: &Line<'_>, out: &mut Vec<u8>) {
        if line.text.is_empty() || line.stream == Stream::Rkt {
            return;
        }
        self.head(line.time_ns, out);
        out.extend_from_slice(line.text);
        out.extend_from_slice(b"\r\n");
    }

    /// Appends a line that says how many are missing.
    pub fn render_missed(&self, time_ns: i64, lines: u64, out: &mut Vec<u8>) {
        self.head(time_ns, out);
        let word = if lines == 1 { "line" } else { "lines" };
        let _ = write!(out, "({lines} {word} missed)\r\n");
    }

    fn head(&self, time_ns: i64, out: &mut Vec<u8>) {
        let micros = (time_ns - self.offset_ns).max(0) / 1000;
        let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
        // Writing to memory cannot fail.
        let _ = write!(
            out,
            "[{seconds:5}.{micros:06}] {}[{}]: ",
            self.app.as_str(),
            self.pid
        );
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn looks_as_rkt_prints_it() {
        let app = AcName::new("busybox").unwrap();
        let form = Foreground {
            offset_ns: 1_000_000_000_000,
            app,
            pid: 9,
        };
        let show = |ns: i64, text: &[u8]| {
            let line = Line {
                time_ns: 1_000_000_000_000 + ns,
                stream: Stream::Stderr,
                partial: false,
                text,
            };
            let mut out = Vec::new();
            form.render(&line, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            show(3_057_817_151_999, b"hello world"),
            "[ 3057.817151] busybox[9]: hello world\r\n"
        );
        assert_eq!(
            show(5_000_001_000, b"x"),
            "[    5.000001] busybox[9]: x\r\n"
        );
        assert_eq!(
            show(123_456_000_000_000, b"x"),
            "[123456.000000] busybox[9]: x\r\n"
        );
        assert_eq!(show(-1, b"x"), "[    0.000000] busybox[9]: x\r\n");
        assert_eq!(show(1, b""), "");
    }
}
