//! Where a Go server's time goes: its own profiler, over its own API.
//!
//! Format: pprof `proto/profile.proto`, gzipped; the few fields that stacks need.

use std::collections::HashMap;
use std::time::Duration;

use async_compression::tokio::bufread::GzipDecoder;
use prost::Message as _;
use tokio::io::AsyncReadExt as _;

use super::stacks::Stacks;
use crate::api::Api;
use crate::bench::load::Load;

#[derive(Clone, PartialEq, prost::Message)]
struct Profile {
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Sample {
    /// From the innermost outwards.
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    /// Of a profile of the processor: how many samples, and their nanoseconds.
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    /// More than one where functions were inlined, the innermost first.
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
}

/// Lets the server profile itself for so long (whole seconds); weights are nanoseconds.
///
/// # Panics
/// When the server doesn't, or answers something else.
pub async fn record(root: &Api, time: Duration) -> Stacks {
    let url = format!("{}/v1/sys/pprof/profile?seconds={}", root.address(), time.as_secs());
    let packed = Load::get(&url).token(root.token()).once().await.expect("a profile");
    let mut bytes = Vec::new();
    GzipDecoder::new(&packed[..]).read_to_end(&mut bytes).await.expect("gzip");
    stacks(&Profile::decode(bytes.as_slice()).expect("a profile"))
}

fn stacks(profile: &Profile) -> Stacks {
    let names: HashMap<u64, &str> = profile
        .function
        .iter()
        .filter_map(|function| {
            let name = profile.string_table.get(usize::try_from(function.name).ok()?)?;
            Some((function.id, name.as_str()))
        })
        .collect();
    let lines: HashMap<u64, &[Line]> =
        profile.location.iter().map(|location| (location.id, location.line.as_slice())).collect();
    let mut stacks = Stacks::default();
    for sample in &profile.sample {
        let locations = sample.location_id.iter().rev().filter_map(|id| lines.get(id));
        let frames = locations.flat_map(|lines| lines.iter().rev());
        let frames = frames.filter_map(|line| names.get(&line.function_id).copied());
        let weight = sample.value.last().copied().unwrap_or_default();
        stacks.add(frames, u64::try_from(weight).unwrap_or_default());
    }
    stacks
}
