//! Fuzz targets: what reads the bytes of strangers, each with what must hold of every input.
//!
//! A target builds its input from bytes (`arbitrary`), so that the same function serves two drivers:
//!
//! - `make test` runs each with so many random inputs ([`Target::runs`]), about a second's worth.
//! - `make fuzz` runs each for `MINUTES` under libFuzzer, which keeps what reaches new code. It
//!   needs no nightly compiler: stable `rustc` has the coverage pass, if not the sanitizers, and
//!   what is tried here is safe Rust.
//!
//! Either prints what repeats a failure. A finding becomes a test beside the code that it mends.
//!
//! # A further target
//!
//! A module with `run(&mut Unstructured) -> Result<()>`, a line in [`TARGETS`], and its name in the
//! tests' list.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a target ends in a panic when what must hold doesn't"
)]

mod answers;
mod canonical;
mod events;
mod fields;
mod handshake;
mod redact;
mod rules;
mod sealed;

use arbitrary::Unstructured;

/// One thing that is fuzzed.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// How it is called on the command line.
    pub name: &'static str,
    /// How many inputs `make test` tries.
    pub runs: u32,
    body: fn(&mut Unstructured<'_>) -> arbitrary::Result<()>,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "fields", runs: 2_000, body: fields::run },
    Target { name: "canonical", runs: 5_000, body: canonical::run },
    Target { name: "rules", runs: 5_000, body: rules::run },
    Target { name: "redact", runs: 500, body: redact::run },
    Target { name: "handshake", runs: 5_000, body: handshake::run },
    Target { name: "sealed", runs: 2_000, body: sealed::run },
    Target { name: "events", runs: 3_000, body: events::run },
    Target { name: "answers", runs: 400, body: answers::run },
];

/// The longest useful input, in bytes: what a target builds from it is longer.
pub const MAX_BYTES: usize = 1024;

impl Target {
    /// Tries one input.
    ///
    /// # Panics
    /// When something doesn't hold of it.
    pub fn run(&self, bytes: &[u8]) {
        // Too few bytes make no input: nothing is tried.
        let _ = (self.body)(&mut Unstructured::new(bytes));
    }
}

/// Text from pieces that matter to the reader, with arbitrary ones between.
fn text_of(u: &mut Unstructured<'_>, pieces: &[&str], most: usize) -> arbitrary::Result<String> {
    let mut text = String::new();
    for _ in 0..u.int_in_range(0..=most)? {
        if u.ratio(1, 6)? {
            text.push(u.arbitrary()?);
        } else {
            text.push_str(u.choose(pieces)?);
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::print_stderr, reason = "what repeats a failure is for people")]

    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    use super::*;

    /// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
    fn next(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn drive(name: &str) {
        let target = TARGETS.iter().find(|target| target.name == name).unwrap();
        let seed = match std::env::var("FUZZ_SEED") {
            Ok(seed) => seed.parse().unwrap(),
            Err(_) => getrandom::u64().unwrap(),
        };
        let mut state = seed;
        for run in 0..target.runs {
            let length = usize::try_from(next(&mut state)).unwrap() % MAX_BYTES;
            let bytes: Vec<u8> = (0..length).map(|_| next(&mut state).to_le_bytes()[0]).collect();
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target.run(&bytes))) {
                eprintln!("{name}: input {run} of seed {seed}; again with FUZZ_SEED={seed}");
                resume_unwind(panic);
            }
        }
    }

    macro_rules! targets {
        ($($name:ident)*) => {
            $(
                #[test]
                fn $name() {
                    drive(stringify!($name));
                }
            )*

            #[test]
            fn every_target_is_tried() {
                let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
                assert_eq!(names, [$(stringify!($name)),*]);
            }
        };
    }

    targets!(fields canonical rules redact handshake sealed events answers);
}
