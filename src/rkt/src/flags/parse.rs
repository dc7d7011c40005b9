//! From words to flags, by the rules of the flag packages that rkt's users
//! know: long flags only (and `-h`), `--f=v` or `--f v`, a flag with an
//! implied value never takes the next word.
//!
//! Words that are no flags are collected, or end the parsing at once for the
//! commands whose further words belong to images or to a program.

use super::Flag;
use lexopt::Arg;
use model::text::{parse_bool, quote};
use std::ffi::{OsStr, OsString};

/// Receives each flag in turn.
pub trait Sink {
    /// `Err` is the reason in `invalid argument "v" for --f=v: reason`.
    fn set(&mut self, flag: &'static Flag, value: &str) -> Result<(), String>;
}

impl Sink for super::Values {
    fn set(&mut self, flag: &'static Flag, value: &str) -> Result<(), String> {
        flag.judge(value)?;
        self.keep(flag, value.to_string());
        Ok(())
    }
}

/// Why parsing stopped early.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// `--help` or `-h`.
    Help,
    /// In the words that follow `Error: `.
    Bad(String),
}

/// How far to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Flags and words in any order, `--` ends the flags.
    Mixed,
    /// Up to the first word that is no flag; a `--` there is swallowed.
    FirstWord,
    /// As `FirstWord`, but `--` is left standing for the caller.
    Walk,
}

