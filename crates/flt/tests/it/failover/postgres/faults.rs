//! What happens to a primary.

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use testkit::Quality;

use super::stage::Stage;
use crate::failover::stage::signal_to;
use crate::processes::bed::ready;

/// What happens to the node that is writable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The main process of PostgreSQL is killed.
    KillPostgres,
    /// It is killed again as soon as it takes writes again, until another node has taken over.
    CrashLoop,
    /// The agent is told to end.
    EndAgent,
    /// It is killed.
    KillAgent,
    /// The half of it that has root is, where it is two processes.
    KillHands,
    /// Both the agent and PostgreSQL are.
    KillBoth,
    /// Everything on the node is, the supervisor too.
    KillNode,
    /// Everything on the node is, and the coordinators' leader at once.
    KillNodeAndLeader,
    /// It is cut off from everybody, while its own clients reach it.
    Partition,
    /// From the coordinators alone.
    PartitionCoordinators,
    /// From the coordinators and the other agents, while the standbys receive.
    PartitionGroup,
    /// From the standbys alone.
    PartitionReplica,
    /// It hears nothing.
    Deaf,
    /// Nobody hears it.
    Mute,
    /// Everything takes 5 s to it and back.
    Slow,
    /// It is cut off and connected again, for half a second to two seconds each, for 20 s.
    Flapping,
    /// The agent stands still for so many seconds.
    StopAgent(u64),
    /// PostgreSQL does.
    StopPostgres(u64),
    /// Everything on the node does.
    StopNode(u64),
    /// The coordinators' leader is killed, and later back.
    KillLeader,
    /// More than half of the coordinators are, for longer than a lease lasts.
    LoseMajority,
    /// The file system of its data is full.
    FullDisk,
    /// The machine's wall clock is set forward by an hour, and back.
    ClockForward,
    /// Backward, and forth again.
    ClockBackward,
}

/// What a stage must have for a fault.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// Cables that delay.
    pub(super) slow_cables: bool,
    /// Nodes with file systems that can be filled.
    pub(super) small_disks: bool,
    /// Agents of two processes.
    pub(super) halves: bool,
}

/// Whether another node takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moves {
    Always,
    Never,
    Perhaps,
}

impl Fault {
    /// All of them.
    pub(super) const ALL: [Self; 26] = [
        Self::KillPostgres,
        Self::CrashLoop,
        Self::EndAgent,
        Self::KillAgent,
        Self::KillBoth,
        Self::KillNode,
        Self::KillNodeAndLeader,
        Self::Partition,
        Self::PartitionCoordinators,
        Self::PartitionGroup,
        Self::PartitionReplica,
        Self::Deaf,
        Self::Mute,
        Self::Slow,
        Self::Flapping,
        Self::StopAgent(5),
        Self::StopAgent(60),
        Self::StopPostgres(5),
        Self::StopPostgres(60),
        Self::StopNode(5),
        Self::StopNode(60),
        Self::KillLeader,
        Self::LoseMajority,
        Self::FullDisk,
        Self::ClockForward,
        Self::ClockBackward,
    ];

    pub(super) fn needs(self) -> Needs {
        Needs { slow_cables: self == Self::Slow, small_disks: self == Self::FullDisk, halves: self == Self::KillHands }
    }

    /// Whether it changes the wall clock of the whole machine that the tests run on, for everything on it.
    pub(super) fn steps_the_clock(self) -> bool {
        matches!(self, Self::ClockForward | Self::ClockBackward)
    }

    pub(super) fn moves(self) -> Moves {
        match self {
            Self::KillLeader
            | Self::LoseMajority
            | Self::PartitionReplica
            // The other candidates promise.
            | Self::PartitionCoordinators
            | Self::ClockForward
            | Self::ClockBackward => Moves::Never,
            // Started again where it was, a few times; and what stands still for about as long as a lease lasts.
            Self::KillPostgres
            | Self::Flapping
            | Self::StopAgent(..=10)
            | Self::StopPostgres(..=10)
            | Self::StopNode(..=10) => Moves::Perhaps,
            _ => Moves::Always,
        }
    }

    pub(super) fn strike(self, stage: &mut Stage, node: &str) {
        let host = Stage::host(node);
        let lan = std::sync::Arc::clone(&stage.lan);
        let port = lan.port(host);
        match self {
            Self::KillPostgres | Self::CrashLoop => kill(&stage.processes(node)[..1]),
            Self::EndAgent => stage.agent(node).terminate(),
            Self::KillAgent => stage.agent(node).kill(),
            Self::KillHands => stage.hand(node).kill(),
            Self::KillBoth => {
                let main = stage.processes(node)[..1].to_vec();
                stage.agent(node).kill();
                kill(&main);
            }
            Self::KillNode => kill_node(stage, node),
            Self::KillNodeAndLeader => {
                let leader = stage.coordinators.leader(&stage.bed);
                kill_node(stage, node);
                stage.coordinators.kill(&[leader]);
            }
            Self::Partition => port.block(),
            Self::PartitionCoordinators => stage.cut_from_coordinators(host, true),
            Self::PartitionGroup => port.drop_udp(true),
            Self::PartitionReplica => port.drop_tcp(true),
            Self::Deaf => port.lose_to(100),
            Self::Mute => port.lose_from(100),
            Self::Slow => port.set_quality(Quality::delay(Duration::from_millis(2_500))),
            Self::Flapping => {
                let end = Instant::now() + Duration::from_secs(20);
                for millis in [500, 900, 2_000, 700, 1_500].into_iter().cycle() {
                    if Instant::now() > end {
                        break;
                    }
                    port.block();
                    // The elapsed time is the fault.
                    std::thread::sleep(Duration::from_millis(millis));
                    port.unblock();
                    std::thread::sleep(Duration::from_millis(millis));
                }
            }
            Self::StopAgent(_) => stage.agent(node).freeze(),
            Self::StopPostgres(_) => stop(&stage.processes(node)),
            Self::StopNode(_) => {
                stage.agent(node).freeze();
                stop(&stage.supervisor(node).into_iter().chain(stage.processes(node)).collect::<Vec<_>>());
            }
            Self::KillLeader => {
                let leader = stage.coordinators.leader(&stage.bed);
                stage.coordinators.kill(&[leader]);
            }
            Self::LoseMajority => {
                let leader = stage.coordinators.leader(&stage.bed);
                stage.coordinators.kill_majority(leader);
            }
            Self::FullDisk => stage.fill_disk(node),
            Self::ClockForward => step_clock(3_600),
            Self::ClockBackward => step_clock(-3_600),
        }
    }

