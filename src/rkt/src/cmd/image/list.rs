//! `rkt image list`: all images.

use crate::command::{Call, Command, Outcome};
use crate::flags::{Flag, groups};
use crate::output::images::{self, Field};
use crate::output::json::{self, Form};
use crate::output::{self, block};
use stage0::images::SortKey;

const FIELDS: Flag = Flag::word(
    "fields",
    "id,name,size,importtime,lastused",
    "columns in their order, separated by commas; known are \"id\", \"name\", \"size\", \
     \"importtime\", \"lastused\"",
)
.checked(|value| fields(value).map(drop));
const ORDER: Flag = Flag::word(
    "order",
    "asc",
    "smallest first (\"asc\") or last (\"desc\")",
)
.checked(|value| descending(value).map(drop));
const SORT: Flag = Flag::word(
    "sort",
    "importtime",
    "columns to sort by, separated by commas; known are \"name\", \"importtime\", \
     \"lastused\", \"size\"",
)
.checked(|value| sort_keys(value).map(drop));

pub static COMMAND: Command = Command {
    name: "list",
    short: "list the images in the store",
    usage: "rkt image list",
    long: "Prints one line per image, with the columns and in the order asked for.",
    flags: &[&[FIELDS], groups::FORMAT, groups::TABLE, &[ORDER, SORT]],
    run: Some(run),
    ..Command::EMPTY
};

fn run(call: Call) -> Outcome {
    let args = call.mixed()?;
    let flags = &args.flags;
    let env = crate::cmd::env(flags, COMMAND.name)?;
    let judged = "judged when parsed; defaults are well formed";
    let keys = sort_keys(flags.text(&SORT)).expect(judged);
    let listing = stage0::images::list(&env, &keys, descending(flags.text(&ORDER)).expect(judged))?;
    block::print(COMMAND.name, &listing.errors, "images");
    let text = match Form::from_flag(flags.text(&groups::FORMAT[0])) {
        Some(form) => form.render(&json::array(
            listing.images.iter().map(json::image).collect(),
        )),
        None => {
            let fields = fields(flags.text(&FIELDS)).expect(judged);
            let look = crate::cmd::list::look(flags);
            images::table(&listing.images, &fields, look, sys::time::now_ns())
        }
    };
    output::out(&text)?;
    Ok(0)
}

fn fields(value: &str) -> Result<Vec<Field>, String> {
    choose(value, &Field::ALL)
}

fn sort_keys(value: &str) -> Result<Vec<SortKey>, String> {
    choose(
        value,
        &[
            ("name", SortKey::Name),
            ("importtime", SortKey::ImportTime),
            ("lastused", SortKey::LastUsed),
            ("size", SortKey::Size),
        ],
    )
}

/// A list of known words, none twice.
fn choose<T: Copy>(value: &str, known: &[(&str, T)]) -> Result<Vec<T>, String> {
    let mut seen = Vec::new();
    let mut chosen = Vec::new();
    for word in value.to_lowercase().split(',') {
        let Some((name, item)) = known.iter().find(|(name, _)| *name == word) else {
            return Err(format!("unknown option {}", model::text::quote(word)));
        };
        if seen.contains(name) {
            return Err(format!("duplicated option {}", model::text::quote(word)));
        }
        seen.push(*name);
        chosen.push(*item);
    }
    Ok(chosen)
}

fn descending(value: &str) -> Result<bool, String> {
    match value.to_lowercase().as_str() {
        "asc" => Ok(false),
        "desc" => Ok(true),
        _ => Err("wrong sort order".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_come_in_the_order_asked_for() {
        assert_eq!(fields("name,id"), Ok(vec![Field::Name, Field::Id]));
        assert_eq!(fields("bogus"), Err("unknown option \"bogus\"".to_string()));
        assert_eq!(fields("id,id"), Err("duplicated option \"id\"".to_string()));
        assert_eq!(fields(FIELDS.default()).map(|fields| fields.len()), Ok(5));
        assert_eq!(descending("DESC"), Ok(true));
        assert!(descending("up").is_err());
        assert!(sort_keys("latest").is_err());
    }
}
