//! Built-in bounds and defaults; `info` shows them.

/// Of a call, in seconds.
pub const TIMEOUT: u64 = 30;
/// Seconds; a reload of the plugin waits for calls in flight, and the host's own limit is 90 s.
pub const MAX_TIMEOUT: u64 = 60;
/// Of a request body, in bytes.
pub const REQUEST: u64 = 1 << 20;
/// Ceiling of request bodies, in bytes.
pub const MAX_REQUEST: u64 = 16 << 20;
/// Of an answer, in bytes.
pub const RESPONSE: u64 = 8 << 20;
/// Ceiling of answers, in bytes.
pub const MAX_RESPONSE: u64 = 32 << 20;
/// Calls of one service at one time.
pub const IN_FLIGHT: u64 = 64;
/// Calls of one mount at one time.
pub const MAX_IN_FLIGHT: u64 = 512;
/// Of the body of an answer that is to be wrapped, in bytes, before it is known how it escapes.
pub const WRAPPED: usize = 128 << 10;
/// Of a wrapped answer as the host stores it, in bytes: one storage entry of at most 1 MiB on integrated
/// storage, in JSON within JSON, where a character such as `<` takes 7 bytes. Over it, the host answers
/// 500 after the call, which its clients repeat.
pub const WRAPPED_ENTRY: usize = (1 << 20) - (32 << 10);
/// Versions kept of a credential, the one in use included.
pub const VERSIONS: u64 = 10;
/// The one in use, and the one before it: until a write is committed, that is the one in use.
pub const LEAST_VERSIONS: u64 = 2;
/// Of a description, in characters.
pub const DESCRIPTION: usize = 120;
/// Of usage notes, in characters.
pub const USAGE: usize = 4_000;
/// Of `ca_cert`, in bytes.
pub const CA_CERT: usize = 64 << 10;
