//! What a process costs: time on the processor, memory.

use std::fs;
use std::time::Duration;

/// The time on the processor that the threads of a process have had so far; those that ended don't count
/// (`proc_pid_schedstat(5)`, in nanoseconds; `stat` counts in steps of 10 ms).
///
/// # Panics
/// When there is no such process.
pub fn processor_time(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("a process");
    let time = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    Duration::from_nanos(threads.flatten().filter_map(time).sum())
}

/// Proportional and resident memory of a process and of all below it, in MiB
/// (`proc_pid_smaps(5)`, `proc_pid_status(5)`). Of another user's process, only root learns the
/// first.
pub fn memory(pid: u32) -> (f64, f64) {
    let mib = |file: &str, name: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        kib.unwrap_or(0.0) / 1024.0
    };
    let mut sum = (mib("smaps_rollup", "Pss:"), mib("status", "VmRSS:"));
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    for child in children.unwrap_or_default().split_whitespace() {
        let (pss, rss) = memory(child.parse().expect("a process id"));
        sum = (sum.0 + pss, sum.1 + rss);
    }
    sum
}
