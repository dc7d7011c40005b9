//! Cutting a stream of bytes into lines of bounded length.

use super::line::MAX_TEXT;

/// A line, or a part of one that is longer than [`MAX_TEXT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// More of the line follows.
    pub partial: bool,
    pub text: &'a [u8],
}

/// Collects one stream of an app. Holds at most [`MAX_TEXT`] bytes.
#[derive(Debug, Default)]
pub struct LineSplitter {
    rest: Vec<u8>,
}

impl LineSplitter {
    pub fn new() -> LineSplitter {
        LineSplitter::default()
    }

    /// Takes what was read and hands on each line as soon as it is whole.
    /// Lines within one chunk are not copied.
    pub fn feed(&mut self, mut chunk: &[u8], emit: &mut dyn FnMut(Part<'_>)) {
        while !chunk.is_empty() {
            let room = MAX_TEXT - self.rest.len();
            let end = chunk.iter().take(room + 1).position(|byte| *byte == b'\n');
            match end {
                Some(end) if self.rest.is_empty() => {
                    emit(Part {
                        partial: false,
                        text: &chunk[..end],
                    });
                    chunk = &chunk[end + 1..];
                }
                Some(end) => {
                    self.rest.extend_from_slice(&chunk[..end]);
                    emit(Part {
                        partial: false,
                        text: &self.rest,
                    });
                    self.rest.clear();
                    chunk = &chunk[end + 1..];
                }
                // A full part goes out only once more of its line has come:
                // a line of just this length is whole.
                None if chunk.len() > room => {
                    self.rest.extend_from_slice(&chunk[..room]);
                    emit(Part {
                        partial: true,
                        text: &self.rest,
                    });
                    self.rest.clear();
                    chunk = &chunk[room..];
                }
                None => {
                    self.rest.extend_from_slice(chunk);
                    return;
                }
            }
        }
    }

    /// The stream has ended: hands on what came after the last newline.
    pub fn finish(&mut self, emit: &mut dyn FnMut(Part<'_>)) {
        if !self.rest.is_empty() {
            emit(Part {
                partial: false,
                text: &self.rest,
            });
            self.rest.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(chunks: &[&[u8]]) -> Vec<(bool, Vec<u8>)> {
        let mut splitter = LineSplitter::new();
        let mut out = Vec::new();
        let mut emit = |part: Part<'_>| out.push((part.partial, part.text.to_vec()));
        for chunk in chunks {
            splitter.feed(chunk, &mut emit);
        }
        splitter.finish(&mut emit);
        out
    }

    #[test]
    fn lines_across_chunks() {
        let want = |lines: &[&[u8]]| -> Vec<(bool, Vec<u8>)> {
            lines.iter().map(|line| (false, line.to_vec())).collect()
        };
        assert_eq!(
            parts(&[b"a\nb", b"c", b"\n\nd"]),
            want(&[b"a", b"bc", b"", b"d"])
        );
        assert_eq!(parts(&[b""]), want(&[]));
        assert_eq!(parts(&[b"\n"]), want(&[b""]));
    }

    /// However the bytes arrive, parts are bounded and give back the input.
    #[test]
    fn long_lines_are_cut_and_nothing_is_lost() {
        for len in [MAX_TEXT - 1, MAX_TEXT, MAX_TEXT + 1, 3 * MAX_TEXT + 7] {
            let mut input = vec![b'x'; len];
            input.extend_from_slice(b"\nend\n");
            for chunk in [1, 7, 4096, MAX_TEXT, input.len()] {
                let chunks: Vec<&[u8]> = input.chunks(chunk).collect();
                let parts = parts(&chunks);
                let mut back = Vec::new();
                for (partial, text) in &parts {
                    assert!(text.len() <= MAX_TEXT);
                    back.extend_from_slice(text);
                    if !partial {
                        back.push(b'\n');
                    }
                }
                assert_eq!(back, input, "{len} in chunks of {chunk}");
                assert_eq!(parts.len(), len.div_ceil(MAX_TEXT) + 1);
            }
        }
    }
}
