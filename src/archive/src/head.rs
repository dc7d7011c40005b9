//! The headers of archives of our own making: ustar, and a PAX header before it
//! for whatever ustar is too narrow for.
//!
//! The same entry always gives the same bytes: no user names, no padding with
//! anything but NULs, records sorted. Every writer here uses it, since the bytes
//! are what image IDs are hashes of: **a change here changes IDs**.

use tar::Header;

use crate::pax;
use crate::tape::padding;

/// The most that eleven octal digits hold.
const OCTAL_11: u64 = 0o77_777_777_777;

/// One entry to be.
pub(crate) struct Head<'a> {
    /// A directory's ends with a slash.
    pub(crate) name: &'a [u8],
    /// The type flag.
    pub(crate) kind: u8,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds and nanoseconds.
    pub(crate) mtime: (i64, u32),
    pub(crate) size: u64,
    /// Major and minor; of devices only.
    pub(crate) device: (u32, u32),
    pub(crate) link: &'a [u8],
    pub(crate) xattrs: &'a [(Vec<u8>, Vec<u8>)],
}

impl Head<'_> {
    /// Appends the blocks.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut records: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut wide = |key: &str, value: String| records.push((key.into(), value.into_bytes()));
        let mut header = Header::new_ustar();
        header.set_mode(self.mode);
        for (key, id) in [("uid", self.uid), ("gid", self.gid)] {
            let fits = if id < 1 << 21 { u64::from(id) } else { 0 };
            if fits != u64::from(id) {
                wide(key, id.to_string());
            }
            if key == "uid" {
                header.set_uid(fits)
            } else {
                header.set_gid(fits)
            }
        }
        let whole = u64::try_from(self.mtime.0)
            .ok()
            .filter(|secs| *secs <= OCTAL_11);
        header.set_mtime(whole.unwrap_or(0));
        if whole.is_none() || self.mtime.1 != 0 {
            wide("mtime", time(self.mtime));
        }
        if self.size > OCTAL_11 {
            wide("size", self.size.to_string());
            header.set_size(0);
        } else {
            header.set_size(self.size);
        }
        if matches!(self.kind, b'3' | b'4') {
            let ustar = header.as_ustar_mut().expect("it was made as ustar");
            ustar.set_device_major(self.device.0);
            ustar.set_device_minor(self.device.1);
        }
        for (key, text, field) in [
            ("path", self.name, 0..100),
            ("linkpath", self.link, 157..257),
        ] {
            let n = text.len().min(field.len());
            header.as_mut_bytes()[field.start..field.start + n].copy_from_slice(&text[..n]);
            if text.len() > n {
                records.push((key.into(), text.to_vec()));
            }
        }
        header.as_mut_bytes()[156] = self.kind;
        header.set_cksum();
        for (name, value) in self.xattrs {
            records.push(([b"SCHILY.xattr.", name.as_slice()].concat(), value.clone()));
        }
        if !records.is_empty() {
            extended(records, out);
        }
        out.extend_from_slice(header.as_bytes());
    }
}

fn extended(mut records: Vec<(Vec<u8>, Vec<u8>)>, out: &mut Vec<u8>) {
    records.sort();
    let mut body = Vec::new();
    for (key, value) in &records {
        pax::push(&mut body, key, value);
    }
    out.extend_from_slice(plain(b"PaxHeader", b'x', body.len() as u64).as_bytes());
    body.resize(body.len() + padding(body.len() as u64) as usize, 0);
    out.extend_from_slice(&body);
}

/// A decimal of seconds, as short as it is exact.
fn time((secs, nanos): (i64, u32)) -> String {
    let (sign, secs, nanos) = match (secs, nanos) {
        (secs, 0) => return secs.to_string(),
        (0.., nanos) => ("", secs, nanos),
        // One and a half seconds before 1970 is -2 and 500,000,000.
        (_, nanos) => ("-", -(secs + 1), 1_000_000_000 - nanos),
    };
    let text = format!("{sign}{secs}.{nanos:09}");
    text.trim_end_matches('0').to_string()
}

/// The header of the first entry of an image.
pub(crate) fn manifest(size: u64) -> [u8; 512] {
    *plain(b"manifest", b'0', size).as_bytes()
}

/// The name in an image of a path below the root file system.
pub(crate) fn in_rootfs(path: &[u8]) -> Vec<u8> {
    match path {
        b"" => b"rootfs".to_vec(),
        path => [b"rootfs/", path].concat(),
    }
}

/// The header of an entry that no file stands for: root's, mode 0644, of no time.
fn plain(name: &[u8], kind: u8, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.as_mut_bytes()[156] = kind;
    header.set_cksum();
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_back_as_they_were_written() {
        for (at, text) in [
            ((5, 0), "5"),
            ((5, 250_000_000), "5.25"),
            ((0, 1), "0.000000001"),
            ((-2, 750_000_000), "-1.25"),
            ((-1, 500_000_000), "-0.5"),
            ((-7, 0), "-7"),
            ((i64::MIN, 1), "-9223372036854775807.999999999"),
        ] {
            assert_eq!(time(at), text);
            let mut body = Vec::new();
            pax::push(&mut body, b"mtime", text.as_bytes());
            let records = pax::Records::parse(&body).expect("a record");
            assert_eq!(records.time("mtime").expect("a time"), Some(at), "{text}");
        }
    }
}
