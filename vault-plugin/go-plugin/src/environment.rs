//! Where the plugin reads its environment variables.

use std::collections::BTreeMap;

/// Answers what an environment variable holds, so that tests need not touch the process.
pub trait Environment {
    /// Returns the value, or `None` if the variable is absent or isn't UTF-8.
    fn var(&self, name: &str) -> Option<String>;
}

/// Reads the environment of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

impl Environment for BTreeMap<String, String> {
    fn var(&self, name: &str) -> Option<String> {
        self.get(name).cloned()
    }
}
