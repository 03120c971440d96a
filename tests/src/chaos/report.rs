//! What came of a run, as tables for people.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::{Fault, Strike};

/// Figures and findings of one run.
#[derive(Debug, Default)]
pub struct Report {
    /// What the order of faults followed from.
    pub seed: u64,
    /// All calls.
    pub calls: usize,
    /// Calls that an upstream executed at least once.
    pub executed: usize,
    /// Calls with an answer.
    pub done: usize,
    /// Executions more than one of a call whose client repeats what fails.
    pub repeated: usize,
    /// Calls that ended with an error that says that nothing was sent, by code.
    pub refused: BTreeMap<String, usize>,
    /// Calls that ended with an error that leaves it open, by code: all, and those executed.
    pub unknown: BTreeMap<String, [usize; 2]>,
    /// Writes of definitions and credentials: acknowledged, refused, left open.
    pub writes: [usize; 3],
    /// For how long at most a credential was still used after another was acknowledged.
    pub stalest: Duration,
    /// Bytes of logs, audit logs and bridges' output that were searched for secrets.
    pub searched: usize,
    /// All faults.
    pub strikes: Vec<Strike>,
    /// What must not be. Empty, or something is wrong.
    pub troubles: Vec<String>,
    /// Where logs and output are kept, if something is wrong.
    pub kept: Option<PathBuf>,
}

impl Report {
    pub(super) fn new(seed: u64, strikes: Vec<Strike>, troubles: Vec<String>) -> Self {
        Self { seed, strikes, troubles, ..Self::default() }
    }

    pub(super) fn trouble(&mut self, what: String) {
        self.troubles.push(what);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nseed {}", self.seed)?;
        writeln!(f, "{:7} calls", self.calls)?;
        writeln!(f, "{:7} executed by an upstream", self.executed)?;
        writeln!(f, "{:7} answered", self.done)?;
        for (code, count) in &self.refused {
            writeln!(f, "{count:7} refused: {code}")?;
        }
        for (code, [all, executed]) in &self.unknown {
            writeln!(f, "{all:7} left open: {code} ({executed} of them executed)")?;
        }
        writeln!(f, "{:7} executed again because their client repeated them", self.repeated)?;
        let [acknowledged, refused, open] = self.writes;
        writeln!(f, "{acknowledged:7} writes acknowledged, {refused} refused, {open} left open")?;
        writeln!(f, "{:7.1?} at most, a replaced credential was still used", self.stalest)?;
        writeln!(
            f,
            "{:7} MB of logs and output searched for secrets\n",
            self.searched / 1_000_000
        )?;
        writeln!(
            f,
            "{:20} {:>5}  {:>16}  {:>16}  {:>16}",
            "fault", "times", "somebody served", "all served", "all after its end"
        )?;
        writeln!(f, "{:20} {:>5}  {:>16}  {:>16}  {:>16}", "", "", "median / max s", "", "")?;
        let mut kinds = BTreeMap::<Fault, Vec<&Strike>>::new();
        for strike in &self.strikes {
            kinds.entry(strike.fault).or_default().push(strike);
        }
        for (fault, strikes) in kinds {
            let column = |time: fn(&Strike) -> Duration| {
                let mut times: Vec<_> = strikes.iter().map(|strike| time(strike)).collect();
                times.sort_unstable();
                let (median, most) = (times.get(times.len() / 2), times.last());
                let seconds = |time: Option<&Duration>| time.map_or(0.0, Duration::as_secs_f64);
                format!("{:.2} / {:.2}", seconds(median), seconds(most))
            };
            let columns = [column(|s| s.first), column(|s| s.all), column(|s| s.after)];
            write!(f, "{:20} {:>5}", fault.name(), strikes.len())?;
            writeln!(f, "  {:>16}  {:>16}  {:>16}", columns[0], columns[1], columns[2])?;
        }
        if self.troubles.is_empty() {
            return writeln!(f, "\nEverything that must hold held.");
        }
        writeln!(f, "\n{} things that must not be:", self.troubles.len())?;
        if let Some(kept) = &self.kept {
            writeln!(f, "logs and output are in {}", kept.display())?;
        }
        self.troubles.iter().try_for_each(|trouble| writeln!(f, "  {trouble}"))
    }
}
