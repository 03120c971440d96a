//! Measures several loads in turns, so that a busy moment of the machine hits all alike.

use std::time::Duration;

use super::cost::processor_time;
use super::load::{Load, Pass};
use super::median;

/// How long one pass takes.
pub const PASS: Duration = Duration::from_secs(1);

/// Medians of a load's passes.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Answers for each second.
    pub per_second: f64,
    /// Median time from request to whole answer, in milliseconds.
    pub p50_ms: f64,
    /// Their 99th percentile.
    pub p99_ms: f64,
    /// Time on the processor for each answer, in microseconds, of each process asked for.
    pub cost_us: [f64; 2],
}

/// The time on the processor that processes have had together.
fn all_of(processes: &[u32]) -> Duration {
    processes.iter().copied().map(processor_time).sum()
}

/// Runs `passes` passes of each load in turns, at one concurrency; `processes` are the server's and
/// those of plugins.
pub async fn in_turns(
    loads: &[Load],
    processes: [&[u32]; 2],
    concurrency: usize,
    passes: usize,
) -> Vec<Figures> {
    let mut results: Vec<Vec<(Pass, [f64; 2])>> = loads.iter().map(|_| Vec::new()).collect();
    for _ in 0..passes {
        for (load, results) in loads.iter().zip(&mut results) {
            let before = processes.map(all_of);
            let pass = load.run(concurrency, PASS).await;
            let after = processes.map(all_of);
            let cost = |at: usize| {
                let time = after[at].saturating_sub(before[at]);
                time.as_secs_f64() * 1e6 / pass.all_answers as f64
            };
            results.push((pass, [cost(0), cost(1)]));
        }
    }
    let figures = |results: &Vec<(Pass, [f64; 2])>| Figures {
        per_second: median(results, |(pass, _)| pass.per_second),
        p50_ms: median(results, |(pass, _)| pass.p50_ms),
        p99_ms: median(results, |(pass, _)| pass.p99_ms),
        cost_us: [median(results, |(_, cost)| cost[0]), median(results, |(_, cost)| cost[1])],
    };
    results.iter().map(figures).collect()
}
