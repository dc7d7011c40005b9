//! A hand-made tar and gzip writer. It writes what it is told, hostile or not: that is why no tar library is used.
//!
//! Format: POSIX ustar, 512-byte blocks, two zero blocks at the end. Names longer than 100 bytes become GNU `L`
//! records. `gzip` wraps bytes in stored deflate blocks, so no compressor is needed and the output is reproducible.

/// One archive member. Everything is public so that a test can lie about any field.
#[derive(Clone, Debug)]
pub struct Entry {
    pub name: Vec<u8>,
    pub kind: u8,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    pub mtime: u64,
    pub link: Vec<u8>,
    pub major: u32,
    pub minor: u32,
    pub data: Vec<u8>,
    /// The size written in the header when it shall differ from the data's.
    pub claimed: Option<u64>,
}

impl Entry {
    pub fn new(name: &str, kind: u8) -> Entry {
        Entry {
            name: name.as_bytes().to_vec(),
            kind,
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: 1_400_000_000,
            link: Vec::new(),
            major: 0,
            minor: 0,
            data: Vec::new(),
            claimed: None,
        }
    }

    pub fn file(name: &str, data: impl Into<Vec<u8>>) -> Entry {
        Entry {
            data: data.into(),
            mode: 0o644,
            ..Entry::new(name, b'0')
        }
    }

    pub fn program(name: &str, data: impl Into<Vec<u8>>) -> Entry {
        Entry {
            data: data.into(),
            ..Entry::new(name, b'0')
        }
    }

    pub fn dir(name: &str) -> Entry {
        Entry::new(name, b'5')
    }

    pub fn symlink(name: &str, target: &str) -> Entry {
        Entry {
            link: target.as_bytes().to_vec(),
            mode: 0o777,
            ..Entry::new(name, b'2')
        }
    }

    pub fn hardlink(name: &str, target: &str) -> Entry {
        Entry {
            link: target.as_bytes().to_vec(),
            ..Entry::new(name, b'1')
        }
    }

    pub fn char_device(name: &str, major: u32, minor: u32) -> Entry {
        Entry {
            major,
            minor,
            mode: 0o666,
            ..Entry::new(name, b'3')
        }
    }

    pub fn fifo(name: &str) -> Entry {
        Entry::new(name, b'6')
    }

    pub fn mode(mut self, mode: u32) -> Entry {
        self.mode = mode;
        self
    }

    pub fn owner(mut self, uid: u64, gid: u64) -> Entry {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    pub fn claiming(mut self, size: u64) -> Entry {
        self.claimed = Some(size);
        self
    }
}

/// The archive's bytes, with its end marker.
pub fn write(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        append(&mut out, entry);
    }
    out.extend_from_slice(&[0; 1024]);
    out
}

fn append(out: &mut Vec<u8>, entry: &Entry) {
    if entry.name.len() > 100 {
        let mut long = Entry::new("././@LongLink", b'L');
        long.data = entry.name.clone();
        long.data.push(0);
        append(out, &long);
    }
    let mut header = [0_u8; 512];
    put(&mut header[0..100], &entry.name);
    octal(&mut header[100..108], u64::from(entry.mode));
    octal(&mut header[108..116], entry.uid);
    octal(&mut header[116..124], entry.gid);
    octal(
        &mut header[124..136],
        entry.claimed.unwrap_or(entry.data.len() as u64),
    );
    octal(&mut header[136..148], entry.mtime);
    header[148..156].fill(b' ');
    header[156] = entry.kind;
    put(&mut header[157..257], &entry.link);
    header[257..265].copy_from_slice(b"ustar\x0000");
    octal(&mut header[329..337], u64::from(entry.major));
    octal(&mut header[337..345], u64::from(entry.minor));
    let sum: u64 = header.iter().map(|b| u64::from(*b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    out.extend_from_slice(&header);
    out.extend_from_slice(&entry.data);
    out.resize(out.len().next_multiple_of(512), 0);
}

fn put(field: &mut [u8], bytes: &[u8]) {
    let n = bytes.len().min(field.len());
    field[..n].copy_from_slice(&bytes[..n]);
}

/// Octal with a closing NUL, or GNU base-256 where the number is too large for that.
fn octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    if value
        < 8_u64.pow(
            u32::try_from(digits)
                .expect("field widths are tiny")
                .min(21),
        )
    {
        field.copy_from_slice(format!("{value:0digits$o}\0").as_bytes());
    } else {
        let wide = value.to_be_bytes();
        let n = wide.len().min(field.len() - 1);
        let at = field.len() - n;
        field.fill(0);
        field[0] = 0x80;
        field[at..].copy_from_slice(&wide[wide.len() - n..]);
    }
}

/// A gzip member of stored blocks (RFC 1951 §3.2.4, RFC 1952).
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut chunks = bytes.chunks(65535).peekable();
    if chunks.peek().is_none() {
        out.extend_from_slice(&[1, 0, 0, 0xff, 0xff]);
    }
    while let Some(chunk) = chunks.next() {
        let len = u16::try_from(chunk.len()).expect("chunks hold at most 65535 bytes");
        out.push(u8::from(chunks.peek().is_none()));
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&(!len).to_le_bytes());
        out.extend_from_slice(chunk);
    }
    out.extend_from_slice(&crc32(bytes).to_le_bytes());
    out.extend_from_slice(
        &u32::try_from(bytes.len() & 0xffff_ffff)
            .expect("masked to 32 bits")
            .to_le_bytes(),
    );
    out
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xedb8_8320
            } else {
                crc >> 1
            };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_of_the_check_string() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn blocks_are_whole_and_checksummed() {
        let bytes = write(&[Entry::file("rootfs/a", "x"), Entry::dir(&"d".repeat(150))]);
        assert_eq!(bytes.len() % 512, 0);
        assert_eq!(&bytes[257..262], b"ustar");
        // file header, its data, long-name header, its data, directory header, end
        assert_eq!(bytes.len(), 512 * (2 + 2 + 1 + 2));
    }

    #[test]
    fn large_numbers_go_base_256() {
        let mut field = [0; 8];
        octal(&mut field, 1 << 40);
        assert_eq!(field[0], 0x80);
    }
}
