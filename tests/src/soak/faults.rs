//! What goes wrong, and when.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use super::load::Seat;
use super::stage::{API, Stage, Upstreams};
use crate::server::signal;
use crate::{forms, wait};

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The upstream over HTTP is gone, and comes back.
    UpstreamRestarted,
    /// The service gets another token.
    CredentialRotated,
    /// A service comes, is called, and goes.
    ServiceWrittenAndDeleted,
    /// The MCP server crashes with its sessions, and comes back.
    McpServerRestarted,
    /// One agent's client ends, and starts again.
    BridgeRestarted,
    /// The plugin is killed, as by the kernel when out of memory.
    PluginKilled,
    /// An operator reloads the plugin.
    PluginReloaded,
}

impl Fault {
    /// In a word or two.
    pub fn name(self) -> &'static str {
        match self {
            Self::UpstreamRestarted => "upstream restarted",
            Self::CredentialRotated => "credential rotated",
            Self::ServiceWrittenAndDeleted => "service written and deleted",
            Self::McpServerRestarted => "MCP server restarted",
            Self::BridgeRestarted => "bridge 2 restarted",
            Self::PluginKilled => "plugin killed",
            Self::PluginReloaded => "plugin reloaded",
        }
    }

    /// Whether a watched process begins a new life.
    pub fn is_major(self) -> bool {
        matches!(self, Self::PluginKilled | Self::PluginReloaded)
    }

    /// What comes when in a run of this length. Plugins live long in between, or nothing could be
    /// said of them.
    pub fn schedule(length: Duration) -> Vec<(Duration, Self)> {
        let small = [
            Self::UpstreamRestarted,
            Self::CredentialRotated,
            Self::ServiceWrittenAndDeleted,
            Self::McpServerRestarted,
            Self::BridgeRestarted,
        ];
        // Far enough from one another that one is over when the next begins, on long runs at least.
        let step = length / 40;
        let mut all: Vec<_> = (2..39)
            .zip(small.iter().cycle())
            .map(|(number, fault)| (step * number, *fault))
            .collect();
        for (part, fault) in [
            (0.06, Self::PluginKilled),
            (0.12, Self::PluginReloaded),
            (0.52, Self::PluginKilled),
            (0.56, Self::PluginReloaded),
        ] {
            all.push((length.mul_f64(part), fault));
        }
        all.sort_by_key(|(at, _)| *at);
        all
    }
}

/// Makes it happen, and waits until it is over.
pub async fn strike(
    fault: Fault,
    stage: &Arc<Stage>,
    upstreams: Upstreams,
    seat: &Seat,
) -> Upstreams {
    stage.tally.begin_fault();
    let upstreams = happen(fault, stage, upstreams, seat).await;
    stage.tally.end_fault();
    upstreams
}

async fn happen(
    fault: Fault,
    stage: &Arc<Stage>,
    mut upstreams: Upstreams,
    seat: &Seat,
) -> Upstreams {
    let (root, server) = (&stage.world.root, &stage.world.server);
    match fault {
        Fault::UpstreamRestarted => return upstreams.restart_api().await,
        Fault::CredentialRotated => {
            let fields = json!({ "token": forms::canary() });
            root.write(&format!("mcp-proxy/services/{API}"), fields).await.ok();
        }
        Fault::ServiceWrittenAndDeleted => {
            let fields = json!({
                "base_url": upstreams.api.url(), "ca_cert": upstreams.api.ca(), "auth": "bearer",
                "token": forms::canary(),
            });
            root.write("mcp-proxy/services/passing", fields).await.ok();
            let call = json!({ "path": "/a" });
            root.write("mcp-proxy/proxy/passing/GET", call).await.ok();
            root.delete("mcp-proxy/services/passing").await.ok();
        }
        Fault::McpServerRestarted => {
            if let Some(old) = &mut upstreams.old {
                old.kill().await;
                old.start_again().await;
            }
        }
        Fault::BridgeRestarted => {
            seat.restarts.fetch_add(1, Ordering::SeqCst);
            let before = seat.pid.load(Ordering::SeqCst);
            wait::until("the bridge to be back", async || {
                let now = seat.pid.load(Ordering::SeqCst);
                (now != 0 && now != before).then_some(())
            })
            .await;
        }
        Fault::PluginKilled => {
            let before = server.plugins();
            for pid in &before {
                signal(*pid, Signal::KILL);
            }
            back(stage, &before).await;
        }
        Fault::PluginReloaded => {
            let before = server.plugins();
            let reload = json!({ "plugin": "mcp-proxy" });
            root.write("sys/plugins/reload/backend", reload).await.ok();
            back(stage, &before).await;
        }
    }
    upstreams
}

/// Waits until the plugin runs anew: a call starts it.
async fn back(stage: &Arc<Stage>, before: &[u32]) {
    wait::until("the plugin to be back", async || {
        let answer = stage.world.root.send("GET", "mcp-proxy/health", None).await;
        let now = stage.world.server.plugins();
        let is_new = now.iter().any(|pid| !before.contains(pid));
        (is_new && answer.is_ok_and(|answer| answer.status == 200)).then_some(())
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_comes_and_the_plugin_lives_long_twice() {
        let length = Duration::from_secs(1800);
        let schedule = Fault::schedule(length);
        for fault in schedule.iter().map(|(_, fault)| fault) {
            let times = schedule.iter().filter(|(_, other)| other == fault).count();
            assert!(times >= 2, "{fault:?} comes {times} times");
        }
        let ends = schedule.iter().filter(|(_, fault)| fault.is_major()).map(|(at, _)| *at);
        let mut lives: Vec<Duration> = Vec::new();
        let mut from = Duration::ZERO;
        for end in ends.chain([length]) {
            lives.push(end - from);
            from = end;
        }
        assert_eq!(lives.iter().filter(|life| **life >= length.mul_f64(0.35)).count(), 2);
    }
}
