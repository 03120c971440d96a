//! Where results go: standard output, `target/bench/*.json`, and the README between its marks.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::programs;

const BEGIN: &str = "<!-- bench:begin -->";
const END: &str = "<!-- bench:end -->";

/// Every section, in the README's order, with the verb that measures it.
const SECTIONS: [(&str, &str); 4] = [
    ("calls", "make bench"),
    ("bridge", "make bench"),
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

    /// Writes `target/bench/<section>.json`, and all sections that there are into the README.
    ///
    /// # Panics
    /// When a file can't be read or written, or the README has no marks.
    pub fn publish(self) {
        let folder = results();
        fs::create_dir_all(&folder).expect("a folder for results");
        let text: Vec<String> = self.tables.iter().map(Table::markdown).collect();
        let result = json!({
            "machine": machine(),
            "tables": self.tables.iter().map(Table::json).collect::<Vec<_>>(),
            "markdown": text.join("\n"),
        });
        let file = folder.join(self.section).with_extension("json");
        fs::write(file, format!("{result:#}\n")).expect("a file of results");

        let mut block = String::new();
        for (section, verb) in SECTIONS {
            let file = folder.join(section).with_extension("json");
            let Ok(text) = fs::read_to_string(file) else { continue };
            let result: Value = serde_json::from_str(&text).expect("JSON");
            let (machine, markdown) = (&result["machine"], &result["markdown"]);
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let _ = write!(block, "\n`{verb}`, {}:\n\n{}", text(machine), text(markdown));
        }
        let readme = programs::root().join("README.md");
        let text = fs::read_to_string(&readme).expect("the README");
        let (before, rest) = text.split_once(BEGIN).expect("the beginning of the block");
        let (_, after) = rest.split_once(END).expect("the end of the block");
        fs::write(&readme, format!("{before}{BEGIN}\n{block}\n{END}{after}")).expect("the README");
    }
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
