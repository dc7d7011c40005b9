//! Archives, member by member: what stands where, under which name, leading where, of which type.
//!
//! Names come mostly from the archive itself, since bugs of extraction lie where one entry meets another. Checksums
//! are not made right here: the targets do that for every input (`targets::mend`).

use super::Dice;

const BLOCK: usize = 512;
const NAME: std::ops::Range<usize> = 0..100;
const LINK: std::ops::Range<usize> = 157..257;
const SIZE: std::ops::Range<usize> = 124..136;
const TYPE: usize = 156;
const TYPES: &[u8] = b"\x000123456755511122200gxLKSDM";
const ODD: &[&str] = &[
    "",
    ".",
    "..",
    "/",
    "a",
    "a/b",
    "a/b/c",
    "../x",
    "/etc",
    "rootfs",
    "rootfs/",
    "rootfs/a",
    "manifest",
    ".wh.a",
    ".wh..wh..opq",
    ".wh.",
    ".wh..wh.a",
    ".wh..wh.plnk",
    "./",
    "a//b",
    "a/./b",
    "a/../b",
    "sentinel",
    "../sentinel",
];
const KEYS: &[&str] = &[
    "path",
    "linkpath",
    "size",
    "uid",
    "gid",
    "mtime",
    "SCHILY.xattr.user.x",
    "SCHILY.xattr.trusted.overlay.opaque",
    "SCHILY.xattr.security.capability",
    "LIBARCHIVE.xattr.user.y",
    "GNU.sparse.major",
    "GNU.sparse.minor",
    "GNU.sparse.name",
    "GNU.sparse.realsize",
    "GNU.sparse.map",
    "GNU.sparse.size",
    "GNU.sparse.numblocks",
    "charset",
];
const VALUES: &[&str] = &[
    "",
    "0",
    "1",
    "7",
    "1.5",
    "-1",
    "0.999999999",
    "99999999999",
    "18446744073709551615",
    "0,1",
    "0,1,512,4",
    "y",
    "é",
];

#[derive(Clone)]
struct Member {
    head: Vec<u8>,
    body: Vec<u8>,
}

impl Member {
    fn text(&self, field: std::ops::Range<usize>) -> String {
        let bytes = &self.head[field];
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    }

    fn put(&mut self, field: std::ops::Range<usize>, text: &[u8]) {
        let field = &mut self.head[field];
        field.fill(0);
        let len = text.len().min(field.len());
        field[..len].copy_from_slice(&text[..len]);
    }

    fn put_body(&mut self, body: &[u8]) {
        self.put(SIZE, format!("{:011o}", body.len()).as_bytes());
        self.body = body.to_vec();
        self.body.resize(body.len().next_multiple_of(BLOCK), 0);
    }

    fn new() -> Member {
        let mut member = Member {
            head: vec![0; BLOCK],
            body: Vec::new(),
        };
        for (field, text) in [
            (100..108, "0000644"),
            (108..116, "0000000"),
            (116..124, "0000000"),
            (136..148, "00000000001"),
        ] {
            member.put(field, text.as_bytes());
        }
        member.head[257..265].copy_from_slice(b"ustar\x0000");
        member.put_body(b"");
        member
    }
}

/// None if the input does not begin with the header of a member.
pub fn tar(dice: &mut Dice, data: &[u8]) -> Option<Vec<u8>> {
    let (mut members, tail) = split(data);
    if members.is_empty() {
        return None;
    }
    for _ in 0..=dice.roll(3) {
        step(dice, &mut members);
    }
    let mut out = Vec::new();
    for member in &members {
        out.extend_from_slice(&member.head);
        out.extend_from_slice(&member.body);
    }
    out.extend_from_slice(tail);
    Some(out)
}

fn split(data: &[u8]) -> (Vec<Member>, &[u8]) {
    let mut members = Vec::new();
    let mut rest = data;
    while rest.len() >= BLOCK && rest[257..262] == *b"ustar" {
        let size = rest[SIZE]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .fold(0_usize, |sum, b| {
                sum.wrapping_mul(8).wrapping_add(usize::from(b - b'0'))
            });
        let len = size
            .min(data.len())
            .next_multiple_of(BLOCK)
            .min(rest.len() - BLOCK);
        members.push(Member {
            head: rest[..BLOCK].to_vec(),
            body: rest[BLOCK..BLOCK + len].to_vec(),
        });
        rest = &rest[BLOCK + len..];
    }
    (members, rest)
}

