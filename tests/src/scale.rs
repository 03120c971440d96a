//! What the proofs at scale share: many bridges, many services, bodies as large as can be.

pub mod bodies;
pub mod bridges;
pub mod services;

/// The memory that a process has at this moment (`VmRSS`) or had at most (`VmHWM`), in MiB
/// (`proc_pid_status(5)`).
///
/// # Panics
/// When there is no such process.
pub fn memory(pid: u32, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find(|line| line.starts_with(field)).expect("a field of status");
    let kib = line.split_whitespace().nth(1).expect("a value");
    kib.parse::<f64>().expect("a number") / 1024.0
}
