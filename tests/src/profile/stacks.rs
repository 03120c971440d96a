//! Stacks of functions with their weights: what profilers give, whichever they are.

use std::collections::BTreeMap;

/// Weights by stack, each from the outermost function to the innermost.
#[derive(Clone, Debug, Default)]
pub struct Stacks(BTreeMap<Vec<String>, u64>);

impl Stacks {
    /// Adds to the weight of a stack.
    pub fn add<'a>(&mut self, frames: impl IntoIterator<Item = &'a str>, weight: u64) {
        let frames = frames.into_iter().map(str::to_owned).collect();
        *self.0.entry(frames).or_default() += weight;
    }

    /// Every stack with its weight, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&[String], u64)> {
        self.0.iter().map(|(frames, weight)| (frames.as_slice(), *weight))
    }

    /// The weight of all.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }
}
