//! Text as words between signs: words doubled, moved, and exchanged for those that some parser looks for.

use super::Dice;

const WORDS: &[&str] = &[
    "docker://",
    "http://",
    "https://",
    "file://",
    "cimd:appc:v=0:",
    "cimd:docker:v=0:",
    "cimd:aci-archive:v=0:",
    "sha512-",
    "@sha256:",
    "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    ":5000",
    ":latest",
    ":v1",
    "localhost",
    "docker.io",
    "index.docker.io",
    "library/",
    ",os=linux",
    ",arch=amd64",
    ",version=1.0",
    "version=",
    "%2C",
    "%3D",
    "%",
    "?",
    "#",
    "@0",
    "/./",
    "/../",
    "//",
    "é",
    "\u{202e}",
    "<meta name=\"ac-discovery\" content=\"",
    "<meta name='ac-discovery-pubkeys' content='",
    "\">",
    "'>",
    "/>",
    "<!--",
    "-->",
    "{name}",
    "{version}",
    "{os}",
    "{arch}",
    "{ext}",
    "&amp;",
    "&#x2f;",
    "</head>",
    "<body>",
    "<script>",
    "<title>",
    "Bearer ",
    "Basic ",
    "realm=",
    "service=",
    "scope=",
    "\"",
    "\\\"",
    ", ",
    "=",
    "repository:a:pull",
    "repository:a:pull,push",
    "-----BEGIN PUBLIC KEY-----\n",
    "-----END PUBLIC KEY-----\n",
    "-----BEGIN PGP SIGNATURE-----\n\n",
    "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n",
    "-----END PGP SIGNATURE-----\n",
    "Version: 1\n",
    "Charset: utf-8\n",
];

/// None if the input is no text.
pub fn words(dice: &mut Dice, data: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(data).ok()?;
    let mut parts: Vec<&str> = text
        .split_inclusive(|c: char| !c.is_alphanumeric())
        .collect();
    for _ in 0..=dice.roll(3) {
        let at = dice.roll(parts.len() + 1);
        match dice.roll(4) {
            0 => dice.shuffle(&mut parts),
            1 if at < parts.len() => parts[at] = *dice.pick::<&str>(WORDS),
            2 => {
                // A stretch of words again somewhere else.
                let run = parts[at..at + dice.roll(parts.len() - at + 1)].to_vec();
                let to = dice.roll(parts.len() + 1);
                parts.splice(to..to, run);
            }
            _ => parts.insert(at, *dice.pick::<&str>(WORDS)),
        }
    }
    Some(parts.concat().into_bytes())
}