fn step(dice: &mut Dice, members: &mut Vec<Member>) {
    let names: Vec<String> = members.iter().map(|member| member.text(NAME)).collect();
    if members.is_empty() || dice.roll(8) == 0 {
        let mut member = Member::new();
        member.put(NAME, name(dice, &names).as_bytes());
        member.put(LINK, name(dice, &names).as_bytes());
        member.head[TYPE] = *dice.pick(TYPES);
        let at = dice.roll(members.len() + 1);
        members.insert(at, member);
        return;
    }
    let at = dice.roll(members.len());
    let member = &mut members[at];
    match dice.roll(8) {
        0 | 1 => dice.shuffle(members),
        2 => member.put(NAME, name(dice, &names).as_bytes()),
        3 => member.put(LINK, name(dice, &names).as_bytes()),
        4 => member.head[TYPE] = *dice.pick(TYPES),
        5 => number(dice, member),
        6 => {
            let fresh = body(dice, member.head[TYPE], &names);
            member.put_body(&fresh);
        }
        _ => {
            let name = member.text(NAME);
            let (dir, base) = name
                .rsplit_once('/')
                .map_or(("", name.as_str()), |(dir, base)| (dir, base));
            let hidden = match dice.roll(2) {
                0 => format!("{dir}/.wh.{base}"),
                _ => format!("{dir}/.wh..wh..opq"),
            };
            let mut whiteout = Member::new();
            whiteout.put(NAME, hidden.trim_start_matches('/').as_bytes());
            let to = dice.roll(members.len() + 1);
            members.insert(to, whiteout);
        }
    }
}

/// A name that meets another entry, or an odd one.
fn name(dice: &mut Dice, names: &[String]) -> String {
    if names.is_empty() || dice.roll(5) == 0 {
        return (*dice.pick(ODD)).to_string();
    }
    let one = dice.pick(names).clone();
    match dice.roll(9) {
        0..=2 => one,
        3 => format!("{}/{}", one.trim_end_matches('/'), dice.pick(ODD)),
        4 => one
            .rsplit_once('/')
            .map_or(one.clone(), |(dir, _)| dir.to_string()),
        5 => format!("{}{one}", dice.pick(&["/", "./", "../", "../../", "a/../"])),
        6 => format!("{}/../{}", one.trim_end_matches('/'), dice.pick(names)),
        7 => one.trim_end_matches('/').to_string(),
        _ => format!("{one}{}", dice.pick(&["/", "x", "/x", "/.."])),
    }
}

fn number(dice: &mut Dice, member: &mut Member) {
    let field = dice
        .pick(&[
            100..108,
            108..116,
            116..124,
            SIZE,
            136..148,
            329..337,
            337..345,
        ])
        .clone();
    let big = [0x80, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
    match dice.roll(5) {
        0 => member.put(
            field,
            dice.pick(&[
                "",
                "0",
                "-1",
                "8",
                "7777777",
                "77777777777",
                " 1",
                "0000755",
            ])
            .as_bytes(),
        ),
        1 => {
            let len = field.len();
            member.put(field, &big[..len]);
        }
        2 => member.put(field, &[0xff; 12]),
        _ => {
            let number = format!("{:07o}", dice.roll(1 << 13));
            member.put(field, number.as_bytes());
        }
    }
}

/// Content that suits the type: records, a long name, or just bytes.
fn body(dice: &mut Dice, kind: u8, names: &[String]) -> Vec<u8> {
    match kind {
        b'x' | b'g' => (0..=dice.roll(3))
            .flat_map(|_| record(dice, names))
            .collect(),
        b'L' | b'K' => {
            let mut long = name(dice, names).into_bytes();
            if dice.roll(2) == 0 {
                long.extend_from_slice("/long".repeat(dice.roll(60)).as_bytes());
            }
            long.push(0);
            long
        }
        _ => vec![b"x\0\n{"[dice.roll(4)]; dice.roll(1300)],
    }
}

/// `length key=value\n`, where the length counts itself.
fn record(dice: &mut Dice, names: &[String]) -> Vec<u8> {
    let value = match dice.roll(2) {
        0 => name(dice, names),
        _ => (*dice.pick(VALUES)).to_string(),
    };
    let rest = format!(" {}={value}\n", dice.pick(KEYS));
    let mut len = rest.len() + 1;
    while len != rest.len() + len.to_string().len() {
        len += 1;
    }
    format!("{len}{rest}").into_bytes()
}
