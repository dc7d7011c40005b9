//! Columns aligned by tabs, as rkt has always printed them and as scripts cut
//! them: every cell but a line's last ends in as many tabs as reach the
//! column's end, which lies on a multiple of eight at least one past its
//! widest cell.
//!
//! A column's width counts only within a block of consecutive lines that have
//! that column; so a blank line starts afresh.

const STOP: usize = 8;

/// Lines of cells.
#[derive(Default)]
pub struct Table {
    lines: Vec<Vec<String>>,
}

impl Table {
    pub fn new() -> Table {
        Table::default()
    }

    /// Adds one line; cells that came from outside cannot break it.
    pub fn row<S: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.lines.push(
            cells
                .into_iter()
                .map(|cell| super::tame(cell.as_ref()))
                .collect(),
        );
    }

    /// Adds our own text: lines end at newlines, cells at tabs.
    pub fn text(&mut self, text: &str) {
        let text = text.strip_suffix('\n').unwrap_or(text);
        for line in text.split('\n') {
            self.lines
                .push(line.split('\t').map(str::to_string).collect());
        }
    }

    /// The lines with their tabs, each with a newline.
    pub fn render(&self) -> String {
        let widths = self.widths();
        let mut out = String::new();
        for (line, widths) in self.lines.iter().zip(&widths) {
            for (at, cell) in line.iter().enumerate() {
                out.push_str(cell);
                if let Some(width) = widths.get(at) {
                    let missing = width - cell.chars().count();
                    out.extend(std::iter::repeat_n('\t', missing.div_ceil(STOP)));
                }
            }
            out.push('\n');
        }
        out
    }

    /// For each line the widths of its cells but the last.
    fn widths(&self) -> Vec<Vec<usize>> {
        let mut widths: Vec<Vec<usize>> = self.lines.iter().map(|_| Vec::new()).collect();
        let columns = self.lines.iter().map(Vec::len).max().unwrap_or(0);
        for column in 0..columns {
            let has = |line: &Vec<String>| line.len() > column + 1;
            let mut at = 0;
            while at < self.lines.len() {
                let block = self.lines[at..].iter().take_while(|line| has(line)).count();
                if block == 0 {
                    at += 1;
                    continue;
                }
                let lines = at..at + block;
                let widest = self.lines[lines.clone()]
                    .iter()
                    .map(|line| line[column].chars().count())
                    .max()
                    .unwrap_or(0);
                let width = (widest + 1).next_multiple_of(STOP);
                for line in lines {
                    widths[line].push(width);
                }
                at += block;
            }
        }
        widths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> String {
        let mut table = Table::new();
        table.text(text);
        table.render()
    }

    /// Tables as rkt 1.30 printed them, UUIDs and times masked.
    #[test]
    fn tables_look_as_rkts() {
        let mut list = Table::new();
        list.row([
            "UUID",
            "APP",
            "IMAGE NAME",
            "STATE",
            "CREATED",
            "STARTED",
            "NETWORKS",
        ]);
        list.row([
            "11111111",
            "busybox",
            "example.com/busybox:1.0.0",
            "exited",
            "11 minutes ago",
            "",
            "",
        ]);
        list.row([
            "22222222",
            "-",
            "-",
            "aborted prepare",
            "a long while ago",
            "",
            "",
        ]);
        list.row([
            "33333333",
            "sleeper",
            "example.com/busybox:1.0.0",
            "running",
            "4 seconds ago",
            "3 seconds ago",
            "default:ip4=172.16.28.17",
        ]);
        list.row(["", "true", "example.com/true:1.0.0", "", "", "", ""]);
        assert_eq!(
            list.render(),
            "UUID\t\tAPP\tIMAGE NAME\t\t\tSTATE\t\tCREATED\t\t\tSTARTED\t\tNETWORKS\n\
             11111111\tbusybox\texample.com/busybox:1.0.0\texited\t\t11 minutes ago\t\t\t\t\n\
             22222222\t-\t-\t\t\t\taborted prepare\ta long while ago\t\t\t\n\
             33333333\tsleeper\texample.com/busybox:1.0.0\trunning\t\t4 seconds ago\t\t3 seconds ago\tdefault:ip4=172.16.28.17\n\
             \t\ttrue\texample.com/true:1.0.0\t\t\t\t\t\t\t\t\t\n"
        );
    }

    #[test]
    fn a_line_without_the_column_starts_a_new_block() {
        assert_eq!(
            table("long cell here\tx\n\na\ty\n"),
            "long cell here\tx\n\na\ty\n"
        );
        assert_eq!(table("12345678\tx\na\ty\n"), "12345678\tx\na\t\ty\n");
    }

    #[test]
    fn an_empty_table_is_its_legend() {
        let mut list = Table::new();
        list.row(["UUID", "APP"]);
        assert_eq!(list.render(), "UUID\tAPP\n");
        assert_eq!(Table::new().render(), "");
    }

    #[test]
    fn a_cell_cannot_add_a_column() {
        let mut list = Table::new();
        list.row(["a\tb", "c\nd"]);
        assert_eq!(list.render(), "a?b\tc?d\n");
    }
}
