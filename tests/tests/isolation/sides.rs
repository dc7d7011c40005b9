//! Side by side: what the probe sees in a pod, in each way to start one, and in the containers of crun and podman, as
//! the table of docs/isolation.md; and that rkt is nowhere the weaker one without a reason.
//!
//! Cells that this machine cannot fill (a kernel without the file, a peer that is another version or not there) keep what
//! the document says; all others must be what the document says.

use crate::columns::{self, COLUMNS, Column, Place};
use crate::doc;
use crate::report::Report;
use crate::rows::{self, Row};
use std::collections::BTreeMap;
use std::fmt::Write;
use tests::isolated::{Mode, isolated_in, path};
use tests::{Scratch, root_test_in};

const PART: &str = "sides";
/// A cell that no machine has filled.
const UNSEEN: &str = "–";

/// What the document says: the peers it was written with, and cells by label.
struct Written {
    with: String,
    cells: BTreeMap<String, Vec<String>>,
}

impl Written {
    fn read() -> Written {
        let text = doc::part(PART);
        let with = text.lines().find_map(|l| l.strip_prefix("Seen with "));
        let mut cells = BTreeMap::new();
        for line in text.lines() {
            let row = line.strip_prefix("| ").and_then(|l| l.strip_suffix(" |"));
            let Some((labels, rest)) = row.and_then(|r| r.split_once(" | ")) else {
                continue;
            };
            let rest: Vec<String> = rest.split(" | ").map(str::to_owned).collect();
            for label in labels.split(", ") {
                cells.insert(label.trim_matches('`').to_owned(), rest.clone());
            }
        }
        Written {
            with: with.unwrap_or("").trim_end_matches('.').to_owned(),
            cells,
        }
    }

    fn cell(&self, label: &str, column: usize) -> &str {
        let row = self.cells.get(label);
        row.and_then(|r| r.get(column))
            .map_or(UNSEEN, String::as_str)
    }
}

/// The reports by column; a peer that cannot be asked has none.
fn reports(place: &Place) -> Vec<(&'static Column, Option<Report>)> {
    let ask = |column: &'static Column| match column.report(place) {
        Ok(report) => (column, Some(report)),
        Err(why) => {
            eprintln!("column {:?} is not compared: {why}", column.title);
            (column, None)
        }
    };
    COLUMNS.iter().map(ask).collect()
}

/// Row by row, the cells as this machine shows them.
fn seen(rows: &[Row], reports: &[(&Column, Option<Report>)]) -> Vec<Vec<String>> {
    let kernel = columns::kernel();
    let cell = |row: &Row, report: &Option<Report>| {
        let seen = report.as_ref().and_then(|r| row.cell(r, &kernel));
        seen.unwrap_or_else(|| UNSEEN.to_owned())
    };
    rows.iter()
        .map(|row| reports.iter().map(|(_, r)| cell(row, r)).collect())
        .collect()
}

/// The same with what the document says where nothing was seen, or where the peers are not the document's.
fn filled(rows: &[Row], seen: &[Vec<String>], written: &Written, with: &str) -> Vec<Vec<String>> {
    let same_peers = written.with == with || doc::writing();
    let cell = |row: &Row, at: usize, seen: &String| {
        let said = written.cell(&row.label, at);
        // Another machine's kernel may have more than that of the one that wrote the document.
        let theirs = !COLUMNS[at].ours && !same_peers;
        match seen == UNSEEN || theirs || said == UNSEEN && !doc::writing() {
            true => said.to_owned(),
            false => seen.clone(),
        }
    };
    let of_row = |(row, seen): (&Row, &Vec<String>)| {
        (0..)
            .zip(seen)
            .map(|(at, seen)| cell(row, at, seen))
            .collect()
    };
    rows.iter().zip(seen).map(of_row).collect()
}

