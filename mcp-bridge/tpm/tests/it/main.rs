//! Drives the helper program against a TPM in software, one for each test.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests end the test, with the place and the reason"
)]

mod errors;
mod parents;
mod pin;
mod registers;
mod seal;
mod swtpm;
mod tap;
mod wire;
