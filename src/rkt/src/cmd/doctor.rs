//! `rkt doctor`: what works on this machine, and by which way.

use crate::command::{Call, Command, Outcome};
use crate::flags::groups;
use crate::output::json::Form;
use crate::output::{self, table::Table};
use model::Value;
use serde_json::json;
use stage0::doctor::{Health, Row};

pub static COMMAND: Command = Command {
    name: "doctor",
    short: "say what rkt can do on this machine",
    usage: "rkt doctor",
    long: "Tries what rkt needs of the kernel and the host and prints one line for each: whether\n\
           it works (ok), works by an older way (fallback) or does not work (missing), which way\n\
           is taken, and why not the best one.\n\
           \n\
           Exits with 1 when something is missing.",
    flags: &[groups::FORMAT],
    run: Some(run),
    ..Command::EMPTY
};

fn run(call: Call) -> Outcome {
    let args = call.mixed()?;
    let env = super::env(&args.flags, COMMAND.name)?;
    let rows = stage0::doctor::doctor(&env);
    let text = match Form::from_flag(args.flags.text(&groups::FORMAT[0])) {
        Some(form) => form.render(&document(&rows)),
        None => table(&rows),
    };
    output::out(&text)?;
    Ok(u8::from(
        rows.iter().any(|row| row.status == Health::Missing),
    ))
}

fn word(health: Health) -> &'static str {
    match health {
        Health::Ok => "ok",
        Health::Fallback => "fallback",
        Health::Missing => "missing",
    }
}

fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.row(["FEATURE", "STATUS", "WAY", "WHY"]);
    for row in rows {
        table.row([row.name, word(row.status), &row.way, &row.why]);
    }
    table.render()
}

fn document(rows: &[Row]) -> Value {
    let rows = rows.iter().map(
        |row| json!({"name": row.name, "status": word(row.status), "way": row.way, "why": row.why}),
    );
    Value::Array(rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_for_people_and_for_programs() {
        let rows = [Row {
            name: "openat2",
            status: Health::Fallback,
            way: "walk".to_string(),
            why: "ENOSYS".to_string(),
        }];
        assert_eq!(
            table(&rows),
            "FEATURE\tSTATUS\t\tWAY\tWHY\nopenat2\tfallback\twalk\tENOSYS\n"
        );
        assert_eq!(
            Form::Compact.render(&document(&rows)),
            "[{\"name\":\"openat2\",\"status\":\"fallback\",\"way\":\"walk\",\"why\":\"ENOSYS\"}]\n"
        );
    }
}
