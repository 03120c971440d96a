//! A cluster under load and under faults: nothing is executed twice, lost without a word, answered to
//! another, or forgotten.
#![expect(clippy::print_stdout, reason = "the table is for people")]

use std::time::Duration;

use e2e::chaos::{Fault, Plan, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_killed_paused_cut_full_or_changed_the_promises_hold() {
    let plan = Plan {
        seed: 8,
        faults: Fault::SOME.to_vec(),
        time: Duration::ZERO,
        program: env!("CARGO_BIN_EXE_chaos").into(),
    };
    let report = run(&plan).await;
    println!("{report}");
    assert!(report.troubles.is_empty(), "{:#?}", report.troubles);
    assert!(report.executed > 0 && !report.unknown.is_empty(), "calls met the faults");
    assert!(report.strikes.len() + 1 >= plan.faults.len(), "every kind, but where none can mount");
}