/// Reads flags into `sink` and returns what is left of `words`.
pub fn parse(
    table: &[&'static Flag],
    words: Vec<OsString>,
    extent: Extent,
    sink: &mut dyn Sink,
) -> Result<Vec<OsString>, Failure> {
    let mut parser = lexopt::Parser::from_args(words);
    let mut rest = Vec::new();
    // The word that flags are being read from.
    let mut typed = OsString::new();
    loop {
        // Looked at raw, because `--` and `---` mean more here than to lexopt.
        let Some(raw) = parser.try_raw_args() else {
            // Within a cluster such as `-fh`.
            one(table, &mut parser, &typed, sink)?;
            continue;
        };
        let Some(next) = raw.peek().map(OsStr::to_os_string) else {
            return Ok(rest);
        };
        if !is_flag(&next) {
            let mut raw = raw;
            if extent != Extent::Mixed {
                rest.extend(raw);
                return Ok(rest);
            }
            rest.extend(raw.next());
            continue;
        }
        if next == "--" {
            let mut raw = raw;
            if extent != Extent::Walk {
                raw.next();
            }
            rest.extend(raw);
            return Ok(rest);
        }
        typed = next;
        one(table, &mut parser, &typed, sink)?;
    }
}

/// A single dash is a word.
fn is_flag(word: &OsStr) -> bool {
    let bytes = word.as_encoded_bytes();
    bytes.len() > 1 && bytes[0] == b'-'
}

fn one(
    table: &[&'static Flag],
    parser: &mut lexopt::Parser,
    typed: &OsStr,
    sink: &mut dyn Sink,
) -> Result<(), Failure> {
    let shown = typed.to_string_lossy();
    if let Some(long) = shown.strip_prefix("--")
        && (long.starts_with('-') || long.starts_with('='))
    {
        return Err(Failure::Bad(format!("bad flag syntax: {shown}")));
    }
    let (name, flag) = match parser.next() {
        Ok(Some(Arg::Long(name))) => {
            let name = name.to_string();
            (name.clone(), table.iter().find(|flag| flag.name == name))
        }
        Ok(Some(Arg::Short(c))) => match table.iter().find(|flag| flag.short == Some(c)) {
            Some(flag) => (flag.name.to_string(), Some(flag)),
            None if c == 'h' => return Err(Failure::Help),
            None => {
                let cluster = shown.trim_start_matches('-');
                return Err(Failure::Bad(format!(
                    "unknown shorthand flag: {c:?} in -{cluster}"
                )));
            }
        },
        Ok(_) | Err(_) => return Err(Failure::Bad(format!("bad flag syntax: {shown}"))),
    };
    let Some(flag) = flag.copied() else {
        if name == "help" {
            return help_flag(parser.optional_value());
        }
        return Err(Failure::Bad(format!("unknown flag: --{name}")));
    };
    // Of `-fh` the `h` is a flag of its own, unless `f` needs a value.
    let clustered = !shown.starts_with("--") && shown.chars().nth(2) != Some('=');
    let value = match flag.bare() {
        Some(bare) if clustered => OsString::from(bare),
        Some(bare) => parser
            .optional_value()
            .unwrap_or_else(|| OsString::from(bare)),
        None => {
            let missing = |_| Failure::Bad(format!("flag needs an argument: {shown}"));
            parser.value().map_err(missing)?
        }
    };
    let value = value.into_string().map_err(|raw| {
        Failure::Bad(format!(
            "invalid argument {raw:?} for {shown}: not valid UTF-8"
        ))
    })?;
    sink.set(flag, &value).map_err(|reason| {
        Failure::Bad(format!(
            "invalid argument {} for {shown}: {reason}",
            quote(&value)
        ))
    })?;
    if let Some(instead) = flag.deprecated {
        crate::output::err_line(&format!("Flag --{name} has been deprecated, {instead}"));
    }
    if name == "debug" {
        crate::output::set_debug(parse_bool(&value).unwrap_or(false));
    }
    Ok(())
}

/// `--help=false` asks for nothing.
fn help_flag(value: Option<OsString>) -> Result<(), Failure> {
    let Some(value) = value else {
        return Err(Failure::Help);
    };
    let value = value.to_string_lossy();
    match parse_bool(&value) {
        Ok(true) => Err(Failure::Help),
        Ok(false) => Ok(()),
        Err(reason) => Err(Failure::Bad(format!(
            "invalid argument {} for --help={value}: {reason}",
            quote(&value)
        ))),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::Values;
    use super::*;

    const FULL: &Flag = &Flag::bool("full", false, "");
    const APP: &Flag = &Flag::text("app", "", "");
    const NET: &Flag = &Flag::word_or("net", "default", "").repeated();
    const GRACE: &Flag = &Flag::duration("grace-period", "30m0s", "");
    const FOLLOW: &Flag = &Flag::bool("follow", false, "").short('f');
    const TABLE: &[&Flag] = &[FULL, APP, NET, GRACE, FOLLOW];

    fn run(words: &[&str], extent: Extent) -> (Values, Result<Vec<String>, Failure>) {
        let mut values = Values::default();
        let rest = parse(
            TABLE,
            words.iter().map(OsString::from).collect(),
            extent,
            &mut values,
        )
        .map(|rest| rest.into_iter().map(|w| w.into_string().unwrap()).collect());
        (values, rest)
    }

    #[test]
    fn flags_and_words_mix() {
        let (values, rest) = run(
            &["a", "--full", "b", "--app", "--x", "--", "--full"],
            Extent::Mixed,
        );
        assert_eq!(rest.unwrap(), ["a", "b", "--full"]);
        assert!(values.bool(FULL));
        assert_eq!(values.text(APP), "--x");
    }

    #[test]
    fn the_first_word_ends_the_flags() {
        let (values, rest) = run(&["--full=F", "u", "--app", "x"], Extent::FirstWord);
        assert_eq!(rest.unwrap(), ["u", "--app", "x"]);
        assert!(!values.bool(FULL) && values.last("full").is_some());
        let (_, rest) = run(&["--", "u", "--", "x"], Extent::FirstWord);
        assert_eq!(rest.unwrap(), ["u", "--", "x"]);
        let (_, rest) = run(&["--full", "--", "x"], Extent::Walk);
        assert_eq!(rest.unwrap(), ["--", "x"]);
    }

    #[test]
    fn an_implied_value_takes_no_word() {
        let (values, rest) = run(&["--net", "none", "--net=host"], Extent::Mixed);
        assert_eq!(rest.unwrap(), ["none"]);
        assert_eq!(values.owned("net"), ["default", "host"]);
    }

    #[test]
    fn short_flags_stand_together() {
        let (values, rest) = run(&["-f", "x"], Extent::Mixed);
        assert_eq!(rest.unwrap(), ["x"]);
        assert!(values.bool(FOLLOW));
        assert!(!run(&["-f=false"], Extent::Mixed).0.bool(FOLLOW));
        assert_eq!(run(&["-fh"], Extent::Mixed).1, Err(Failure::Help));
        let unknown = "unknown shorthand flag: 'x' in -fx".to_string();
        assert_eq!(run(&["-fx"], Extent::Mixed).1, Err(Failure::Bad(unknown)));
    }

    #[test]
    fn failures_have_cobras_words() {
        let cases: &[(&[&str], &str)] = &[
            (&["--bogus=1"], "unknown flag: --bogus"),
            (&["-x"], "unknown shorthand flag: 'x' in -x"),
            (&["-xyz"], "unknown shorthand flag: 'x' in -xyz"),
            (&["---"], "bad flag syntax: ---"),
            (&["--=v"], "bad flag syntax: --=v"),
            (&["--app"], "flag needs an argument: --app"),
            (
                &["--full=maybe"],
                "invalid argument \"maybe\" for --full=maybe: strconv.ParseBool: parsing \
                 \"maybe\": invalid syntax",
            ),
        ];
        for (words, text) in cases {
            assert_eq!(
                run(words, Extent::Mixed).1,
                Err(Failure::Bad(text.to_string()))
            );
        }
        assert_eq!(run(&["a", "-h"], Extent::Mixed).1, Err(Failure::Help));
        assert_eq!(run(&["--help"], Extent::Mixed).1, Err(Failure::Help));
        assert_eq!(
            run(&["-", "--help=false"], Extent::Mixed).1,
            Ok(vec!["-".to_string()])
        );
    }
}
