//! The faults, each with its victim and its end.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use super::caller::Way;
use super::random::Random;
use super::stage::{NODES, Stage};
use super::writer::Change;
use crate::programs;
use crate::server::signal;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Kills the plugin's processes on a node.
    KillPlugin,
    /// Kills the active node, and starts it again.
    KillLeader,
    /// Kills a standby, and starts it again.
    KillStandby,
    /// Has the active node give up its place.
    StepDown,
    /// Kills an upstream, and starts it again.
    KillUpstream,
    /// Kills a bridge, and starts another.
    KillBridge,
    /// Stops the plugin's processes on a node for a moment.
    PausePlugin,
    /// Stops the active node for a moment.
    PauseLeader,
    /// Stops a standby for a moment.
    PauseStandby,
    /// Stops an upstream for a moment.
    PauseUpstream,
    /// Stops a bridge for a moment.
    PauseBridge,
    /// Writes new credentials.
    Rotate,
    /// Writes other rules.
    Rules,
    /// Writes, makes and deletes services.
    Services,
    /// Reloads the plugin on every node.
    Reload,
    /// Registers another file of the plugin, and switches every node to it.
    Upgrade,
    /// Cuts the active node off from the others.
    CutLeader,
    /// Cuts a standby off from the others.
    CutStandby,
    /// Cuts what the standbys send to the active node on their own.
    CutInbound,
    /// Leaves no room for a node's data.
    FullData,
    /// Leaves no room for a node's audit log.
    FullAudit,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Self; 21] = [
        Self::KillPlugin,
        Self::KillLeader,
        Self::KillStandby,
        Self::StepDown,
        Self::KillUpstream,
        Self::KillBridge,
        Self::PausePlugin,
        Self::PauseLeader,
        Self::PauseStandby,
        Self::PauseUpstream,
        Self::PauseBridge,
        Self::Rotate,
        Self::Rules,
        Self::Services,
        Self::Reload,
        Self::Upgrade,
        Self::CutLeader,
        Self::CutStandby,
        Self::CutInbound,
        Self::FullData,
        Self::FullAudit,
    ];

    /// One of each group: what fits into a minute.
    pub const SOME: [Self; 13] = [
        Self::KillPlugin,
        Self::KillLeader,
        Self::KillUpstream,
        Self::KillBridge,
        Self::PausePlugin,
        Self::PauseLeader,
        Self::Rotate,
        Self::Rules,
        Self::Services,
        Self::Reload,
        Self::Upgrade,
        Self::CutLeader,
        Self::FullAudit,
    ];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::KillPlugin => "kill plugin",
            Self::KillLeader => "kill leader",
            Self::KillStandby => "kill standby",
            Self::StepDown => "leader steps down",
            Self::KillUpstream => "kill upstream",
            Self::KillBridge => "kill bridge",
            Self::PausePlugin => "pause plugin",
            Self::PauseLeader => "pause leader",
            Self::PauseStandby => "pause standby",
            Self::PauseUpstream => "pause upstream",
            Self::PauseBridge => "pause bridge",
            Self::Rotate => "rotate credentials",
            Self::Rules => "change rules",
            Self::Services => "write services",
            Self::Reload => "reload plugin",
            Self::Upgrade => "upgrade plugin",
            Self::CutLeader => "cut leader off",
            Self::CutStandby => "cut standby off",
            Self::CutInbound => "cut ways to leader",
            Self::FullData => "disk full: data",
            Self::FullAudit => "disk full: audit",
        }
    }

    /// Brings it about and ends it; what was done to whom, or none where it can't be done here.
    pub async fn strike(self, stage: &mut Stage, random: &mut Random) -> Option<String> {
        // Drawn in any case, so that the next fault's numbers don't depend on this one's.
        let mut random = random.fork();
        let hold = random.milliseconds(0, 1500);
        let any = random.below(NODES);
        match self {
            Self::KillPlugin => {
                for pid in stage.cluster.plugins(any) {
                    signal(pid, Signal::KILL);
                }
                Some(format!("node {any}"))
            }
            Self::KillLeader | Self::KillStandby => {
                let node = stage.node(self == Self::KillLeader, &mut random).await;
                stage.cluster.kill(node).await;
                tokio::time::sleep(hold).await;
                stage.cluster.restart(node).await;
                Some(format!("node {node}, back after {hold:?}"))
            }
            Self::StepDown => {
                let node = stage.cluster.active().await;
                let done = stage.cluster.api(node).send("POST", "sys/step-down", None).await;
                Some(format!("node {node}: {:?}", done.map(|answer| answer.status)))
            }
            Self::KillUpstream => {
                let which = random.below(2);
                stage.upstreams[which].kill().await;
                tokio::time::sleep(hold).await;
                stage.upstreams[which].start_again().await;
                Some(format!("the {} one, back after {hold:?}", ["HTTP", "MCP"][which]))
            }
            Self::KillBridge => {
                let agents = stage.agents();
                let agent = agents[random.below(agents.len())];
                agent.kill().await;
                agent.start_again();
                Some(String::new())
            }
            Self::PausePlugin => {
                let pids = stage.cluster.plugins(any);
                pause(&pids, hold).await;
                Some(format!("node {any}, for {hold:?}"))
            }
            Self::PauseLeader | Self::PauseStandby => {
                let node = stage.node(self == Self::PauseLeader, &mut random).await;
                // Long enough, sometimes, that the others elect another.
                let hold = hold * 2;
                pause(&[stage.cluster.pid(node)], hold).await;
                Some(format!("node {node}, for {hold:?}"))
            }
            Self::PauseUpstream => {
                let which = random.below(2);
                pause(&[stage.upstreams[which].pid()], hold).await;
                Some(format!("the {} one, for {hold:?}", ["HTTP", "MCP"][which]))
            }
            Self::PauseBridge => {
                let agents = stage.agents();
                pause(&[agents[random.below(agents.len())].pid()], hold).await;
                Some(format!("for {hold:?}"))
            }
            Self::Rotate => stage.change(Change::Token).await,
            Self::Rules => stage.change(Change::Rules).await,
            Self::Services => stage.change(Change::Service).await,
            Self::Reload => Some(stage.reload(any).await),
            Self::Upgrade => Some(stage.upgrade().await),
            Self::CutLeader | Self::CutStandby | Self::CutInbound => {
                let node = stage.node(self != Self::CutStandby, &mut random).await;
                let others = (0..NODES).filter(|&other| other != node);
                let ways = others.flat_map(|other| {
                    let inbound = [(other, node)];
                    let outbound = (self != Self::CutInbound).then_some((node, other));
                    inbound.into_iter().chain(outbound)
                });
                let closing = random.one_in(2);
                stage.network.cut(ways, closing);
                // An election takes a second or two here.
                let hold = hold + Duration::from_millis(2500);
                tokio::time::sleep(hold).await;
                stage.network.heal();
                let how = if closing { "connections closed" } else { "packets lost" };
                Some(format!("node {node}, {how}, for {hold:?}"))
            }
            Self::FullData | Self::FullAudit => {
                let (data, audit) = stage.disks.get(any)?;
                let disk = if self == Self::FullData { data } else { audit };
                disk.fill();
                tokio::time::sleep(hold).await;
                disk.free();
                Some(format!("node {any}, for {hold:?}"))
            }
        }
    }
}

