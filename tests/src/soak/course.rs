//! The run: load, faults and samples side by side.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet, spawn_local};
use tokio::time::{MissedTickBehavior, interval};

use super::faults::{Fault, strike};
use super::load::{Seat, agent, client};
use super::sample::{Measure, Sample};
use super::series::{Judged, Series};
use super::stage::{CALLER, Stage, Upstreams};

/// Clients that call Vault themselves.
const CLIENTS: usize = 4;
/// Agents, each with a bridge.
const AGENTS: usize = 3;
/// The bridge that is started again.
const RESTARTED: usize = 1;
const SAMPLED: Duration = Duration::from_secs(1);
/// From one line about the progress to the next, in samples.
const TOLD: usize = 5;

/// What a run was like.
#[derive(Debug)]
pub struct Course {
    /// How long it took, in seconds.
    pub length: f64,
    /// Server, plugin, bridges.
    pub series: Vec<Series>,
    /// What went wrong on purpose, and when it began.
    pub faults: Vec<(f64, Fault)>,
    /// Calls in all.
    pub calls: usize,
    /// Those that failed in or after a fault.
    pub excused: usize,
    /// What failed without one.
    pub failures: Vec<String>,
}

impl Course {
    /// Judges what was watched.
    pub fn judged(&self) -> Vec<Judged> {
        self.series.iter().flat_map(|series| series.judged(self.length)).collect()
    }
}

/// Runs for so long; `tell` gets a line every few seconds.
///
/// # Panics
/// When something can't be started, or doesn't come back.
pub async fn run(length: Duration, tell: impl FnMut(String)) -> Course {
    LocalSet::new().run_until(course(length, tell)).await
}

async fn course(length: Duration, mut tell: impl FnMut(String)) -> Course {
    let (stage, upstreams) = Stage::set().await;
    let stage = Arc::new(stage);
    let (stop, stopped) = watch::channel(false);
    let mut load = JoinSet::new();
    let mut seats = Vec::new();
    for number in 0..AGENTS {
        let role = stage.world.app_role(&format!("agent-{number}"), CALLER).await;
        let seat = Arc::new(Seat::default());
        load.spawn_local(agent(Arc::clone(&stage), role, Arc::clone(&seat), stopped.clone()));
        crate::wait::until("the bridge to serve", async || {
            (seat.pid.load(Ordering::SeqCst) != 0).then_some(())
        })
        .await;
        seats.push(seat);
    }
    for number in 0..CLIENTS {
        load.spawn_local(client(Arc::clone(&stage), number * 5, stopped.clone()));
    }

    let begun = Instant::now();
    let (tell_fault, mut told_faults) = watch::channel(Vec::new());
    let seat = Arc::clone(seats.get(RESTARTED).expect("a bridge to restart"));
    let striking =
        spawn_local(faults(Arc::clone(&stage), upstreams, seat, length, begun, tell_fault));
    let names = (1..=AGENTS).map(|number| format!("bridge {number}"));
    let names = ["server", "plugin"].map(str::to_owned).into_iter().chain(names);
    let mut series: Vec<Series> = names.map(|name| Series { name, points: Vec::new() }).collect();
    let mut tick = interval(SAMPLED);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut plugin, mut told) = (0, 0);
    for number in 0_usize.. {
        tick.tick().await;
        let time = begun.elapsed();
        // Faults end before their time only by a panic, which is told below.
        if time >= length || striking.is_finished() {
            break;
        }
        let plugins = stage.world.server.plugins();
        if !plugins.contains(&plugin) {
            plugin = plugins.first().copied().unwrap_or(0);
        }
        let bridges = seats.iter().map(|seat| seat.pid.load(Ordering::SeqCst));
        let processes = [stage.world.server.pid(), plugin].into_iter().chain(bridges);
        for (series, pid) in series.iter_mut().zip(processes) {
            let sample = (pid != 0).then(|| Sample::of(pid)).flatten();
            series.points.extend(sample.map(|sample| (time.as_secs_f64(), pid, sample)));
        }
        // A task of the load that panicked ends the run.
        if let Some(ended) = load.try_join_next() {
            ended.expect("load goes on");
        }
        for failure in stage.tally.failures().iter().skip(told) {
            told += 1;
            tell(format!("FAILED: {failure}"));
        }
        if number % TOLD == 0 {
            let last = told_faults
                .borrow_and_update()
                .last()
                .map(|(_, fault): &(f64, Fault)| fault.name());
            tell(progress(time, length, &stage, &series, last));
        }
    }
    let length = begun.elapsed().as_secs_f64();
    // The last fault may want a call, or an agent, to be over.
    let upstreams = striking.await.expect("faults end well");
    let _ = stop.send(true);
    while let Some(ended) = load.join_next().await {
        ended.expect("load ends well");
    }
    drop(upstreams);
    let (calls, excused) = stage.tally.counts();
    let faults = told_faults.borrow().clone();
    Course { length, series, faults, calls, excused, failures: stage.tally.failures() }
}

/// Lets all faults happen in turn.
async fn faults(
    stage: Arc<Stage>,
    mut upstreams: Upstreams,
    seat: Arc<Seat>,
    length: Duration,
    begun: Instant,
    tell: watch::Sender<Vec<(f64, Fault)>>,
) -> Upstreams {
    for (at, fault) in Fault::schedule(length) {
        tokio::time::sleep_until((begun + at).into()).await;
        if begun.elapsed() >= length {
            break;
        }
        tell.send_modify(|all| all.push((begun.elapsed().as_secs_f64(), fault)));
        upstreams = strike(fault, &stage, upstreams, &seat).await;
    }
    tokio::time::sleep_until((begun + length).into()).await;
    upstreams
}

fn progress(
    time: Duration,
    length: Duration,
    stage: &Stage,
    series: &[Series],
    fault: Option<&str>,
) -> String {
    let clock = |time: Duration| format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60);
    let (calls, excused) = stage.tally.counts();
    let mut line = format!(
        "{} of {}  {calls} calls, {excused} failed by faults, {} otherwise",
        clock(time),
        clock(length),
        stage.tally.failures().len()
    );
    for one in series {
        if let Some((_, _, sample)) = one.points.last() {
            let value = |measure| sample.value(measure);
            line.push_str(&format!(
                "  {} {:.1} MiB {} fd {} thr",
                one.name,
                value(Measure::Own),
                value(Measure::Descriptors),
                value(Measure::Threads)
            ));
        }
    }
    if let Some(fault) = fault {
        line.push_str(&format!("  last: {fault}"));
    }
    line
}
