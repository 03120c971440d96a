//! Faults of every kind thrown at a cluster under load, and what must hold whatever happens.
#![expect(clippy::print_stdout, reason = "the progress is for people")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use ledger::Ledger;
use random::Random;
use stage::{NODES, Stage};

mod agent;
mod caller;
mod disk;
mod fault;
mod ledger;
mod random;
mod relay;
mod report;
mod stage;
mod upstream;
mod verdict;
mod writer;

pub use fault::Fault;
pub use report::Report;
pub use upstream::serve;

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the order of faults and their victims follow from.
    pub seed: u64,
    /// One round of faults; each round has its own order.
    pub faults: Vec<Fault>,
    /// Rounds begin until this time is over; the first is always made.
    pub time: Duration,
    /// A program that calls [`serve`] when it is run as `program upstream PORT BOOK`.
    pub program: PathBuf,
}

/// One fault that was thrown.
#[derive(Clone, Debug)]
pub struct Strike {
    /// Which.
    pub fault: Fault,
    /// From its beginning until somebody was served by a call begun after it.
    pub first: Duration,
    /// From its beginning until every caller was.
    pub all: Duration,
    /// From its end until every caller was served by a call begun after it.
    pub after: Duration,
}

/// From a fault's end until every caller must have been served.
pub const BOUND: Duration = Duration::from_secs(30);

/// Throws the faults, and judges what came of it.
///
/// # Panics
/// When the cluster can't be set up.
pub async fn run(plan: &Plan) -> Report {
    println!("seed {}", plan.seed);
    let random = Random::new(plan.seed);
    let mut stage = Stage::start(&plan.program, &random).await;
    let ledger = Ledger::default();
    let (stop, stopped) = watch::channel(false);
    let mut workers = Vec::new();
    for caller in &stage.callers {
        for lane in 0..caller.lanes() {
            let branch = random.branch(u64::try_from(caller.number * 10 + lane).unwrap_or(0));
            let caller = std::sync::Arc::clone(caller);
            workers.push(tokio::spawn(caller.work(lane, branch, ledger.clone(), stopped.clone())));
        }
    }
    let (writer, end) = (std::sync::Arc::clone(&stage.writer), stopped.clone());
    workers.push(tokio::spawn(async move {
        while !*end.borrow() {
            writer.lock().await.any().await;
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }));

    let started = Instant::now();
    let (mut strikes, mut troubles) = (Vec::new(), Vec::new());
    ledger.watch();
    if let Err(missing) = served(&stage, &ledger).await {
        troubles.push(format!("before any fault: callers {missing:?} are not served"));
    }
    let mut dice = random.branch(0);
    for round in 0.. {
        let mut faults = plan.faults.clone();
        dice.shuffle(&mut faults);
        for fault in faults {
            if round > 0 && started.elapsed() > plan.time {
                break;
            }
            let begun = ledger.watch();
            let Some(what) = fault.strike(&mut stage, &mut dice).await else {
                println!("SKIPPED: {}: this user may not mount", fault.name());
                continue;
            };
            let first_of = |ledger: &Ledger| ledger.served().into_values().min();
            let early = ledger.served();
            stage.revive().await;
            let ended = ledger.watch();
            let late = served(&stage, &ledger).await;
            let late = late.unwrap_or_else(|missing| {
                troubles.push(format!("{}: callers {missing:?} are not served", fault.name()));
                ended + BOUND
            });
            let first = early.values().min().copied().or_else(|| first_of(&ledger)).unwrap_or(late);
            // Who was served during the fault need not wait for its end.
            let served = ledger.served();
            let own = |number: &usize| early.get(number).or_else(|| served.get(number)).copied();
            let all = (0..stage.callers.len()).filter_map(|number| own(&number)).max();
            let last = served.iter().max_by_key(|(_, when)| **when);
            let last = last.map_or(String::new(), |(number, _)| stage.callers[*number].to_string());
            let strike = Strike {
                fault,
                first: first - begun,
                all: all.unwrap_or(late) - begun,
                after: late - ended,
            };
            let (calls, unknown) = ledger.counts();
            println!(
                "{:7.1} s  {:18} {what}: all served after {:.2?}, {:.2?} after its end (last {last}) \
                 [{calls} calls, {unknown} unknown]",
                started.elapsed().as_secs_f64(),
                fault.name(),
                strike.all,
                strike.after
            );
            strikes.push(strike);
        }
        if started.elapsed() >= plan.time {
            break;
        }
    }
    stop.send_replace(true);
    for worker in workers {
        worker.await.expect("a caller that ends");
    }
    verdict::judge(&stage, &ledger.calls(), strikes, troubles, plan.seed).await
}

/// Waits until every caller was served since the ledger's watch began; when, or who was not.
async fn served(stage: &Stage, ledger: &Ledger) -> Result<Instant, Vec<usize>> {
    let started = Instant::now();
    let expected = stage.callers.iter().filter(|caller| !caller.repeats());
    let expected: Vec<_> = expected.map(|caller| caller.number).collect();
    loop {
        let served = ledger.served();
        if served.len() == expected.len() {
            return Ok(served.into_values().max().unwrap_or(started));
        }
        if started.elapsed() > BOUND {
            return Err(expected.into_iter().filter(|one| !served.contains_key(one)).collect());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Stage {
    /// Starts nodes again that ended by themselves, and says so.
    async fn revive(&mut self) {
        for id in 0..NODES {
            let api = self.cluster.api(id).with_token("");
            let status = api.send("GET", "sys/seal-status", None).await;
            let is_sealed = status.is_ok_and(|status| status.body["sealed"] == true);
            let has_ended = self.cluster.has_ended(id);
            if is_sealed || has_ended {
                let what = if has_ended { "ended" } else { "sealed itself" };
                println!("           node {id} {what}; it is started again");
                self.cluster.restart(id).await;
            }
        }
    }
}