/// Stops processes, and lets them go on.
async fn pause(pids: &[u32], hold: Duration) {
    for &pid in pids {
        signal(pid, Signal::STOP);
    }
    tokio::time::sleep(hold).await;
    for &pid in pids {
        signal(pid, Signal::CONT);
    }
}

impl Stage {
    async fn node(&self, is_active: bool, random: &mut Random) -> usize {
        let active = self.cluster.active().await;
        let further = 1 + random.below(NODES - 1);
        if is_active { active } else { (active + further) % NODES }
    }

    fn agents(&self) -> Vec<&super::agent::Agent> {
        let agents = self.callers.iter().filter_map(|caller| match &caller.way {
            Way::Bridge(agent) => Some(agent),
            Way::Api(_) | Way::Cli(_) => None,
        });
        agents.collect()
    }

    async fn change(&self, change: Change) -> Option<String> {
        const WRITES: usize = 5;
        for _ in 0..WRITES {
            self.writer.lock().await.write(change).await;
        }
        Some(format!("{WRITES} writes"))
    }

    async fn reload(&self, through: usize) -> String {
        let reload = json!({ "plugin": "mcp-proxy", "scope": "global" });
        let api = self.cluster.api(through);
        let done = api.send("POST", "sys/plugins/reload/backend", Some(&reload)).await;
        format!("through node {through}: {:?}", done.map(|answer| answer.status))
    }

    /// As an operator does it: the file on every node, the catalog, the mount, the reload.
    async fn upgrade(&mut self) -> String {
        const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));
        self.upgrades += 1;
        let file = format!("chaos-{}", self.upgrades);
        let mut sum = String::new();
        for id in 0..NODES {
            sum = self.cluster.install(id, &programs::plugin(), &file);
        }
        let active = self.cluster.active().await;
        let api = self.cluster.api(active);
        let entry = json!({ "sha256": sum, "command": file, "version": VERSION });
        let tune = json!({ "plugin_version": VERSION });
        for (path, fields) in
            [("sys/plugins/catalog/secret/mcp-proxy", entry), ("sys/mounts/mcp-proxy/tune", tune)]
        {
            if let Err(error) = api.send("POST", path, Some(&fields)).await {
                return format!("{path}: {error}");
            }
        }
        let done = self.reload(active).await;
        let old = format!("plugins/chaos-{}", self.upgrades - 1);
        for id in 0..NODES {
            // What still runs keeps its file.
            let _ = std::fs::remove_file(self.cluster.directory(id).join(&old));
        }
        format!("to {file}, {done}")
    }
}
