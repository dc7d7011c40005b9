//! Plays a session file: a sequence of rkt calls in one data directory with what each must print.
//!
//! ```text
//! # a comment; `# sample fly/rm-one` names the recorded output that the step stands for
//! $ rm {uuid:P}          the call; words are split at blanks, "…" and '…' group, {path} names a fixture file
//! & run {busybox} …      the same in the background; waits until the pod runs, `uuid:` names it
//! > "{uuid:P}"           one line of stdout
//! ! rm: …                one line of stderr
//! ? text                 stdout or stderr must contain this, and is not compared otherwise
//! % image list           stdout is the help screen of this command, by its layout (the words are our own); with it, `>`
//!                        is a line that the screen has
//! = 254                  the exit code, 0 when left out
//! ```
//! Lines are compared with the holes of `matcher`. A step with no `>`, `!`, `?` or `%` must print nothing at all.
//! `UPDATE` is of no use here: the expectations come from recorded facts, not from this program.

use crate::matcher::{self, Names};
use crate::rkt::{Output, Running};
use crate::{Rkt, Scratch};

#[derive(Debug, Default)]
struct Step {
    line: usize,
    sample: String,
    background: bool,
    command: String,
    stdout: Vec<String>,
    stderr: Vec<String>,
    parts: Vec<String>,
    screen: Option<String>,
    code: i32,
}

/// The samples that a file stands for.
pub fn samples(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter_map(|l| l.strip_prefix("# sample "))
        .map(str::trim)
}

