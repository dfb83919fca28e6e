//! What happens to a primary.

use std::fmt;
use std::time::Duration;

use super::stage::Stage;
use crate::failover::stage::signal_to;
use crate::processes::bed::ready;

/// What happens to the node that is writable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The main process of PostgreSQL is killed.
    KillPostgres,
    /// The agent is.
    KillAgent,
    /// Both are.
    KillBoth,
    /// Everything on the node is, the supervisor too.
    KillNode,
    /// It is cut off from everybody, while its own clients reach it.
    Partition,
    /// From the coordinators and the other agents alone.
    PartitionGroup,
    /// From the standbys alone.
    PartitionReplica,
    /// It hears nothing.
    Deaf,
    /// Nobody hears it.
    Mute,
    /// The agent stands still for so many seconds.
    StopAgent(u64),
    /// PostgreSQL does.
    StopPostgres(u64),
    /// Everything on the node does.
    StopNode(u64),
    /// The coordinator is killed, and later back.
    KillCoordinator,
}

impl Fault {
    /// All of them.
    pub(super) const ALL: [Self; 16] = [
        Self::KillPostgres,
        Self::KillAgent,
        Self::KillBoth,
        Self::KillNode,
        Self::Partition,
        Self::PartitionGroup,
        Self::PartitionReplica,
        Self::Deaf,
        Self::Mute,
        Self::StopAgent(5),
        Self::StopAgent(60),
        Self::StopPostgres(5),
        Self::StopPostgres(60),
        Self::StopNode(5),
        Self::StopNode(60),
        Self::KillCoordinator,
    ];

    /// Whether another node must take over.
    pub(super) fn moves(self) -> bool {
        !matches!(
            self,
            Self::KillCoordinator
                | Self::PartitionReplica
                | Self::StopAgent(..=10)
                | Self::StopPostgres(..=10)
                | Self::StopNode(..=10)
        )
    }

    pub(super) fn strike(self, stage: &mut Stage, node: &str) {
        let port = |stage: &Stage| std::sync::Arc::clone(&stage.lan);
        let host = Stage::host(node);
        match self {
            Self::KillPostgres => kill(&stage.processes(node)[..1]),
            Self::KillAgent => stage.agent(node).kill(),
            Self::KillBoth => {
                let main = stage.processes(node)[..1].to_vec();
                stage.agent(node).kill();
                kill(&main);
            }
            Self::KillNode => {
                let (all, supervisor) = (stage.processes(node), stage.supervisor(node));
                stage.agent(node).kill();
                kill(&supervisor.into_iter().chain(all).collect::<Vec<_>>());
            }
            Self::Partition => port(stage).port(host).block(),
            Self::PartitionGroup => port(stage).port(host).drop_udp(true),
            Self::PartitionReplica => port(stage).port(host).drop_tcp(true),
            Self::Deaf => port(stage).port(host).lose_to(100),
            Self::Mute => port(stage).port(host).lose_from(100),
            Self::StopAgent(_) => stage.agent(node).freeze(),
            Self::StopPostgres(_) => stop(&stage.processes(node)),
            Self::StopNode(_) => {
                stage.agent(node).freeze();
                stop(&stage.supervisor(node).into_iter().chain(stage.processes(node)).collect::<Vec<_>>());
            }
            Self::KillCoordinator => stage.coordinator.kill(),
        }
    }

    /// How long it stays so, once another has taken over or need not.
    pub(super) fn linger(self) {
        let seconds = match self {
            Self::StopAgent(seconds) | Self::StopPostgres(seconds) | Self::StopNode(seconds) => seconds,
            Self::KillCoordinator | Self::PartitionReplica => 15,
            Self::Partition | Self::PartitionGroup | Self::Deaf | Self::Mute => 5,
            _ => 0,
        };
        std::thread::sleep(Duration::from_secs(seconds));
    }

    pub(super) fn heal(self, stage: &mut Stage, node: &str) {
        match self {
            Self::KillPostgres => {}
            Self::KillAgent | Self::KillBoth | Self::KillNode => {
                stage.agent(node).restart();
                stage.agent(node).wait_for("ready");
            }
            Self::Partition | Self::PartitionGroup | Self::PartitionReplica | Self::Deaf | Self::Mute => {
                stage.lan.port(Stage::host(node)).heal();
            }
            Self::StopAgent(_) => stage.agent(node).thaw(),
            Self::StopPostgres(_) | Self::StopNode(_) => {
                for pid in stage.supervisor(node).into_iter().chain(stage.processes(node)) {
                    signal_to("CONT", &pid);
                }
                stage.agent(node).thaw();
            }
            Self::KillCoordinator => {
                stage.coordinator.restart();
                ready(&stage.coordinator);
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, seconds) = match self {
            Self::KillPostgres => ("kill-postgres", None),
            Self::KillAgent => ("kill-agent", None),
            Self::KillBoth => ("kill-both", None),
            Self::KillNode => ("kill-node", None),
            Self::Partition => ("partition", None),
            Self::PartitionGroup => ("partition-group", None),
            Self::PartitionReplica => ("partition-replica", None),
            Self::Deaf => ("deaf", None),
            Self::Mute => ("mute", None),
            Self::StopAgent(seconds) => ("stop-agent", Some(seconds)),
            Self::StopPostgres(seconds) => ("stop-postgres", Some(seconds)),
            Self::StopNode(seconds) => ("stop-node", Some(seconds)),
            Self::KillCoordinator => ("kill-coordinator", None),
        };
        f.write_str(what)?;
        seconds.map_or(Ok(()), |seconds| write!(f, "-{seconds}"))
    }
}

fn kill(pids: &[String]) {
    for pid in pids {
        signal_to("KILL", pid);
    }
}

fn stop(pids: &[String]) {
    for pid in pids {
        signal_to("STOP", pid);
    }
}