    /// What is done again and again until another node has taken over.
    pub(super) fn goes_on(self, stage: &Stage, node: &str) {
        if self == Self::CrashLoop && stage.is_writable(node) {
            kill(stage.processes(node).get(..1).unwrap_or_default());
        }
    }

    /// How long it stays so, once another has taken over or need not. The elapsed time is the fault itself.
    pub(super) fn linger(self) {
        let seconds = match self {
            Self::StopAgent(seconds) | Self::StopPostgres(seconds) | Self::StopNode(seconds) => seconds,
            Self::KillLeader | Self::LoseMajority | Self::PartitionReplica | Self::PartitionCoordinators => 15,
            Self::Partition | Self::PartitionGroup | Self::Deaf | Self::Mute | Self::Slow => 5,
            Self::ClockForward | Self::ClockBackward => 10,
            // Longer than a lease: what ends twice within one is not started again where it was.
            Self::KillPostgres => 9,
            _ => 0,
        };
        std::thread::sleep(Duration::from_secs(seconds));
    }

    pub(super) fn heal(self, stage: &mut Stage, node: &str) {
        let host = Stage::host(node);
        match self {
            Self::KillPostgres | Self::CrashLoop | Self::Flapping => {}
            Self::EndAgent | Self::KillAgent | Self::KillBoth | Self::KillNode | Self::KillNodeAndLeader => {
                stage.coordinators.come_back();
                if !stage.hands.is_empty() && !stage.hand(node).is_running() {
                    stage.hand(node).restart();
                    ready(stage.hand(node));
                }
                stage.agent(node).restart();
                ready(stage.agent(node));
            }
            Self::KillHands => {
                stage.hand(node).restart();
                ready(stage.hand(node));
            }
            Self::Partition | Self::PartitionGroup | Self::PartitionReplica | Self::Deaf | Self::Mute => {
                stage.lan.port(host).heal();
            }
            Self::PartitionCoordinators => stage.cut_from_coordinators(host, false),
            Self::Slow => stage.lan.port(host).set_quality(Quality::default()),
            Self::StopAgent(_) => stage.agent(node).thaw(),
            Self::StopPostgres(_) | Self::StopNode(_) => {
                for pid in stage.supervisor(node).into_iter().chain(stage.processes(node)) {
                    signal_to("CONT", &pid);
                }
                stage.agent(node).thaw();
            }
            Self::KillLeader | Self::LoseMajority => stage.coordinators.come_back(),
            Self::FullDisk => stage.empty_disk(node),
            Self::ClockForward => step_clock(-3_600),
            Self::ClockBackward => step_clock(3_600),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, seconds) = match self {
            Self::KillPostgres => ("kill-postgres", None),
            Self::CrashLoop => ("crash-loop", None),
            Self::EndAgent => ("end-agent", None),
            Self::KillAgent => ("kill-agent", None),
            Self::KillHands => ("kill-hands", None),
            Self::KillBoth => ("kill-both", None),
            Self::KillNode => ("kill-node", None),
            Self::KillNodeAndLeader => ("kill-node-and-leader", None),
            Self::Partition => ("partition", None),
            Self::PartitionCoordinators => ("partition-coordinators", None),
            Self::PartitionGroup => ("partition-group", None),
            Self::PartitionReplica => ("partition-replica", None),
            Self::Deaf => ("deaf", None),
            Self::Mute => ("mute", None),
            Self::Slow => ("slow", None),
            Self::Flapping => ("flapping", None),
            Self::StopAgent(seconds) => ("stop-agent", Some(seconds)),
            Self::StopPostgres(seconds) => ("stop-postgres", Some(seconds)),
            Self::StopNode(seconds) => ("stop-node", Some(seconds)),
            Self::KillLeader => ("kill-leader", None),
            Self::LoseMajority => ("lose-majority", None),
            Self::FullDisk => ("full-disk", None),
            Self::ClockForward => ("clock-forward", None),
            Self::ClockBackward => ("clock-backward", None),
        };
        f.write_str(what)?;
        seconds.map_or(Ok(()), |seconds| write!(f, "-{seconds}"))
    }
}

fn kill_node(stage: &mut Stage, node: &str) {
    let (all, supervisor) = (stage.processes(node), stage.supervisor(node));
    stage.agent(node).kill();
    if !stage.hands.is_empty() {
        stage.hand(node).kill();
    }
    kill(&supervisor.into_iter().chain(all).collect::<Vec<_>>());
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

/// Sets the wall clock of this machine, for everything that runs on it.
fn step_clock(seconds: i64) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    let at = format!("@{:.3}", now + seconds as f64);
    testkit::Program::new("date").args(["--set", &at]).ok();
}
