//! Runs steady load with faults for `MINUTES`, and fails where something isn't flat.
#![expect(clippy::print_stdout, reason = "progress and verdict are what it is for")]
#![expect(clippy::unwrap_used, reason = "a run that can't be made ends, and says why")]

use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use e2e::bench::report::Report;
use e2e::programs;
use e2e::soak::{course, results};

#[tokio::main]
async fn main() -> ExitCode {
    let minutes = std::env::var("MINUTES").map_or(30.0, |minutes| minutes.parse().unwrap());
    let length = Duration::from_secs_f64(minutes * 60.0);
    let course = course::run(length, |line| println!("{line}")).await;

    let folder = programs::root().join("tests/plots");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("soak.svg"), results::chart(&course).svg()).unwrap();
    let mut report = Report::new("soak");
    println!("\n{}", report.add(results::table(&course)));
    report.publish();
    println!("The chart is tests/plots/soak.svg.");

    let complaints = results::complaints(&course);
    for complaint in &complaints {
        println!("{complaint}");
    }
    if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
