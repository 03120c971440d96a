//! The run as a table, as a chart, and as a verdict.

use super::course::Course;
use super::sample::Measure;
use super::series::{Judged, Series};
use crate::bench::report::Table;
use crate::plot::{Chart, Mark, Panel};

/// What isn't flat, and what failed without a fault; empty when all is well.
pub fn complaints(course: &Course) -> Vec<String> {
    let risen = course.judged().into_iter().filter(|judged| !judged.is_flat()).map(|judged| {
        format!(
            "NOT FLAT: {}, {}: {:.1} to {:.1} ({:+.1} by the fitted line; {:.1} is allowed), from \
             {:.0} s to {:.0} s",
            judged.name,
            judged.measure.name(),
            judged.first,
            judged.last,
            judged.fitted,
            judged.slack,
            judged.life.0,
            judged.life.1
        )
    });
    let failed = course.failures.iter().take(20).map(|failure| format!("FAILED: {failure}"));
    risen.chain(failed).collect()
}

/// The judged lives, a row for each.
pub fn table(course: &Course) -> Table {
    let caption = format!(
        "{:.0} minutes of {} calls through 4 clients and 3 bridges, with {} faults; {} calls failed by \
         a fault, {} otherwise. Of each process that lived a quarter of the run or longer: the median \
         of its first quarter after the warm-up, and of its last.",
        course.length / 60.0,
        course.calls,
        course.faults.len(),
        course.excused,
        course.failures.len()
    );
    let columns = [
        ("minutes", 1),
        ("own MiB", 1),
        ("→", 1),
        ("RSS MiB", 1),
        ("→", 1),
        ("PSS MiB", 1),
        ("→", 1),
        ("fds", 0),
        ("→", 0),
        ("sockets", 0),
        ("→", 0),
        ("threads", 0),
        ("→", 0),
    ];
    let mut table = Table::new(caption, &columns);
    let judged = course.judged();
    let lives = judged.chunk_by(|one, other| one.name == other.name && one.life == other.life);
    for life in lives {
        let Some(any) = life.first() else { continue };
        let mut row = vec![(any.life.1 - any.life.0) / 60.0];
        row.extend(life.iter().flat_map(|judged| [judged.first, judged.last]));
        let from = 100.0 * any.life.0 / course.length;
        let name =
            if from > 1.0 { format!("{}, from {from:.0} %", any.name) } else { any.name.clone() };
        table.row(name, row);
    }
    let verdict = if judged.iter().all(Judged::is_flat) { "All is flat" } else { "NOT FLAT" };
    let slack = |measure: Measure| {
        let (number, part) = measure.slack().unwrap_or_default();
        format!("{number:.0} or {:.0} %", part * 100.0)
    };
    table.note(format!(
        "{verdict}. Own is the memory that stands in no file. Not flat is what rises by more than {} of \
         memory in MiB, or {} of all else, whichever is more, both between those medians and by the \
         line of least squares; the PSS, which depends on who else runs the same program, isn't judged.",
        slack(Measure::Own),
        slack(Measure::Threads)
    ));
    table
}

/// Every series over time.
pub fn chart(course: &Course) -> Chart {
    let minutes = course.length > 180.0;
    let scale = if minutes { 60.0 } else { 1.0 };
    let lines = |names: &str, measure: Measure| {
        let named = course.series.iter().filter(|series| series.name.starts_with(names));
        named.map(|series| (series.name.clone(), line(series, measure, scale))).collect()
    };
    let panel = |title: &str, names: &str, measure: Measure| Panel {
        title: format!("{title}{}", measure.name()),
        lines: lines(names, measure),
    };
    let marks = course.faults.iter().map(|(at, fault)| Mark {
        at: at / scale,
        what: fault.name().to_owned(),
        is_major: fault.is_major(),
    });
    Chart {
        title: "What the processes hold under steady load with faults".to_owned(),
        length: course.length / scale,
        unit: format!(
            "{}; dashed: the plugin is killed or reloaded; ticks: other faults",
            if minutes { "minutes" } else { "seconds" }
        ),
        marks: marks.collect(),
        panels: vec![
            panel("Server: ", "server", Measure::Own),
            panel("Plugin: ", "plugin", Measure::Own),
            panel("Bridges: ", "bridge", Measure::Own),
            panel("All: ", "", Measure::Descriptors),
            panel("All: ", "", Measure::Sockets),
            panel("All: ", "", Measure::Threads),
        ],
    }
}

/// A series' points, interrupted between two lives.
fn line(series: &Series, measure: Measure, scale: f64) -> Vec<(f64, f64)> {
    let mut points = Vec::new();
    let mut last = None;
    for (time, pid, sample) in &series.points {
        if last.is_some_and(|last| last != *pid) {
            points.push((time / scale, f64::NAN));
        }
        last = Some(*pid);
        points.push((time / scale, sample.value(measure)));
    }
    points
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::*;

    /// A run of 1,000 s in which the plugin's memory rises by so much each second.
    fn course(rise: f64) -> Course {
        let point = |second: u32| {
            let memory = 30.0 + rise * f64::from(second);
            (f64::from(second), 7, Sample::with_memory(memory))
        };
        let points = (0..1000).map(point).collect();
        let series = vec![Series { name: "plugin".to_owned(), points }];
        let (faults, failures) = (Vec::new(), Vec::new());
        Course { length: 1000.0, series, faults, calls: 1, excused: 0, failures }
    }

    #[test]
    fn a_leak_is_named_and_fails_the_run() {
        assert_eq!(complaints(&course(0.0)), [""; 0]);
        let leaking = course(0.02);
        let named = complaints(&leaking);
        assert_eq!(named.len(), 2, "{named:?}");
        assert!(
            named[0].starts_with("NOT FLAT: plugin, own memory, MiB: 36.0 to 48.0 (+16.0 "),
            "{named:?}"
        );
        let mut report = crate::bench::report::Report::new("soak");
        assert!(report.add(table(&leaking)).contains("\nNOT FLAT. "));
        assert!(report.add(table(&course(0.0))).contains("\nAll is flat. "));
    }

    #[test]
    fn what_no_fault_excuses_fails_the_run() {
        let mut failed = course(0.0);
        failed.failures.push("GET x: 500".to_owned());
        assert_eq!(complaints(&failed), ["FAILED: GET x: 500"]);
    }
}
