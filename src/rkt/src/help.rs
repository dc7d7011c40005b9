//! Help screens: the layout that rkt's users and their scripts know, filled
//! from the command rows.

use crate::command::Command;
use crate::flags::{Flag, groups};
use crate::output::table::Table;

/// What else the screen says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// `help x`, `x --help`, or wrong words.
    Plainly,
    /// A mere parent of commands was called: its own help flag is shown too.
    Bare,
}

/// The screen of the command at the end of `path`, which starts at the root.
pub fn screen(path: &[&'static Command], asked: Asked) -> String {
    let mut table = Table::new();
    for (title, lines) in sections(path, asked) {
        table.text(title);
        for line in lines {
            table.text(&line);
        }
        table.text("");
    }
    table.render()
}

/// Titles and their lines; only those that have any.
fn sections(path: &[&'static Command], asked: Asked) -> Vec<(&'static str, Vec<String>)> {
    let Some((command, parents)) = path.split_last() else {
        return Vec::new();
    };
    let root = parents.is_empty();
    let name = match root {
        true => command.name.to_string(),
        false => name(path),
    };
    let mut sections = vec![
        ("NAME:", vec![format!("\t{name} - {}", command.short)]),
        ("USAGE:", vec![format!("\t{}", command.usage)]),
    ];
    if root {
        sections.push(("VERSION:", vec![format!("\t{}", crate::cmd::version::RKT)]));
    }
    let commands = runnable(command)
        .into_iter()
        .map(|(path, child)| format!("\t{path}\t{}", child.short));
    sections.push(("COMMANDS:", commands.collect()));
    let long = match command.long {
        "" => Vec::new(),
        long => long.lines().map(|line| format!("\t{line}")).collect(),
    };
    sections.push(("DESCRIPTION:", long));
    let mut own = match root {
        true => global_lines(),
        false => flag_lines(&command.own_flags()),
    };
    if asked == Asked::Bare {
        let at = own
            .iter()
            .take_while(|line| line.trim_start() < "--help")
            .count();
        own.insert(
            at,
            format!("  -h, --help[=false]\thelp for {}", command.name),
        );
    }
    sections.push(("OPTIONS:", own));
    if !root {
        sections.push(("GLOBAL OPTIONS:", global_lines()));
    }
    sections.retain(|(_, lines)| !lines.is_empty());
    sections
}

/// `image list`: the command as typed, without the root.
pub fn name(path: &[&Command]) -> String {
    let names: Vec<&str> = path.iter().skip(1).map(|command| command.name).collect();
    names.join(" ")
}

/// Everything below `command` that can be run and is not hidden.
pub fn runnable(command: &'static Command) -> Vec<(String, &'static Command)> {
    let mut found = Vec::new();
    for child in command
        .children
        .iter()
        .copied()
        .filter(|child| !child.hidden)
    {
        if child.run.is_some() {
            found.push((child.name.to_string(), child));
        }
        for (path, below) in runnable(child) {
            found.push((format!("{} {path}", child.name), below));
        }
    }
    found
}

fn global_lines() -> Vec<String> {
    flag_lines(&groups::GLOBAL.iter().collect::<Vec<_>>())
}

fn flag_lines(flags: &[&'static Flag]) -> Vec<String> {
    let shown = flags.iter().filter(|flag| flag.shown());
    let line = |flag: &&Flag| match flag.short {
        Some(short) => format!("  -{short}, {}\t{}", flag.usage(), flag.help),
        None => format!("      {}\t{}", flag.usage(), flag.help),
    };
    shown.map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::ROOT;
    use crate::lookup;

    fn help(line: &str, asked: Asked) -> String {
        let words = line
            .split_whitespace()
            .map(std::ffi::OsString::from)
            .collect();
        screen(&lookup::find(&ROOT, words).path, asked)
    }

    fn titles(screen: &str) -> Vec<&str> {
        screen
            .lines()
            .filter(|line| line.ends_with(':') && !line.starts_with([' ', '\t']))
            .collect()
    }

    /// The flag column of a section, tabs and help cut off.
    fn flags<'a>(screen: &'a str, title: &str) -> Vec<&'a str> {
        screen
            .lines()
            .skip_while(|line| *line != title)
            .skip(1)
            .take_while(|line| !line.is_empty())
            .filter_map(|line| line.split('\t').next())
            .map(str::trim_start)
            .collect()
    }

    #[test]
    fn sections_stand_in_rkts_order() {
        assert_eq!(
            titles(&help("", Asked::Plainly)),
            [
                "NAME:",
                "USAGE:",
                "VERSION:",
                "COMMANDS:",
                "DESCRIPTION:",
                "OPTIONS:"
            ]
        );
        assert_eq!(
            titles(&help("image", Asked::Plainly)),
            [
                "NAME:",
                "USAGE:",
                "COMMANDS:",
                "DESCRIPTION:",
                "GLOBAL OPTIONS:"
            ]
        );
        assert_eq!(
            titles(&help("stop", Asked::Plainly)),
            ["NAME:", "USAGE:", "OPTIONS:", "GLOBAL OPTIONS:"]
        );
    }

    #[test]
    fn every_screen_ends_in_one_blank_line_and_names_itself() {
        for (path, _) in runnable(&ROOT) {
            let screen = help(&path, Asked::Plainly);
            assert!(screen.starts_with(&format!("NAME:\n\t{path} - ")), "{path}");
            assert!(screen.contains(&format!("USAGE:\n\trkt {path}")), "{path}");
            assert!(
                screen.ends_with("\n\n") && !screen.ends_with("\n\n\n"),
                "{path}"
            );
        }
    }

    #[test]
    fn global_options_are_what_scripts_expect() {
        let global = [
            "--debug[=false]",
            "--dir=/var/lib/rkt",
            "--insecure-options=none",
            "--local-config=/etc/rkt",
            "--system-config=/usr/lib/rkt",
            "--trust-keys-from-https[=false]",
            "--user-config=",
        ];
        assert_eq!(flags(&help("", Asked::Plainly), "OPTIONS:"), global);
        assert_eq!(
            flags(&help("list", Asked::Plainly), "GLOBAL OPTIONS:"),
            global
        );
        let bare = help("", Asked::Bare);
        assert_eq!(flags(&bare, "OPTIONS:")[2], "-h, --help[=false]");
        assert!(
            bare.contains("\n  -h, --help[=false]\t\t\thelp for rkt\n"),
            "{bare}"
        );
        assert_eq!(
            flags(&help("image", Asked::Bare), "OPTIONS:"),
            ["-h, --help[=false]"]
        );
    }

    /// Names, defaults and order of rkt 1.30, and the flags that are new here.
    #[test]
    fn options_of_each_command() {
        let cases: &[(&str, &str)] = &[
            ("list", "--format= --full[=false] --no-legend[=false]"),
            (
                "image list",
                "--fields=id,name,size,importtime,lastused --format= --full[=false] \
                 --no-legend[=false] --order=asc --sort=importtime",
            ),
            (
                "status",
                "--format= --uuid-file=\"\" --wait[=\"false\"] --wait-ready[=\"false\"]",
            ),
            (
                "gc",
                "--expire-prepared=24h0m0s --grace-period=30m0s --mark-only[=false]",
            ),
            ("image gc", "--grace-period=24h0m0s"),
            (
                "fetch",
                "--full[=false] --pull-policy=\"update\" --quiet[=false] --signature=",
            ),
            ("cat-manifest", "--pretty-print[=true] --uuid-file=\"\""),
            ("image cat-manifest", "--pretty-print[=true]"),
            ("config", "--pretty-print[=true]"),
            ("enter", "--app=\"\""),
            ("export", "--app=\"\" --overwrite[=false]"),
            ("image export", "--overwrite[=false]"),
            ("image extract", "--overwrite[=false] --rootfs-only[=false]"),
            ("image render", "--overwrite[=false] --rootfs-only[=false]"),
            ("rm", "--uuid-file=\"\""),
            ("stop", "--force[=false] --uuid-file=\"\""),
            ("version", ""),
            ("completion", ""),
            ("image rm", ""),
            #[cfg(feature = "metadata")]
            ("metadata-service", "--listen-port=18112"),
            ("image verify", ""),
            (
                "run-prepared",
                "--dns= --dns-domain=\"\" --dns-opt= --dns-search= --hostname=\"\" --hosts-entry= \
                 --interactive[=false] --ipc=\"\" --mds-register[=false] --net[=default] \
                 --notify-fd=\"\"",
            ),
            (
                "prepare",
                "--annotation= --caps-remove= --caps-retain= --cpu= --cpu-shares= --environment= \
                 --exec= --group= --inherit-env[=false] --memory= --mount= --name= \
                 --no-overlay[=false] --oom-score-adj= --pod-manifest=\"\" --port= \
                 --private-users[=false] --pull-policy=\"new\" --quiet[=false] --readiness= \
                 --readonly-rootfs= --rlimit= --seccomp= --set-env= --set-env-file= --signature= \
                 --stage1-from-dir= --stage1-hash= --stage1-name= --stage1-path= --stage1-url= \
                 --supplementary-gids= --sysctl= --user= --user-annotation= --user-label= --volume= \
                 --working-dir=",
            ),
            (
                "run",
                "--annotation= --caps-remove= --caps-retain= --cpu= --cpu-shares= \
                 --detach[=false] --dns= --dns-domain=\"\" --dns-opt= --dns-search= \
                 --environment= --exec= --group= --hostname=\"\" --hosts-entry= \
                 --inherit-env[=false] --interactive[=false] --ipc=\"\" --mds-register[=false] \
                 --memory= --mount= --name= --net[=default] --no-overlay[=false] --notify-fd=\"\" \
                 --oom-score-adj= --pod-manifest=\"\" --port= --private-users[=false] \
                 --pull-policy=\"new\" --quiet[=false] --readiness= --readonly-rootfs= --rlimit= --rm[=false] --seccomp= \
                 --set-env= --set-env-file= --signature= --stage1-from-dir= --stage1-hash= --stage1-name= \
                 --stage1-path= --stage1-url= --supplementary-gids= --sysctl= --user= --user-annotation= \
                 --user-label= --uuid-file-save=\"\" --volume= --working-dir=",
            ),
        ];
        for (command, expected) in cases {
            let expected: Vec<&str> = expected.split_whitespace().collect();
            assert_eq!(
                flags(&help(command, Asked::Plainly), "OPTIONS:"),
                expected,
                "{command}"
            );
        }
    }

    #[test]
    fn commands_are_sorted_with_help_at_the_end() {
        let mut names: Vec<&str> = ROOT.children.iter().map(|child| child.name).collect();
        assert_eq!(names.pop(), Some("help"));
        assert!(names.is_sorted(), "{names:?}");
    }
}
