//! The xz container: streams of blocks, each with filters, a check and padding.
//!
//! The LZMA2 decoder and the filters come from a crate; the container is read
//! here, because a block header says how much memory its dictionary takes and
//! a stranger may say 4 GiB. The checks of every block are verified, and so is
//! the number of blocks against the index ("The .xz File Format" 1.2.0).

use std::io::{self, BufRead, Read};

use flate2::Crc;
use lzma_rust2::Lzma2Reader;
use lzma_rust2::filter::{bcj::BcjReader, delta::DeltaReader};
use sha2::{Digest, Sha256};

/// What `xz -9` uses; the largest preset.
const MAX_DICTIONARY: u32 = 64 << 20;
const MAGIC: &[u8; 6] = b"\xfd7zXZ\0";
const FOOTER_MAGIC: &[u8; 2] = b"YZ";

/// The compressed side of one block, counted.
struct Counted<R> {
    inner: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.count += n as u64;
        Ok(n)
    }
}

/// The filters of a block around its bytes, the decoder innermost.
enum Chain<R: Read> {
    Lzma2(Box<Lzma2Reader<Counted<R>>>),
    Delta(Box<DeltaReader<Chain<R>>>),
    Bcj(Box<BcjReader<Chain<R>>>),
}

impl<R: Read> Read for Chain<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Chain::Lzma2(reader) => reader.read(buf),
            Chain::Delta(reader) => reader.read(buf),
            Chain::Bcj(reader) => reader.read(buf),
        }
    }
}

impl<R: Read> Chain<R> {
    fn into_counted(self) -> Counted<R> {
        match self {
            Chain::Lzma2(reader) => reader.into_inner(),
            Chain::Delta(reader) => reader.into_inner().into_counted(),
            Chain::Bcj(reader) => reader.into_inner().into_counted(),
        }
    }
}

/// The check over the plain bytes of a block.
enum Check {
    None,
    Crc32(Crc),
    Crc64(u64),
    Sha256(Box<Sha256>),
}

impl Check {
    fn new(id: u8) -> io::Result<Check> {
        match id {
            0 => Ok(Check::None),
            1 => Ok(Check::Crc32(Crc::new())),
            4 => Ok(Check::Crc64(!0)),
            10 => Ok(Check::Sha256(Box::default())),
            _ => Err(invalid("unknown kind of check")),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Check::None => {}
            Check::Crc32(crc) => crc.update(bytes),
            Check::Crc64(crc) => *crc = crc64(*crc, bytes),
            Check::Sha256(sha) => sha.update(bytes),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Check::None => Vec::new(),
            Check::Crc32(crc) => crc.sum().to_le_bytes().to_vec(),
            Check::Crc64(crc) => (!crc).to_le_bytes().to_vec(),
            Check::Sha256(sha) => sha.finalize().to_vec(),
        }
    }
}

struct Block<R: Read> {
    chain: Chain<R>,
    check: Check,
    header: u64,
    /// What the header says of the packed and the plain size.
    told: [Option<u64>; 2],
    plain: u64,
}

enum State<R: Read> {
    /// Before the header of a stream; the first one must be there.
    Stream(R, bool),
    /// Before a block or the index.
    Block(R),
    Inside(Box<Block<R>>),
    Ended,
    Failed,
}

/// Sums over the blocks of a stream, to be compared with its index.
#[derive(Default, PartialEq, Eq)]
struct Sums {
    blocks: u64,
    unpadded: u64,
    plain: u64,
}

pub(crate) struct XzStream<R: Read> {
    state: State<R>,
    /// The flags of the stream's header; the second byte names the check.
    flags: [u8; 2],
    sums: Sums,
}

impl<R: BufRead> XzStream<R> {
    pub(crate) fn new(source: R) -> XzStream<R> {
        XzStream {
            state: State::Stream(source, true),
            flags: [0; 2],
            sums: Sums::default(),
        }
    }

    fn stream(&mut self, mut source: R, first: bool) -> io::Result<State<R>> {
        if !first {
            // Padding in fours between two streams and at the end.
            loop {
                match source.fill_buf()?.first().copied() {
                    None => return Ok(State::Ended),
                    Some(0) if array::<4>(&mut source)? != [0; 4] => {
                        return Err(invalid("bad padding of a stream"));
                    }
                    Some(0) => {}
                    Some(_) => break,
                }
            }
        }
        if array::<6>(&mut source)? != *MAGIC {
            return Err(invalid("data after the last stream"));
        }
        self.flags = array(&mut source)?;
        if array(&mut source)? != crc32(&self.flags) || self.flags[0] != 0 {
            return Err(invalid("bad header of a stream"));
        }
        Check::new(self.flags[1])?;
        self.sums = Sums::default();
        Ok(State::Block(source))
    }

