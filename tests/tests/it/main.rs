//! End-to-end cases on a real server; one binary, because linking is what takes long.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail their test")]

mod fixtures;
