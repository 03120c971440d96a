//! Where results go: standard output, `target/bench/*.json`, and the README between its marks.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::programs;

/// Every section of the README, with the verb that measures it.
const SECTIONS: [(&str, &str); 5] = [
    ("calls", "make bench"),
    ("bridge", "make bench"),
    ("profile", "make profile"),
    ("scale", "make scale"),
    ("soak", "make soak"),
];

/// The results of one benchmark.
#[derive(Debug)]
pub struct Report {
    section: &'static str,
    tables: Vec<Table>,
}

/// One table of numbers, and what they are.
#[derive(Debug)]
pub struct Table {
    caption: String,
    columns: Vec<Column>,
    rows: Vec<(String, Vec<f64>)>,
    notes: Vec<String>,
}

/// A column's heading, and the decimals that its numbers are shown with.
pub type Column = (&'static str, usize);

impl Table {
    /// An empty one.
    pub fn new(caption: impl Into<String>, columns: &[Column]) -> Self {
        Self {
            caption: caption.into(),
            columns: columns.to_vec(),
            rows: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds a row; `NaN` is shown as a dash.
    ///
    /// # Panics
    /// When it has another number of values than there are columns.
    pub fn row(&mut self, name: impl Into<String>, values: impl Into<Vec<f64>>) {
        let values = values.into();
        assert_eq!(values.len(), self.columns.len(), "a value for each column");
        self.rows.push((name.into(), values));
    }

    /// Adds a line below the table.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// The table in Markdown, padded so that a terminal shows it as well.
    fn markdown(&self) -> String {
        let mut lines = vec![vec![String::new()]];
        lines[0].extend(self.columns.iter().map(|(heading, _)| (*heading).to_owned()));
        for (name, values) in &self.rows {
            let mut cells = vec![name.clone()];
            for (value, (_, decimals)) in values.iter().zip(&self.columns) {
                cells.push(if value.is_nan() {
                    "–".to_owned()
                } else {
                    format!("{value:.decimals$}")
                });
            }
            lines.push(cells);
        }
        let width = |column: usize| {
            lines.iter().map(|cells| cells[column].chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..=self.columns.len()).map(width).collect();
        let mut text = format!("{}\n\n", self.caption);
        for (number, cells) in lines.iter().enumerate() {
            let _ = write!(text, "| {:<1$} |", cells[0], widths[0]);
            for (cell, width) in cells.iter().zip(&widths).skip(1) {
                let _ = write!(text, " {cell:>width$} |");
            }
            text.push('\n');
            if number == 0 {
                let _ = write!(text, "|-{:-<1$}-|", "", widths[0]);
                for width in &widths[1..] {
                    let _ = write!(text, "-{:->width$}:|", "");
                }
                text.push('\n');
            }
        }
        for note in &self.notes {
            let _ = write!(text, "\n{note}\n");
        }
        text
    }

    fn json(&self) -> Value {
        let headings: Vec<&str> = self.columns.iter().map(|(heading, _)| *heading).collect();
        let rows = self.rows.iter().map(|(name, values)| json!({ "name": name, "values": values }));
        json!({
            "caption": self.caption,
            "columns": headings,
            "rows": rows.collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }
}

impl Report {
    /// A report that goes into one of the README's sections.
    pub fn new(section: &'static str) -> Self {
        Self { section, tables: Vec::new() }
    }

    /// Adds a table, and gives it as text.
    pub fn add(&mut self, table: Table) -> String {
        let text = table.markdown();
        self.tables.push(table);
        text
    }

    /// Writes `target/bench/<section>.json`, and the section of the README between its marks.
    ///
    /// # Panics
    /// When a file can't be read or written, or the README has no such marks.
    pub fn publish(self) {
        let folder = results();
        fs::create_dir_all(&folder).expect("a folder for results");
        let result = json!({
            "machine": machine(),
            "tables": self.tables.iter().map(Table::json).collect::<Vec<_>>(),
        });
        let file = folder.join(self.section).with_extension("json");
        fs::write(file, format!("{result:#}\n")).expect("a file of results");

        let verb = SECTIONS.iter().find(|(section, _)| *section == self.section);
        let verb = verb.map_or("", |(_, verb)| verb);
        let tables: Vec<String> = self.tables.iter().map(Table::markdown).collect();
        let text = format!("`{verb}`, {}:\n\n{}", machine(), tables.join("\n"));
        let readme = programs::root().join("README.md");
        let before = fs::read_to_string(&readme).expect("the README");
        fs::write(readme, replaced(&before, self.section, &text)).expect("the README");
    }
}

/// The text with what stands between a section's marks replaced.
fn replaced(text: &str, section: &str, new: &str) -> String {
    let (begin, end) = (format!("<!-- {section}:begin -->"), format!("<!-- {section}:end -->"));
    let (before, rest) = text.split_once(&begin).expect("the beginning of the section");
    let (_, after) = rest.split_once(&end).expect("the end of the section");
    format!("{before}{begin}\n\n{new}\n{end}{after}")
}

/// Beside the profile's folder that the running program was built into.
fn results() -> PathBuf {
    let this = std::env::current_exe().expect("the path of this program");
    this.ancestors().nth(2).expect("target").join("bench")
}

/// What figures depend on, and nothing that tells machines apart.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let version = Command::new(programs::server()).arg("version").output().expect("a version");
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    // `OpenBao v2.7.2 (…), built …`
    let server: Vec<&str> = version.split_whitespace().take(2).collect();
    format!(
        "{} {} on {}, {cores} cores",
        server.join(" ").trim_end_matches(','),
        std::env::consts::ARCH,
        std::env::consts::OS
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_and_the_others_stay() {
        let text = "a\n<!-- calls:begin -->\nold\n<!-- calls:end -->\nb\n\
                    <!-- soak:begin -->\nkept\n<!-- soak:end -->\n";
        let expected = "a\n<!-- calls:begin -->\n\nnew\n\n<!-- calls:end -->\nb\n\
                        <!-- soak:begin -->\nkept\n<!-- soak:end -->\n";
        assert_eq!(replaced(text, "calls", "new\n"), expected);
    }

    #[test]
    fn the_readme_has_the_marks_of_every_section() {
        let readme = fs::read_to_string(programs::root().join("README.md")).unwrap();
        for (section, _) in SECTIONS {
            assert!(replaced(&readme, section, "new").contains("new"), "{section}");
        }
    }
}
