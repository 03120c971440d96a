//! One target under libFuzzer: the one that `FUZZ_TARGET` names.
#![no_main]

use std::sync::LazyLock;

use fuzz::{TARGETS, Target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let wanted = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|target| target.name == wanted);
    assert!(found.is_some(), "FUZZ_TARGET is one of {TARGETS:?}");
    found.unwrap_or(&TARGETS[0])
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| TARGET.run(bytes));