    fn block(&mut self, mut source: R) -> io::Result<State<R>> {
        let [size] = array(&mut source)?;
        if size == 0 {
            self.index(&mut source)?;
            return Ok(State::Stream(source, false));
        }
        let len = (usize::from(size) + 1) * 4;
        let mut header = vec![0; len];
        header[0] = size;
        source.read_exact(&mut header[1..])?;
        let (header, crc) = header.split_at(len - 4);
        if crc != crc32(header) {
            return Err(invalid("bad header of a block"));
        }
        let flags = header[1];
        if flags & 0x3c != 0 {
            return Err(invalid("unknown flags of a block"));
        }
        let mut fields = &header[2..];
        let mut told = [None; 2];
        for (told, bit) in told.iter_mut().zip([0x40, 0x80]) {
            if flags & bit != 0 {
                *told = Some(varint(&mut fields)?);
            }
        }
        let mut filters = Vec::new();
        for _ in 0..=flags & 3 {
            let id = varint(&mut fields)?;
            let len = usize::try_from(varint(&mut fields)?).unwrap_or(usize::MAX);
            let Some((props, rest)) = fields.split_at_checked(len) else {
                return Err(invalid("bad filter"));
            };
            filters.push((id, props));
            fields = rest;
        }
        let source = Counted {
            inner: source,
            count: 0,
        };
        Ok(State::Inside(Box::new(Block {
            chain: chain(source, &filters)?,
            check: Check::new(self.flags[1])?,
            header: len as u64,
            told,
            plain: 0,
        })))
    }

    fn end_block(&mut self, block: Block<R>) -> io::Result<State<R>> {
        let Counted {
            inner: mut source,
            count: packed,
        } = block.chain.into_counted();
        if block.told[0].is_some_and(|told| told != packed)
            || block.told[1].is_some_and(|told| told != block.plain)
        {
            return Err(invalid("wrong size of a block"));
        }
        let mut padding = [0; 3];
        let padding = &mut padding[..(packed.wrapping_neg() % 4) as usize];
        source.read_exact(padding)?;
        let sum = block.check.finish();
        let mut told = vec![0; sum.len()];
        source.read_exact(&mut told)?;
        if told != sum || padding.iter().any(|&b| b != 0) {
            return Err(invalid("the check of a block is wrong"));
        }
        self.sums.blocks += 1;
        self.sums.unpadded += block.header + packed + sum.len() as u64;
        self.sums.plain += block.plain;
        Ok(State::Block(source))
    }

    /// The index behind its first byte, and the footer.
    fn index(&self, source: &mut R) -> io::Result<()> {
        let mut bytes = Summed {
            inner: source,
            crc: Crc::new(),
            count: 1,
        };
        bytes.crc.update(&[0]);
        let mut sums = Sums {
            blocks: varint(&mut bytes)?,
            ..Sums::default()
        };
        if sums.blocks != self.sums.blocks {
            return Err(invalid("wrong number of blocks in the index"));
        }
        for _ in 0..sums.blocks {
            sums.unpadded = sums.unpadded.saturating_add(varint(&mut bytes)?);
            sums.plain = sums.plain.saturating_add(varint(&mut bytes)?);
        }
        while !bytes.count.is_multiple_of(4) {
            if array::<1>(&mut bytes)? != [0] {
                return Err(invalid("bad padding of the index"));
            }
        }
        let (crc, len) = (bytes.crc.sum().to_le_bytes(), bytes.count + 4);
        let source = bytes.inner;
        if sums != self.sums || array(source)? != crc {
            return Err(invalid("wrong index"));
        }
        let crc: [u8; 4] = array(source)?;
        let footer: [u8; 6] = array(source)?;
        let [b0, b1, b2, b3, flags @ ..] = footer;
        let backward = (u64::from(u32::from_le_bytes([b0, b1, b2, b3])) + 1) * 4;
        if crc != crc32(&footer)
            || backward != len
            || flags != self.flags
            || array::<2>(source)? != *FOOTER_MAGIC
        {
            return Err(invalid("bad footer of a stream"));
        }
        Ok(())
    }
}

