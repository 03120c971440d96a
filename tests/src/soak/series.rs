//! What a process held over time, and whether it stayed flat.
//!
//! A process that is started again begins a new life. A life that is long enough is judged: without
//! its warm-up, the median of its last quarter is compared with that of its first, and a line is
//! fitted by least squares. It isn't flat where both rise by more than the slack that is stated for
//! the measure: one alone may be a peak at an end, or one step in between.

use super::sample::{Measure, Sample};
use crate::bench::median;

/// The part of the run that a life must last to be judged.
const LONG: f64 = 0.25;
/// The part of a life in which caches, pools and the allocator fill.
const WARM_UP: f64 = 0.2;

/// One process by role, through all its lives.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// What it is.
    pub name: String,
    /// Seconds since the begin of the run, process, and what it held.
    pub points: Vec<(f64, u32, Sample)>,
}

/// A verdict on one measure of one life.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The process.
    pub name: String,
    /// What of it.
    pub measure: Measure,
    /// Begin and end of the life, in seconds of the run.
    pub life: (f64, f64),
    /// The median of the first quarter after the warm-up.
    pub first: f64,
    /// The median of the last quarter.
    pub last: f64,
    /// By how much the fitted line rises from the warm-up's end on.
    pub fitted: f64,
    /// By how much both may rise; infinite where nothing is judged.
    pub slack: f64,
}

impl Judged {
    /// Whether it stayed flat.
    pub fn is_flat(&self) -> bool {
        self.last - self.first <= self.slack || self.fitted <= self.slack
    }
}

impl Series {
    /// Judges every measure of each life that is long enough in a run of so many seconds.
    pub fn judged(&self, length: f64) -> Vec<Judged> {
        let lives = self.points.chunk_by(|one, next| one.1 == next.1);
        let mut judged = Vec::new();
        for life in lives {
            let (Some(begin), Some(end)) = (life.first(), life.last()) else { continue };
            let span = (begin.0, end.0);
            if span.1 - span.0 < LONG * length {
                continue;
            }
            for measure in Measure::ALL {
                let points = life.iter().map(|(time, _, sample)| (*time, sample.value(measure)));
                let points: Vec<(f64, f64)> = points.collect();
                judged.push(judge(&self.name, measure, span, &points));
            }
        }
        judged
    }
}

fn judge(name: &str, measure: Measure, life: (f64, f64), points: &[(f64, f64)]) -> Judged {
    let warm = life.0 + (life.1 - life.0) * WARM_UP;
    let points: Vec<(f64, f64)> = points.iter().copied().filter(|point| point.0 >= warm).collect();
    let quarter = (life.1 - warm) / 4.0;
    let median_of = |from: f64, to: f64| {
        let within = points.iter().filter(|point| (from..=to).contains(&point.0));
        median(&within.collect::<Vec<_>>(), |point| point.1)
    };
    let first = median_of(warm, warm + quarter);
    Judged {
        name: name.to_owned(),
        measure,
        life,
        first,
        last: median_of(life.1 - quarter, life.1),
        fitted: slope(&points) * (life.1 - warm),
        slack: measure.slack().map_or(f64::INFINITY, |(number, part)| number.max(first * part)),
    }
}

/// The slope of the line of least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let both: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let square: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    if square > 0.0 { both / square } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A life of 1,000 s, a point for each second.
    fn verdict(value: impl Fn(f64) -> f64) -> Judged {
        let points: Vec<_> =
            (0..=1000).map(f64::from).map(|second| (second, value(second))).collect();
        judge("plugin", Measure::Own, (0.0, 1000.0), &points)
    }

    /// Between -1 and 1, and back, again and again.
    fn saw(second: f64) -> f64 {
        (second % 40.0) / 20.0 - 1.0
    }

    #[test]
    fn a_line_is_fitted() {
        let fitted = slope(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0), (3.0, 7.0)]);
        assert!((fitted - 2.0).abs() < 1e-9, "{fitted}");
        assert!(slope(&[(0.0, 1.0), (1.0, 3.0), (2.0, 1.0)]).abs() < 1e-9);
        assert!(slope(&[(1.0, 1.0)]).abs() < 1e-9);
    }

    #[test]
    fn what_leaks_is_not_flat_and_what_only_varies_is() {
        let leak = verdict(|second| 30.0 + 0.01 * second + saw(second));
        assert!(!leak.is_flat(), "{leak:?}");
        // 800 s after the warm-up, and the medians are of quarters.
        assert!((leak.fitted - 8.0).abs() < 0.2 && (leak.last - leak.first - 6.0).abs() < 0.3);
        assert!((leak.slack - leak.first / 10.0).abs() < 1e-9, "{leak:?}");
        for (what, flat) in [
            ("varies", verdict(|second| 30.0 + 3.0 * saw(second))),
            ("warms up", verdict(|second| 30.0 - 200.0 / (second + 10.0))),
            ("shrinks", verdict(|second| 30.0 - 0.01 * second)),
            ("peaks at the end", verdict(|second| if second < 950.0 { 30.0 } else { 90.0 })),
            ("rises by less", verdict(|second| 30.0 + 0.002 * second)),
        ] {
            assert!(flat.is_flat(), "{what}: {flat:?}");
        }
    }

    #[test]
    fn each_long_life_is_judged_on_its_own() {
        let sample = Sample::with_memory(30.0);
        let life = |pid: u32, from: u32, to: u32| {
            (from..to).map(move |second| (f64::from(second), pid, sample))
        };
        let points = life(1, 0, 100).chain(life(2, 100, 500)).chain(life(3, 500, 1000)).collect();
        let series = Series { name: "plugin".to_owned(), points };
        let judged = series.judged(1000.0);
        let lives: Vec<_> = judged.iter().map(|judged| judged.life).collect();
        let all = Measure::ALL.len();
        assert_eq!(lives, [vec![(100.0, 499.0); all], vec![(500.0, 999.0); all]].concat());
    }
}
