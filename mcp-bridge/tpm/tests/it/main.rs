//! Drives the helper program against a TPM in software, one for each test.

mod errors;
mod parents;
mod pin;
mod registers;
mod seal;
mod swtpm;
mod tap;
mod wire;
