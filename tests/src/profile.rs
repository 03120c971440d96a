//! Where the time of a call goes: counted instructions, sampled stacks, and pictures of them.

pub mod callgrind;
pub mod flame;
pub mod parts;
pub mod perf;
pub mod pprof;
pub mod stacks;