/// Plays the whole file and fails once, with every step that went wrong.
#[track_caller]
pub fn play(text: &str, scratch: &Scratch, mut names: Names) {
    let mut wrong = Vec::new();
    let mut running: Vec<Running> = Vec::new();
    let steps = parse(text);
    let all = steps.len();
    for step in steps {
        let command = matcher::fill(&step.command, &names);
        let args = match words(&command) {
            Ok(args) => args,
            Err(open) => panic!("line {}: {open}", step.line),
        };
        let rkt = Rkt::new(scratch).cwd(scratch.path()).args(&args);
        if step.background {
            let save = scratch.at(&format!("uuid-{}", step.line));
            let mut words = args.clone();
            words.insert(1, format!("--uuid-file-save={}", save.display()));
            let pod = Rkt::new(scratch).cwd(scratch.path()).args(&words).spawn();
            let uuid = crate::proc::eventually("the background pod runs", || {
                let uuid = std::fs::read_to_string(&save)
                    .ok()
                    .filter(|u| u.len() == 36)?;
                Rkt::new(scratch)
                    .args(["status", &uuid])
                    .run()
                    .stdout
                    .contains("pid=")
                    .then_some(uuid)
            });
            names.insert(format!("L{}", step.line), uuid.clone());
            names.insert(step.sample.clone(), uuid);
            running.push(pod);
            continue;
        }
        let output = rkt.run();
        if let Err(why) = compare(&step, &output, &mut names) {
            wrong.push(format!(
                "line {} ({}): {why}\n{output}",
                step.line, step.sample
            ));
        }
    }
    drop(running);
    assert!(
        wrong.is_empty(),
        "{} of {all} steps differ\n\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
}

fn compare(step: &Step, output: &Output, names: &mut Names) -> Result<(), String> {
    if output.code != step.code {
        return Err(format!("expected exit {}", step.code));
    }
    if !step.parts.is_empty() {
        let both = format!("{}{}", output.stdout, output.stderr);
        for part in &step.parts {
            let part = matcher::fill(part, names);
            if !both.contains(&part) {
                return Err(format!("lacks {part:?}"));
            }
        }
        return Ok(());
    }
    if let Some(command) = &step.screen {
        help_screen(command, &output.stdout)?;
    }
    for (stream, expected, got) in [
        ("stdout", &step.stdout, &output.stdout),
        ("stderr", &step.stderr, &output.stderr),
    ] {
        if stream == "stdout" && step.screen.is_some() {
            match expected.iter().find(|e| !got.lines().any(|l| l == *e)) {
                Some(line) => return Err(format!("the screen lacks {line:?}")),
                None => continue,
            }
        }
        let lines: Vec<&str> = got
            .lines()
            .filter(|l| !beside(stream, l))
            .map(crate::rkt::unframed)
            .collect();
        if lines.len() != expected.len() {
            return Err(format!(
                "expected {} lines of {stream}, got {}",
                expected.len(),
                lines.len()
            ));
        }
        for (pattern, line) in expected.iter().zip(lines) {
            if !matcher::fits(&matcher::fill(pattern, names), line, names) {
                return Err(format!("{stream}: expected {pattern:?}, got {line:?}"));
            }
        }
    }
    Ok(())
}

/// Lines that are not compared: hints are our own addition, and whether the host has a group `rkt` is its own affair.
fn beside(stream: &str, line: &str) -> bool {
    stream == "stderr"
        && (line.contains(": hint: ")
            || line.contains(": group \"rkt\" not found, will use default gid"))
}

/// Layout of a help screen: the sections in order, each with tab-indented lines, one blank line between.
pub fn help_screen(command: &str, text: &str) -> Result<(), String> {
    let named = text.strip_prefix(&format!("NAME:\n\t{command} - "));
    if named.is_none() {
        return Err(format!("no help screen of {command:?}"));
    }
    // All options of rkt itself are global ones.
    let needed: &[&str] = match command {
        "rkt" => &["USAGE:", "VERSION:", "COMMANDS:", "OPTIONS:"],
        _ => &["USAGE:", "GLOBAL OPTIONS:"],
    };
    let mut order = Vec::new();
    for section in [
        "USAGE:",
        "VERSION:",
        "COMMANDS:",
        "DESCRIPTION:",
        "OPTIONS:",
        "GLOBAL OPTIONS:",
    ] {
        if let Some(at) = text.find(&format!("\n\n{section}\n")) {
            order.push(at);
        } else if needed.contains(&section) {
            return Err(format!("the help screen lacks {section}"));
        }
    }
    if order.is_sorted() {
        Ok(())
    } else {
        Err("the sections are out of order".to_owned())
    }
}

fn parse(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut sample = String::new();
    for (number, line) in text.lines().enumerate() {
        let (mark, rest) = line.split_at_checked(1).unwrap_or(("", ""));
        let rest = rest.strip_prefix(' ').unwrap_or(rest).to_owned();
        match mark {
            "" => {}
            "#" => sample = rest.strip_prefix("sample ").map_or(sample, str::to_owned),
            "$" | "&" => steps.push(Step {
                line: number + 1,
                sample: std::mem::take(&mut sample),
                background: mark == "&",
                command: rest,
                ..Step::default()
            }),
            other => {
                let step = steps
                    .last_mut()
                    .unwrap_or_else(|| panic!("line {}: no call yet", number + 1));
                match other {
                    ">" => step.stdout.push(rest),
                    "!" => step.stderr.push(rest),
                    "?" => step.parts.push(rest),
                    "%" => step.screen = Some(rest),
                    "=" => step.code = rest.parse().expect("an exit code stands after ="),
                    _ => panic!("line {}: unknown mark {other:?}", number + 1),
                }
            }
        }
    }
    steps
}

fn words(text: &str) -> Result<Vec<String>, String> {
    let mut out = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(first) = chars
        .next_if(|c| *c == ' ')
        .or_else(|| chars.peek().copied())
    {
        if first == ' ' {
            continue;
        }
        let mut word = String::new();
        while let Some(c) = chars.next_if(|c| *c != ' ') {
            if c != '"' && c != '\'' {
                word.push(c);
                continue;
            }
            loop {
                match chars.next() {
                    Some(d) if d == c => break,
                    Some(d) => word.push(d),
                    None => return Err(format!("no closing {c} in {text:?}")),
                }
            }
        }
        out.push(word);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_what_quotes_hold() {
        assert_eq!(
            words("a  'b c' d\"e f\"").expect("closed quotes"),
            ["a", "b c", "de f"]
        );
        assert_eq!(words("x ''").expect("closed quotes"), ["x", ""]);
        assert!(words("'x").is_err());
    }

    #[test]
    fn a_session_is_a_list_of_steps() {
        let steps = parse("# sample fly/x\n$ rm a\n! no\n= 254\n\n$ list\n> h\n");
        assert_eq!(steps.len(), 2);
        assert_eq!((steps[0].sample.as_str(), steps[0].code), ("fly/x", 254));
        assert_eq!(steps[1].stdout, ["h"]);
    }
}
