//! Throws faults at a cluster under load for MINUTES (5), in the order that follows from SEED; those
//! alone whose names contain FAULT, if that is set.
#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use e2e::chaos::{Fault, Plan, run, serve};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        // One of the upstreams of the run.
        ["upstream", port, book] => {
            let Ok(port) = port.parse() else { return ExitCode::from(2) };
            serve(port, Path::new(book)).await;
            return ExitCode::SUCCESS;
        }
        [] => {}
        _ => {
            println!("usage: MINUTES=5 SEED=… FAULT=… chaos");
            return ExitCode::from(2);
        }
    }
    let wanted = env::var("FAULT").unwrap_or_default();
    let faults = Fault::ALL.into_iter().filter(|fault| fault.name().contains(&wanted));
    let number = |name: &str| env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let Ok(program) = env::current_exe() else { return ExitCode::FAILURE };
    let plan = Plan {
        seed: number("SEED").or_else(|| getrandom::u32().ok().map(u64::from)).unwrap_or_default(),
        faults: faults.collect(),
        time: Duration::from_secs(60 * number("MINUTES").unwrap_or(5)),
        program,
    };
    let report = run(&plan).await;
    println!("{report}");
    if report.troubles.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
