//! Manual pages in roff, from the same rows as everything else.

use crate::command::Command;
use crate::flags::{Flag, groups};
use crate::help;
use std::fmt::Write;

/// The page of the command at the end of `path`, which starts at the root.
pub fn page(path: &[&'static Command]) -> String {
    let Some(command) = path.last() else {
        return String::new();
    };
    let name = path
        .iter()
        .map(|command| command.name)
        .collect::<Vec<_>>()
        .join("-");
    let mut out = format!(".TH {} 8\n", escape(&name.to_uppercase()));
    let _ = writeln!(
        out,
        ".SH NAME\n{} \\- {}",
        escape(&name),
        escape(command.short)
    );
    let _ = writeln!(out, ".SH SYNOPSIS\n.B {}", escape(command.usage));
    if !command.long.is_empty() {
        let _ = writeln!(out, ".SH DESCRIPTION\n{}", paragraphs(command.long));
    }
    let below = help::runnable(command);
    if !below.is_empty() {
        out.push_str(".SH COMMANDS\n");
        for (path, child) in below {
            let _ = writeln!(out, ".TP\n.B {}\n{}", escape(&path), escape(child.short));
        }
    }
    if path.len() > 1 {
        options(&mut out, "OPTIONS", command.own_flags());
        options(&mut out, "GLOBAL OPTIONS", groups::GLOBAL.iter().collect());
    } else {
        options(&mut out, "OPTIONS", groups::GLOBAL.iter().collect());
    }
    out
}

fn options(out: &mut String, title: &str, flags: Vec<&'static Flag>) {
    let shown: Vec<&Flag> = flags.into_iter().filter(|flag| flag.shown()).collect();
    if shown.is_empty() {
        return;
    }
    // Writing to a String cannot fail, here and above.
    let _ = writeln!(out, ".SH {title}");
    for flag in shown {
        let _ = writeln!(
            out,
            ".TP\n.B {}\n{}",
            escape(&flag.usage()),
            escape(flag.help)
        );
    }
}

/// Blank lines divide paragraphs, indented lines are examples.
fn paragraphs(text: &str) -> String {
    let mut out = Vec::new();
    for line in text.lines() {
        match line.strip_prefix('\t') {
            Some(example) => out.push(format!(".RS\n{}\n.RE", escape(example))),
            None if line.is_empty() => out.push(".PP".to_string()),
            None => out.push(escape(line)),
        }
    }
    out.join("\n")
}

/// Nothing of the text may be taken for a request.
fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::ROOT;

    #[test]
    fn a_page_has_its_sections() {
        let page = page(&[&ROOT, ROOT.children[0]]);
        for title in [
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "OPTIONS",
            "GLOBAL OPTIONS",
        ] {
            assert!(page.contains(&format!(".SH {title}\n")), "{title}");
        }
        assert!(page.starts_with(".TH RKT\\-CAT\\-MANIFEST 8\n"));
        assert_eq!(escape(".so /etc/x\\n"), "\\&.so /etc/x\\en");
    }
}
