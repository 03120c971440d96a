//! Many bridges at one server, as on the morning after a restart.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use crate::bench::cost;
use crate::bridge::Bridge;
use crate::upstream::Upstream;
use crate::wait;
use crate::world::World;

/// What a bridge needs for one call of `demo`.
const READER: &str = r#"
path "mcp-proxy/catalog" { capabilities = ["read"] }
path "mcp-proxy/proxy/demo/GET" { capabilities = ["update"] }
"#;

/// Bridges that have logged in, listed the tools and called.
#[derive(Debug)]
pub struct Many {
    bridges: Vec<Bridge>,
    upstream: Upstream,
    tokens: usize,
    /// When the last of them had listed the tools.
    pub listed: Duration,
    /// When the last of them had called.
    pub worked: Duration,
}

impl Many {
    /// Starts so many real bridges at once; each logs in, lists the tools and makes one call.
    ///
    /// # Panics
    /// When one doesn't work, or a call was made twice.
    pub async fn start(world: &World, count: usize) -> Self {
        allow_files(count * 4 + 256);
        let (upstream, _) = world.service("demo").await;
        let room = json!({ "max_in_flight": 512 });
        world.root.write("mcp-proxy/services/demo", room).await.ok();
        let role = world.app_role("agent", READER).await;
        let tokens = tokens(world).await;

        let started = Instant::now();
        let bridges = (0..count).map(async |_| {
            let mut bridge = Bridge::start(world.server.address(), &role).await;
            let tools = bridge.request("tools/list", json!({})).await;
            assert_eq!(tools["tools"].as_array().expect("tools").len(), 3);
            let listed = started.elapsed();
            call(&mut bridge).await;
            (bridge, listed)
        });
        let (bridges, listed): (Vec<_>, Vec<_>) = join_all(bridges).await.into_iter().unzip();
        let worked = started.elapsed();
        assert_eq!(upstream.seen().len(), count, "each call was made once");
        let listed = listed.into_iter().max().unwrap_or_default();
        Self { bridges, upstream, tokens, listed, worked }
    }

    /// Proportional memory of a bridge, the mean and the most of all, in MiB; `NaN` unless root.
    pub fn memory(&self) -> (f64, f64) {
        let each: Vec<f64> =
            self.bridges.iter().map(|bridge| cost::memory(bridge.pid()).0).collect();
        let sum: f64 = each.iter().sum();
        (sum / each.len() as f64, each.into_iter().fold(f64::NAN, f64::max))
    }

    /// Each makes so many further calls, all at the same time: how long that took.
    ///
    /// # Panics
    /// When a call fails, or was made twice.
    pub async fn call(&mut self, calls: usize) -> Duration {
        let before = self.upstream.seen().len();
        let started = Instant::now();
        let calling = self.bridges.iter_mut().map(async |bridge| {
            for _ in 0..calls {
                call(bridge).await;
            }
        });
        join_all(calling).await;
        let took = started.elapsed();
        assert_eq!(self.upstream.seen().len(), before + self.bridges.len() * calls);
        took
    }

    /// Ends them all, as clients that leave: how many left their token behind, which they do only where
    /// the server takes too long to end it.
    ///
    /// # Panics
    /// When one doesn't end well.
    pub async fn leave(self, world: &World) -> usize {
        // More than one each only where a login's answer came too late.
        let most = tokens(world).await;
        let count = self.bridges.len();
        assert!(most >= self.tokens + count, "each has a token of its own");
        join_all(self.bridges.into_iter().map(Bridge::leave)).await;
        tokens(world).await - (most - count)
    }
}

/// Calls until it works. On a machine that is busy enough, the server answers too late: then nothing was
/// sent, and an agent tries again.
async fn call(bridge: &mut Bridge) {
    wait::until("a call that works", async || {
        let call = json!({ "service": "demo", "path": "/a" });
        let answer = bridge.call("proxy_read", call).await;
        let late = answer.text.starts_with("vault_unavailable: ");
        assert!(late || answer.text.starts_with("200 OK · demo"), "{}", answer.text);
        (!late).then_some(())
    })
    .await;
}

/// How many tokens the server knows.
async fn tokens(world: &World) -> usize {
    let list = world.root.list("auth/token/accessors").await.ok();
    list.data()["keys"].as_array().expect("accessors").len()
}

/// Lets this process open so many files, as far as it may.
fn allow_files(count: usize) {
    let limit = getrlimit(Resource::Nofile);
    let wanted = u64::try_from(count).unwrap_or(u64::MAX);
    if limit.current.is_some_and(|current| current < wanted) {
        let current = limit.maximum.map_or(wanted, |most| most.min(wanted));
        let raised = Rlimit { current: Some(current), maximum: limit.maximum };
        setrlimit(Resource::Nofile, raised).expect("a limit below the most");
    }
}