/// Every row where a column of ours is weaker than a peer's must have a reason, and no other row may.
#[track_caller]
fn assert_nowhere_weaker(rows: &[Row], cells: &[Vec<String>]) {
    let mut wrong = Vec::new();
    for (row, cells) in rows.iter().zip(cells) {
        let mut weaker = false;
        for (ours, at) in COLUMNS.iter().zip(0..).filter(|(c, _)| c.ours) {
            for (theirs, peer) in COLUMNS.iter().zip(0..).filter(|(c, _)| !c.ours) {
                let (a, b): (&str, &str) = (&cells[at], &cells[peer]);
                if a == UNSEEN || b == UNSEEN || !row.is_weaker(a, b) {
                    continue;
                }
                weaker = true;
                if row.why().is_empty() {
                    wrong.push(format!(
                        "{}: {} ({a}) is weaker than {} ({b}), and nobody says why",
                        row.label, ours.title, theirs.title
                    ));
                }
            }
        }
        if !weaker && !row.why().is_empty() && !cells.iter().any(|c| c == UNSEEN) {
            wrong.push(format!("{}: the reason is not needed", row.label));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn table(rows: &[Row], cells: &[Vec<String>], with: &str) -> String {
    let mut text = String::new();
    for column in COLUMNS {
        let _ = writeln!(text, "- **{}**: {}", column.title, column.command);
    }
    let _ = write!(text, "\nSeen with {with}.\n");
    let mut group = "";
    let mut left: &[(&Row, &Vec<String>)] = &rows
        .iter()
        .zip(cells)
        .filter(|(_, cells)| cells.iter().any(|c| c != UNSEEN))
        .collect::<Vec<_>>();
    while let Some((row, cells)) = left.first() {
        // Neighbours that say the same share a line.
        let alike = |(other, theirs): &&(&Row, &Vec<String>)| {
            other.group == row.group && other.why() == row.why() && theirs == cells
        };
        let (line, rest) = left.split_at(left.iter().take_while(alike).count());
        let labels: Vec<String> = line.iter().map(|(row, _)| shown(row)).collect();
        left = rest;
        if group != row.group {
            group = row.group;
            let titles: Vec<&str> = COLUMNS.iter().map(|c| c.title).collect();
            let _ = write!(
                text,
                "\n| {group} | {} | why weaker |\n|{}\n",
                titles.join(" | "),
                "---|".repeat(titles.len() + 2)
            );
        }
        let _ = writeln!(
            text,
            "| {} | {} | {} |",
            labels.join(", "),
            cells.join(" | "),
            row.why()
        );
    }
    text
}

fn shown(row: &Row) -> String {
    let call = row.group == "System calls"
        && !row.label.starts_with("by ")
        && row.label != "no such number";
    match call || row.label.starts_with('/') {
        true => format!("`{}`", row.label),
        false => row.label.clone(),
    }
}

root_test_in! {
    &[Mode::Shared],
    fn rkt_is_nowhere_weaker_without_a_reason(s) {
        let place = Place::new(s);
        let (written, with) = (Written::read(), columns::surroundings());
        let reports = reports(&place);
        let of_rkt = reports[0].1.as_ref().expect("a way of rkt's own fails by itself");
        let rows = rows::rows(of_rkt);
        let seen = seen(&rows, &reports);
        let cells = filled(&rows, &seen, &written, &with);
        let with = if doc::writing() { &with } else { &written.with };
        doc::compare(PART, &table(&rows, &cells, with));
        assert_nowhere_weaker(&rows, &cells);
        // And on this machine, whatever peers and kernel it has.
        assert_nowhere_weaker(&rows, &seen);
        let column = |title| COLUMNS.iter().position(|c| c.title == title).expect("it is in the list");
        let (app, entered) = (column("rkt"), column("rkt enter"));
        for (row, cells) in rows.iter().zip(&seen) {
            assert_eq!(cells[app], cells[entered], "{}: who enters is not the app's equal", row.label);
        }
    }
}

/// Counted as skipped where the peers' columns could not be compared, with the reason.
#[test]
fn the_peers_are_those_of_the_document() {
    fn inner() {
        let scratch = Scratch::new("peers");
        let (written, with) = (Written::read(), columns::surroundings());
        let place = Place::new(&scratch);
        for column in COLUMNS.iter().filter(|c| !c.ours) {
            if let Err(why) = column.report(&place) {
                return tests::skip::record(&format!("{} {why}", column.title));
            }
        }
        if written.with != with {
            tests::skip::record(&format!(
                "docs/isolation.md was written with {}, and here are {with}: the peers' columns are not compared",
                written.with
            ));
        }
    }
    let test = path(module_path!(), "the_peers_are_those_of_the_document");
    isolated_in(&[Mode::Shared], &test, inner);
}
