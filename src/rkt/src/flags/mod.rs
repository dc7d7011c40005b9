//! Flags as tables: a `const` list per command says name, kind, default and
//! help of each flag, and that one list feeds the parser, the help screens,
//! the manual pages and the shell completion.
//!
//! Values are checked while they are parsed, by the kind or by a function in
//! the table, so that a bad one is reported as `invalid argument … for --x=…`.
//! What a flag means to a command is the command's affair.

pub mod groups;
pub mod parse;
pub mod values;

pub use values::Values;

/// Checks one value; the text says what is wrong with it.
pub type Check = fn(&str) -> Result<(), String>;

/// One flag of one command.
pub struct Flag {
    /// Without the dashes.
    pub name: &'static str,
    /// `-f`; of the flags that rkt 1.30 knew, none has one.
    pub short: Option<char>,
    pub kind: Kind,
    /// One line for the help screen.
    pub help: &'static str,
    /// Still parsed, but on no screen and in no completion.
    pub hidden: bool,
    /// Printed when the flag is used; such a flag is hidden too.
    pub deprecated: Option<&'static str>,
    pub check: Option<Check>,
    /// May be given more than once, each value counting.
    pub repeats: bool,
}

/// What a flag takes, and how its default is shown.
pub enum Kind {
    /// `--x` or `--x=true`; shown `--x[=false]`.
    Bool(bool),
    /// A text; shown in quotes: `--x="new"`.
    Text(&'static str),
    /// A text that may be left out: `--x[="false"]`, bare meaning `bare`.
    TextOr {
        default: &'static str,
        bare: &'static str,
    },
    /// A value with a form of its own; shown as it is: `--x=none`.
    Word(&'static str),
    /// The same, with a value for `--x` alone: `--x[=default]`.
    WordOr { bare: &'static str },
    /// A span of time in Go's form; shown as Go prints it.
    Duration(&'static str),
}

impl Flag {
    const fn new(name: &'static str, kind: Kind, help: &'static str) -> Flag {
        Flag {
            name,
            short: None,
            kind,
            help,
            hidden: false,
            deprecated: None,
            check: None,
            repeats: false,
        }
    }
    pub const fn bool(name: &'static str, default: bool, help: &'static str) -> Flag {
        Flag::new(name, Kind::Bool(default), help)
    }
    pub const fn text(name: &'static str, default: &'static str, help: &'static str) -> Flag {
        Flag::new(name, Kind::Text(default), help)
    }
    pub const fn text_or(
        name: &'static str,
        default: &'static str,
        bare: &'static str,
        help: &'static str,
    ) -> Flag {
        Flag::new(name, Kind::TextOr { default, bare }, help)
    }
    pub const fn word(name: &'static str, default: &'static str, help: &'static str) -> Flag {
        Flag::new(name, Kind::Word(default), help)
    }
    pub const fn word_or(name: &'static str, bare: &'static str, help: &'static str) -> Flag {
        Flag::new(name, Kind::WordOr { bare }, help)
    }
    pub const fn duration(name: &'static str, default: &'static str, help: &'static str) -> Flag {
        Flag::new(name, Kind::Duration(default), help)
    }
    pub const fn list(name: &'static str, help: &'static str) -> Flag {
        Flag::new(name, Kind::Word(""), help).repeated()
    }
    pub const fn checked(mut self, check: Check) -> Flag {
        self.check = Some(check);
        self
    }
    pub const fn repeated(mut self) -> Flag {
        self.repeats = true;
        self
    }
    pub const fn short(mut self, letter: char) -> Flag {
        self.short = Some(letter);
        self
    }
    pub const fn hide(mut self) -> Flag {
        self.hidden = true;
        self
    }
    pub const fn deprecated(mut self, instead: &'static str) -> Flag {
        self.deprecated = Some(instead);
        self
    }

    pub fn is_bool(&self) -> bool {
        matches!(self.kind, Kind::Bool(_))
    }

    /// On screens and in the manual.
    pub fn shown(&self) -> bool {
        !self.hidden && self.deprecated.is_none()
    }

    /// The value of the bare flag, where it may stand bare.
    pub fn bare(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Bool(_) => Some("true"),
            Kind::TextOr { bare, .. } | Kind::WordOr { bare } => Some(bare),
            Kind::Text(_) | Kind::Word(_) | Kind::Duration(_) => None,
        }
    }

    /// The value when the flag is not given.
    pub fn default(&self) -> &'static str {
        match self.kind {
            Kind::Bool(true) => "true",
            Kind::Bool(false) => "false",
            Kind::Text(default) | Kind::Word(default) | Kind::Duration(default) => default,
            Kind::TextOr { default, .. } => default,
            Kind::WordOr { .. } => "",
        }
    }

    /// `--name` and how its value is written, as help screens show it.
    pub fn usage(&self) -> String {
        let name = self.name;
        match self.kind {
            Kind::Bool(default) => format!("--{name}[={default}]"),
            Kind::Text(default) => format!("--{name}=\"{default}\""),
            Kind::TextOr { default, .. } => format!("--{name}[=\"{default}\"]"),
            Kind::Word(default) | Kind::Duration(default) => format!("--{name}={default}"),
            Kind::WordOr { bare } => format!("--{name}[={bare}]"),
        }
    }

    /// Judges a value by the flag's kind and its own check.
    pub fn judge(&self, value: &str) -> Result<(), String> {
        match self.kind {
            Kind::Bool(_) => {
                model::text::parse_bool(value).map_err(|fault| fault.to_string())?;
            }
            Kind::Duration(_) => {
                parse_duration(value)?;
            }
            _ => {}
        }
        match self.check {
            Some(check) => check(value),
            None => Ok(()),
        }
    }
}

/// Nanoseconds; negative spans are legal.
pub fn parse_duration(value: &str) -> Result<i64, String> {
    model::duration::parse(value).map_err(|fault| fault.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_shown_as_scripts_know_them() {
        let cases: &[(Flag, &str)] = &[
            (Flag::bool("full", false, ""), "--full[=false]"),
            (
                Flag::text("pull-policy", "new", ""),
                "--pull-policy=\"new\"",
            ),
            (Flag::word("dir", "/var/lib/rkt", ""), "--dir=/var/lib/rkt"),
            (Flag::word_or("net", "default", ""), "--net[=default]"),
            (
                Flag::text_or("wait", "false", "true", ""),
                "--wait[=\"false\"]",
            ),
            (
                Flag::duration("grace-period", "30m0s", ""),
                "--grace-period=30m0s",
            ),
        ];
        for (flag, shown) in cases {
            assert_eq!(flag.usage(), *shown);
        }
    }
}