impl<R: BufRead> Read for XzStream<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            // An error leaves `Failed` behind, so that nobody takes it for the end.
            self.state = match std::mem::replace(&mut self.state, State::Failed) {
                State::Stream(source, first) => self.stream(source, first)?,
                State::Block(source) => self.block(source)?,
                State::Inside(mut block) => match block.chain.read(buf)? {
                    0 => self.end_block(*block)?,
                    n => {
                        block.check.update(&buf[..n]);
                        block.plain += n as u64;
                        self.state = State::Inside(block);
                        return Ok(n);
                    }
                },
                State::Ended => {
                    self.state = State::Ended;
                    return Ok(0);
                }
                State::Failed => return Err(invalid("read after an error")),
            };
        }
    }
}

/// Builds the filters; the last one must be LZMA2 with a bearable dictionary.
fn chain<R: Read>(source: Counted<R>, filters: &[(u64, &[u8])]) -> io::Result<Chain<R>> {
    let Some(((0x21, &[size]), before)) = filters.split_last().map(|(last, rest)| (*last, rest))
    else {
        return Err(invalid("unknown filter"));
    };
    if size > 40 {
        return Err(invalid("bad dictionary size"));
    }
    let dictionary = (2 | u64::from(size & 1)) << (size / 2 + 11);
    if dictionary > u64::from(MAX_DICTIONARY) {
        return Err(invalid("it asks for too large a dictionary"));
    }
    let mut chain = Chain::Lzma2(Box::new(Lzma2Reader::new(source, dictionary as u32, None)));
    for &(id, props) in before.iter().rev() {
        let start = match *props {
            [] => 0,
            [distance] if id == 3 => usize::from(distance) + 1,
            [b0, b1, b2, b3] if id != 3 => u32::from_le_bytes([b0, b1, b2, b3]) as usize,
            _ => return Err(invalid("bad filter")),
        };
        let bcj = match id {
            3 if start > 0 => {
                chain = Chain::Delta(Box::new(DeltaReader::new(chain, start)));
                continue;
            }
            4 => BcjReader::new_x86(chain, start),
            5 => BcjReader::new_ppc(chain, start),
            6 => BcjReader::new_ia64(chain, start),
            7 => BcjReader::new_arm(chain, start),
            8 => BcjReader::new_arm_thumb(chain, start),
            9 => BcjReader::new_sparc(chain, start),
            10 => BcjReader::new_arm64(chain, start),
            11 => BcjReader::new_riscv(chain, start),
            _ => return Err(invalid("unknown filter")),
        };
        chain = Chain::Bcj(Box::new(bcj));
    }
    Ok(chain)
}

/// Bytes that a CRC covers.
struct Summed<'r, R> {
    inner: &'r mut R,
    crc: Crc,
    count: u64,
}

impl<R: Read> Read for Summed<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.crc.update(&buf[..n]);
        self.count += n as u64;
        Ok(n)
    }
}

fn array<const N: usize>(source: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    source.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Up to nine bytes of seven bits.
fn varint(source: &mut impl Read) -> io::Result<u64> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let [byte] = array(source)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(invalid("bad number"))
}

fn crc32(bytes: &[u8]) -> [u8; 4] {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum().to_le_bytes()
}

/// CRC-64/XZ by four bytes at a time.
fn crc64(mut crc: u64, bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(4);
    let rest = words.remainder();
    for word in words {
        let x = crc ^ u64::from(u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
        crc = CRC64[3][x as usize & 0xff]
            ^ CRC64[2][(x >> 8) as usize & 0xff]
            ^ CRC64[1][(x >> 16) as usize & 0xff]
            ^ CRC64[0][(x >> 24) as usize & 0xff]
            ^ (x >> 32);
    }
    for &byte in rest {
        crc = CRC64[0][(crc ^ u64::from(byte)) as usize & 0xff] ^ (crc >> 8);
    }
    crc
}

static CRC64: [[u64; 256]; 4] = {
    let mut tables = [[0; 256]; 4];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0xc96c_5795_d787_0f42
            } else {
                crc >> 1
            };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut table = 1;
    while table < 4 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[table - 1][byte];
            tables[table][byte] = tables[0][before as usize & 0xff] ^ (before >> 8);
            byte += 1;
        }
        table += 1;
    }
    tables
};

fn invalid(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}
