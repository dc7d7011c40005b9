//! One record of a log file, in and out of bytes.

use super::stamp;

/// Longest text of a record. Longer lines of an app become several records.
pub const MAX_TEXT: usize = 16 << 10;
/// Longest record with its newline: stamp, stream word, tag, three blanks.
pub(crate) const MAX_RECORD: usize = stamp::LEN + 6 + 1 + 3 + MAX_TEXT + 1;

/// Which of the app's streams a line came from; `Rkt` are our own records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
    Rkt,
}

impl Stream {
    pub fn word(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
            Stream::Rkt => "rkt",
        }
    }

    fn parse(word: &[u8]) -> Option<Stream> {
        [Stream::Stdout, Stream::Stderr, Stream::Rkt]
            .into_iter()
            .find(|stream| stream.word().as_bytes() == word)
    }
}

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Nanoseconds since 1970.
    pub time_ns: i64,
    pub stream: Stream,
    /// More of the same line follows on this stream.
    pub partial: bool,
    /// Without newline; any bytes, as the app wrote them.
    pub text: &'a [u8],
}

impl<'a> Line<'a> {
    /// Appends the record with its newline.
    pub fn write(&self, out: &mut Vec<u8>) {
        stamp::format_stamp(self.time_ns, out);
        out.push(b' ');
        out.extend_from_slice(self.stream.word().as_bytes());
        out.extend_from_slice(if self.partial { b" P " } else { b" F " });
        out.extend_from_slice(self.text);
        out.push(b'\n');
    }

    /// Reads a record without its newline; `None` if it is none.
    pub fn parse(bytes: &'a [u8]) -> Option<Line<'a>> {
        let mut words = bytes.splitn(4, |byte| *byte == b' ');
        let time_ns = stamp::parse_stamp(words.next()?)?;
        let stream = Stream::parse(words.next()?)?;
        let partial = match words.next()? {
            b"F" => false,
            b"P" => true,
            _ => return None,
        };
        Some(Line {
            time_ns,
            stream,
            partial,
            text: words.next()?,
        })
    }

    /// Our own record `word N`.
    pub(crate) fn note(&self, word: &str) -> Option<u64> {
        if self.stream != Stream::Rkt {
            return None;
        }
        let text = std::str::from_utf8(self.text).ok()?;
        text.strip_prefix(word)?.strip_prefix(' ')?.parse().ok()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn records_survive_writing_and_reading() {
        let text = b" two  blanks \xff";
        for stream in [Stream::Stdout, Stream::Stderr, Stream::Rkt] {
            for partial in [true, false] {
                let line = Line {
                    time_ns: 17,
                    stream,
                    partial,
                    text,
                };
                let mut out = Vec::new();
                line.write(&mut out);
                assert_eq!(Line::parse(out.strip_suffix(b"\n").unwrap()), Some(line));
            }
        }
    }

    #[test]
    fn the_form_is_that_of_the_cri() {
        let line = Line {
            time_ns: 0,
            stream: Stream::Stdout,
            partial: false,
            text: b"hi",
        };
        let mut out = Vec::new();
        line.write(&mut out);
        assert_eq!(out, b"1970-01-01T00:00:00.000000000Z stdout F hi\n");
        let empty = b"1970-01-01T00:00:00.000000000Z stderr P ";
        assert_eq!(Line::parse(empty).unwrap().text, b"");
    }

    #[test]
    fn other_lines_are_no_records() {
        for bad in [
            &b""[..],
            b"hello",
            b"1970-01-01T00:00:00.000000000Z stdin F x",
            b"1970-01-01T00:00:00.000000000Z stdout X x",
            b"1970-01-01T00:00:00.000000000Z stdout F",
            b"\0\0\0\0\0",
        ] {
            assert_eq!(Line::parse(bad), None);
        }
    }
}
