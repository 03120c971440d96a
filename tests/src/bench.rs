//! What the benchmarks have in common: load, medians, the cost of processes, and where results go.

pub mod compare;
pub mod cost;
pub mod load;
pub mod report;
pub mod stage;

/// The median of what `value` gives for each item; `NaN` of none.
pub fn median<T>(items: &[T], value: impl Fn(&T) -> f64) -> f64 {
    let mut values: Vec<f64> = items.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
