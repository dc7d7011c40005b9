//! Words as the languages of service files write them.
//!
//! A word is any text without NUL, which no argument can hold. Each function
//! returns what the language reads back as exactly that word; nothing in it is
//! expanded, split or taken for an option of the language.

use model::text::is_invisible;
use std::fmt::Write;

/// Needs no quotes anywhere: neither a shell nor systemd makes anything of it.
fn is_plain(word: &str) -> bool {
    !word.is_empty()
        && word.bytes().all(
            |b| matches!(b, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'@' | b'+' | b'=' | b':' | b',' | b'.' | b'/' | b'-'),
        )
}

/// A word of POSIX sh. Between single quotes all is itself, line breaks included.
pub fn sh(word: &str) -> String {
    match is_plain(word) {
        true => word.to_string(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// A word of a command line in a unit of systemd: within double quotes C's
/// escapes hold, and everywhere `%` and `$` are doubled to stand for themselves.
pub fn systemd(word: &str) -> String {
    if is_plain(word) {
        return word.to_string();
    }
    let mut out = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '%' | '$' => out.extend([c, c]),
            // Writing to a String cannot fail.
            c if c.is_ascii_control() => drop(write!(out, "\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A text for a comment or a description: one line, nothing that a terminal or
/// the file's language would act on.
pub fn remark(text: &str) -> String {
    let tame = |c: char| match c {
        '\\' | '"' | '\'' | '$' | '`' | '%' => '?',
        c if c.is_control() || is_invisible(c) => '?',
        c => c,
    };
    text.chars().map(tame).collect()
}

/// Words in lines of some hundred characters, the following ones indented and
/// each but the last ended by a backslash, which sh and systemd both read so.
pub fn wrapped(words: &[String], quote: fn(&str) -> String, indent: &str) -> String {
    const WIDTH: usize = 100;
    let mut out = String::new();
    let mut column = 0;
    for word in words.iter().map(|word| quote(word)) {
        if column > 0 && column + word.len() > WIDTH {
            out.push_str(" \\\n");
            out.push_str(indent);
            column = indent.len();
        } else if column > 0 {
            out.push(' ');
        }
        out.push_str(&word);
        column += word.len() + 1;
    }
    out
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
pub(super) mod tests {
    use super::*;

    /// What services have been broken with.
    pub const HOSTILE: &[&str] = &[
        "two words",
        "it's",
        "\"double\"",
        "a\nb",
        "$HOME ${HOME} $$ $(touch /tmp/x) `id`",
        "100% %n %%",
        "--leading",
        "-",
        ";",
        "; rm -rf /",
        "back\\slash\\",
        "\\",
        "#comment",
        "~",
        "*",
        "tab\there",
        "\u{1}\u{7f}",
        "ü\u{202e}x",
        "'\\''",
        "a  b",
        "END",
    ];

    #[test]
    fn a_shell_reads_back_what_went_in() {
        let words: Vec<String> = HOSTILE.iter().map(|word| word.to_string()).collect();
        let script = format!("printf '%s\\000' {}", wrapped(&words, sh, "    "));
        let output = std::process::Command::new("/bin/sh")
            .args(["-c", &script])
            .output()
            .unwrap();
        let read: Vec<&str> = std::str::from_utf8(&output.stdout)
            .unwrap()
            .split_terminator('\0')
            .collect();
        assert_eq!(read, HOSTILE);
    }

    /// The reading side of systemd.syntax(7) and systemd.service(5), for what we write.
    fn read_systemd(line: &str) -> Vec<String> {
        let line = line.replace("\\\n", " ");
        let mut words = Vec::new();
        let mut chars = line.trim_start().chars().peekable();
        while chars.peek().is_some() {
            let quoted = chars.next_if_eq(&'"').is_some();
            let mut word = String::new();
            while let Some(c) = chars.next() {
                match c {
                    '"' if quoted => break,
                    ' ' if !quoted => break,
                    '\\' => match chars.next().unwrap() {
                        'x' => {
                            let hex: String = chars.by_ref().take(2).collect();
                            let code = u8::from_str_radix(&hex, 16).unwrap();
                            word.push(char::from(code));
                        }
                        c => word.push(c),
                    },
                    '%' | '$' => {
                        assert_eq!(chars.next(), Some(c), "{line}");
                        word.push(c);
                    }
                    c => word.push(c),
                }
            }
            words.push(word);
            while chars.next_if_eq(&' ').is_some() {}
        }
        words
    }

    #[test]
    fn systemd_reads_back_what_went_in() {
        let words: Vec<String> = HOSTILE.iter().map(|word| word.to_string()).collect();
        assert_eq!(read_systemd(&wrapped(&words, systemd, "    ")), HOSTILE);
        assert_eq!(systemd("a$b%c\n"), "\"a$$b%%c\\x0a\"");
        assert_eq!(systemd("--net=host"), "--net=host");
        assert_eq!(systemd(""), "\"\"");
    }

    #[test]
    fn a_remark_stays_on_its_line() {
        assert_eq!(
            remark("docker://a:1\nExecStart=/x\\"),
            "docker://a:1?ExecStart=/x?"
        );
    }
}
