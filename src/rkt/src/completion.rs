//! Completion scripts, made from the command rows.
//!
//! The script is tables and one function. It walks the words before the
//! cursor down the tree of commands, as rkt itself does, and offers commands,
//! flags, or what the command takes: image IDs and pod UUIDs, asked of rkt.

use crate::command::{Command, Words};
use crate::flags::Flag;
use std::fmt::Write;

/// For bash 4 and later.
pub fn bash(root: &'static Command) -> String {
    let mut commands = Vec::new();
    collect(root, String::new(), &mut commands);
    let mut out = String::from("# bash completion for rkt\n\n");
    function(&mut out, "__rkt_commands", &commands, |command| {
        let names: Vec<&str> = command
            .children
            .iter()
            .filter(|child| !child.hidden)
            .map(|child| child.name)
            .collect();
        (!names.is_empty()).then(|| format!("echo '{}'", names.join(" ")))
    });
    function(&mut out, "__rkt_flags", &commands, |command| {
        let words: Vec<String> = command
            .all_flags()
            .into_iter()
            .filter(|flag| flag.shown())
            .map(flag_word)
            .collect();
        Some(format!("echo '{}'", words.join(" ")))
    });
    function(
        &mut out,
        "__rkt_words",
        &commands,
        |command| match command.words {
            Words::Nothing => None,
            Words::Fixed(words) => Some(format!("echo '{}'", words.join(" "))),
            Words::Images => Some("__rkt_rows image list".to_string()),
            Words::Pods(states) => {
                let states = states.join("\\|");
                Some(match states.is_empty() {
                    true => "__rkt_rows list".to_string(),
                    false => format!("__rkt_rows list | __rkt_only '{states}'"),
                })
            }
        },
    );
    out.push_str(BASH);
    out
}

/// Each command with its path; the root's is empty.
fn collect(command: &'static Command, path: String, into: &mut Vec<(String, &'static Command)>) {
    for child in command.children.iter().filter(|child| !child.hidden) {
        let path = format!("{path} {}", child.name).trim_start().to_string();
        collect(child, path, into);
    }
    into.push((path, command));
}

/// A flag that wants a value ends in `=`.
fn flag_word(flag: &Flag) -> String {
    match flag.bare() {
        Some(_) => format!("--{}", flag.name),
        None => format!("--{}=", flag.name),
    }
}

/// A shell function that answers for each command path.
fn function(
    out: &mut String,
    name: &str,
    commands: &[(String, &'static Command)],
    answer: impl Fn(&'static Command) -> Option<String>,
) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{name}()\n{{\n    case $1 in");
    for (path, command) in commands {
        if let Some(answer) = answer(command) {
            let _ = writeln!(out, "        '{path}') {answer} ;;");
        }
    }
    let _ = writeln!(out, "    esac\n}}\n");
}

const BASH: &str = r#"# The rows of a listing; the first column is what is offered.
__rkt_rows()
{
    "${__rkt_binary:-rkt}" "$@" --no-legend 2>/dev/null
}

__rkt_only()
{
    grep -- "$1"
}

__rkt_complete()
{
    local current=${COMP_WORDS[COMP_CWORD]} previous='' command='' word next i skip=''
    local __rkt_binary=${COMP_WORDS[0]}
    COMPREPLY=()
    [[ $COMP_CWORD -gt 0 ]] && previous=${COMP_WORDS[COMP_CWORD - 1]}

    # bash hands over --flag=value as three words. Files are what most values
    # are; the "-o default" below completes them.
    if [[ $current == '=' || $previous == '=' ]]; then
        return
    fi

    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        next=${COMP_WORDS[i + 1]}
        if [[ -n $skip ]]; then
            skip=''
        elif [[ $word == '=' ]]; then
            skip=1
        elif [[ $word == -* ]]; then
            if [[ $next != '=' && " $(__rkt_flags "$command") " == *" $word= "* ]]; then
                skip=1
            fi
        elif [[ " $(__rkt_commands "$command") " == *" $word "* ]]; then
            command="${command:+$command }$word"
        fi
    done
    # The value of the flag before the cursor.
    [[ -n $skip ]] && return

    local offered
    if [[ $current == -* ]]; then
        offered=$(__rkt_flags "$command")
    else
        offered=$(__rkt_commands "$command")
        [[ -z $offered ]] && offered=$(__rkt_words "$command" | cut -f1)
    fi
    COMPREPLY=($(compgen -W "$offered" -- "$current"))
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]]; then
        compopt -o nospace
    fi
}

complete -o default -F __rkt_complete rkt
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::ROOT;

    #[test]
    fn every_visible_command_and_flag_is_offered() {
        let script = bash(&ROOT);
        assert!(script.contains("'') echo 'cat-manifest completion config"));
        assert!(
            script.contains("'image') echo 'cat-manifest export extract gc list render rm verify'")
        );
        let run = script
            .lines()
            .find(|line| line.contains("'run') echo '--"))
            .unwrap_or_default();
        for flag in ["--volume=", "--net ", "--interactive ", "--dir=", "--rm "] {
            assert!(run.contains(flag), "{flag}");
        }
        assert!(!run.contains("--store-only") && !run.contains("--cpuprofile"));
        assert!(!script.contains("'man'") && !script.contains("'image fetch'"));
        assert!(script.contains("'rm') __rkt_rows list | __rkt_only 'prepare\\|exited'"));
    }
}
