//! What a schedule consists of: the cluster, how bad the network is, and which faults strike when.

use failover::settings::{Candidate, Failback, Promotion, Remote};
use failover::{FailoverStrategy, NodeId, Settings, Span, Workload};

use super::rng::Rng;

/// Which kinds of faults a schedule prefers. Drawn from the seed unless a test names one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Theme {
    /// Everything.
    Storm,
    /// Links that come and go, one way or both.
    Links,
    /// Pauses and crashes, at the worst instants.
    Pauses,
    /// Elections and outages of the group.
    Group,
    /// Operators: switchovers, pauses, settings, rebuilds.
    Operators,
    /// Clocks at the ends of their bound.
    Drift,
    /// Fences that are slow, fail, or are not bound to the agent.
    Fences,
    /// Clocks that stop with their machine: what the lease cannot survive, and the sync gate must.
    StoppedClocks,
    /// Services that may serve without a lease, cut off, paused and killed.
    SplitBrain,
    /// Workloads that end by themselves, again and again, while other things go wrong.
    Crashes,
    /// Clusters that are withdrawn and declared again, and candidates that come and go, while other things go wrong.
    Declarations,
    /// Nothing at all: what must run, runs.
    Calm,
}

pub(crate) const THEMES: [Theme; 12] = [
    Theme::Storm,
    Theme::Links,
    Theme::Pauses,
    Theme::Group,
    Theme::Operators,
    Theme::Drift,
    Theme::Fences,
    Theme::StoppedClocks,
    Theme::SplitBrain,
    Theme::Crashes,
    Theme::Declarations,
    Theme::Calm,
];

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) theme: Theme,
    pub(crate) settings: Settings,
    pub(crate) knobs: Knobs,
    pub(crate) faults: Vec<Fault>,
    pub(crate) ambushes: Vec<Ambush>,
    /// When faults end; from then on the cluster must recover. Microseconds.
    pub(crate) heal_at: u64,
}

/// How bad the surroundings are all the time.
#[derive(Clone, Debug)]
pub(crate) struct Knobs {
    /// Messages lost, in a thousand.
    pub(crate) loss: u64,
    /// Messages delivered twice or three times, in a thousand.
    pub(crate) duplicates: u64,
    /// Messages that are kept back for up to three ttls, in a thousand.
    pub(crate) attic: u64,
    /// The usual one-way delay at most, in microseconds.
    pub(crate) delay: u64,
    /// Rungs that fail, in a thousand.
    pub(crate) fence_fails: u64,
    /// Rungs that take longer than they may, in a thousand.
    pub(crate) fence_slow: u64,
    /// Whether the workload outlives a crash of its agent until the watchdog bites.
    pub(crate) unbound: bool,
    /// Speed of each machine's clock, in parts of a million from real time; the group's leaders' after that.
    pub(crate) drift: Vec<i64>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// When it strikes and for how long, in microseconds.
    pub(crate) at: u64,
    pub(crate) lasts: u64,
    pub(crate) kind: FaultKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// No messages one way; the group is the machine after the last.
    Cut {
        from: usize,
        to: usize,
    },
    /// No messages either way with anybody.
    Isolate(usize),
    /// No messages either way with the group, and with nobody else but one.
    OnlyPeer {
        machine: usize,
        peer: usize,
    },
    /// No messages either way with the group.
    CutFromGroup(usize),
    GroupDown,
    Election,
    PauseAgent(usize),
    PauseMachine {
        machine: usize,
        clock_stops: bool,
    },
    CrashAgent(usize),
    CrashMachine(usize),
    CrashWorkload(usize),
    /// The same, whichever machine's is writable.
    CrashPrimary,
    Switchover(usize),
    /// The agent is told to end, and ends a while later.
    Leave(usize),
    PauseFailover,
    /// The cluster is withdrawn, and declared again later.
    Withdraw,
    Reconfigure(u8),
    /// This one is a candidate no more, and is again later.
    Remove(usize),
    /// The same, whoever holds the lease.
    RemoveHolder,
    Reinit(usize),
    Delays,
}

/// A fault that waits for a node to do something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ambush {
    pub(crate) on: Trigger,
    /// After how many of those.
    pub(crate) after: u64,
    /// Whether it strikes before the command is carried out, or right after.
    pub(crate) before: bool,
    pub(crate) kind: AmbushKind,
    pub(crate) lasts: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trigger {
    Start,
    Acquire,
    Parting,
    Promise,
    Detach,
    Attach,
    Stop,
    Fence,
    Report,
    Sync,
    Persist,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AmbushKind {
    PauseAgent,
    PauseMachine,
    CrashAgent,
    CrashMachine,
    Election,
    CutFromGroup,
}

const TRIGGERS: [Trigger; 11] = [
    Trigger::Start,
    Trigger::Acquire,
    Trigger::Parting,
    Trigger::Promise,
    Trigger::Detach,
    Trigger::Attach,
    Trigger::Stop,
    Trigger::Fence,
    Trigger::Report,
    Trigger::Sync,
    Trigger::Persist,
];

const AMBUSHES: [AmbushKind; 6] = [
    AmbushKind::PauseAgent,
    AmbushKind::PauseMachine,
    AmbushKind::CrashAgent,
    AmbushKind::CrashMachine,
    AmbushKind::Election,
    AmbushKind::CutFromGroup,
];

pub(crate) fn node(index: usize) -> NodeId {
    NodeId::from_bytes([u8::try_from(index + 1).unwrap_or(u8::MAX); 32])
}

impl Plan {
    pub(crate) fn from_seed(seed: u64) -> Self {
        let theme = Rng::new(seed ^ 0xa5a5).index(THEMES.len());
        Self::themed(seed, THEMES[theme])
    }

    pub(crate) fn themed(seed: u64, theme: Theme) -> Self {
        let mut rng = Rng::new(seed);
        let settings = settings(&mut rng, theme);
        let machines = settings.candidates.len();
        let rough = !matches!(theme, Theme::Calm);
        let some = |rng: &mut Rng, most: u64| if rough && rng.chance(600) { rng.between(0, most) } else { 0 };
        let knobs = Knobs {
            loss: some(&mut rng, 120),
            duplicates: some(&mut rng, 200),
            attic: some(&mut rng, 60),
            delay: rng.between(1_000, if rough { 150_000 } else { 10_000 }),
            fence_fails: match theme {
                Theme::Fences => 500,
                // What the clocks decide shows when nothing but the watchdog stops the workload.
                Theme::Drift => 900,
                _ => some(&mut rng, 200),
            },
            fence_slow: if theme == Theme::Fences { 300 } else { some(&mut rng, 200) },
            unbound: rough && rng.chance(300),
            drift: drift(&mut rng, &settings, machines, theme),
        };
        let ttl = settings.ttl.as_micros();
        let heal_at = ttl * 3 + rng.between(ttl * 4, ttl * 14);
        let count = if rough { rng.between(1, 12) } else { 0 };
        let faults = (0..count).map(|_| fault(&mut rng, theme, machines, ttl, heal_at)).collect();
        let lurking = if matches!(
            theme,
            Theme::Storm
                | Theme::Pauses
                | Theme::Fences
                | Theme::StoppedClocks
                | Theme::SplitBrain
                | Theme::Crashes
                | Theme::Declarations
        ) {
            rng.between(0, 5)
        } else {
            0
        };
        let ambushes = (0..lurking)
            .map(|_| Ambush {
                on: TRIGGERS[rng.index(TRIGGERS.len())],
                after: rng.between(0, 4),
                before: rng.chance(500),
                kind: AMBUSHES[rng.index(AMBUSHES.len())],
                lasts: rng.between(ttl / 10, ttl * 3),
            })
            .collect();
        Self { seed, theme, settings, knobs, faults, ambushes, heal_at }
    }
}

fn settings(rng: &mut Rng, theme: Theme) -> Settings {
    let count = if rng.chance(400) { 2 } else { 3 + rng.index(2) };
    let prefers = rng.chance(300);
    let priority = |index: usize| if prefers { 10 - u8::try_from(index).unwrap_or(0) } else { 5 };
    let candidates = (0..count).map(|index| Candidate { node: node(index), priority: priority(index) }).collect();
    let split = theme == Theme::SplitBrain;
    let service = split || (theme != Theme::StoppedClocks && rng.chance(250));
    let workload = if service { Workload::Service } else { Workload::StatefulSql };
    let mut settings = match rng.index(3) {
        0 => Settings::lan(workload, candidates).timed(
            Span::from_secs(15),
            Span::from_secs(1),
            Span::from_secs(2),
            Span::from_secs(5),
        ),
        _ => Settings::fast(workload, candidates),
    };
    settings.hold_down_max = settings.ttl.times(3);
    settings.handoff_within = settings.ttl.times(2);
    settings.start_within = settings.ttl.times(3);
    settings.first = rng.chance(500).then(|| node(0));
    if !service && count > 2 && rng.chance(400) {
        settings.sync = 2;
    }
    if rng.chance(200) {
        settings.promotion = Promotion::RequireProof;
        settings.remote = rng.chance(700).then(|| Remote { action: "power-off".into(), within: Span::from_secs(3) });
    }
    if split {
        settings.strategy = FailoverStrategy::SplitBrainAllowed;
        settings.ladder.clear();
    }
    if prefers && rng.chance(300) {
        settings.failback = Failback::After(settings.ttl);
    }
    settings
}

/// Clock speeds within the bound that the slack covers: two clocks at opposite ends still agree on who holds a lease.
fn drift(rng: &mut Rng, settings: &Settings, machines: usize, theme: Theme) -> Vec<i64> {
    let (ttl, certain) = (settings.ttl.as_micros(), settings.certain().as_micros());
    // (1 + d) / (1 - d) = ttl / certain
    let bound = i64::try_from((ttl - certain) * 1_000_000 / (ttl + certain)).unwrap_or(0) - 1;
    (0..machines + super::group::LEADERS)
        .map(|index| match rng.index(4) {
            _ if theme == Theme::Calm => 0,
            // The worst there may be: slow machines, and a fast group.
            _ if theme == Theme::Drift && index < machines => -bound,
            _ if theme == Theme::Drift => bound,
            0 => bound,
            1 => -bound,
            _ => i64::try_from(rng.between(0, 2 * bound.unsigned_abs())).unwrap_or(0) - bound,
        })
        .collect()
}

/// Which [`FaultKind::Reconfigure`] changes a service's strategy.
pub(crate) const CHANGE_STRATEGY: u8 = 6;

fn fault(rng: &mut Rng, theme: Theme, machines: usize, ttl: u64, heal_at: u64) -> Fault {
    let machine = rng.index(machines);
    let any = |rng: &mut Rng| rng.index(machines + 1);
    let links = |rng: &mut Rng| match rng.index(6) {
        4 | 5 => FaultKind::OnlyPeer { machine, peer: rng.index(machines) },
        0 => FaultKind::Isolate(machine),
        1 => FaultKind::CutFromGroup(machine),
        2 if theme != Theme::SplitBrain => FaultKind::Delays,
        2 | 3 if theme == Theme::SplitBrain => FaultKind::Isolate(machine),
        _ => FaultKind::Cut { from: any(rng), to: any(rng) },
    };
    let pauses = |rng: &mut Rng| match rng.index(5) {
        0 => FaultKind::PauseMachine { machine, clock_stops: theme == Theme::StoppedClocks },
        1 => FaultKind::CrashAgent(machine),
        2 => FaultKind::CrashMachine(machine),
        3 => FaultKind::CrashWorkload(machine),
        _ => FaultKind::PauseAgent(machine),
    };
    let group = |rng: &mut Rng| match rng.index(3) {
        0 => FaultKind::GroupDown,
        1 => FaultKind::CutFromGroup(machine),
        _ => FaultKind::Election,
    };
    let operators = |rng: &mut Rng| match rng.index(7) {
        6 => FaultKind::Withdraw,
        0 => FaultKind::PauseFailover,
        1 => FaultKind::Reinit(machine),
        2 => FaultKind::Reconfigure(u8::try_from(rng.index(6)).unwrap_or(0)),
        3 => FaultKind::Leave(machine),
        _ => FaultKind::Switchover(machine),
    };
    let declarations = |rng: &mut Rng| match rng.index(5) {
        0 | 1 => FaultKind::Withdraw,
        2 => FaultKind::Remove(machine),
        _ => FaultKind::RemoveHolder,
    };
    let kind = match theme {
        Theme::Links | Theme::Drift => links(rng),
        Theme::Pauses | Theme::Fences => pauses(rng),
        Theme::Group => group(rng),
        Theme::Crashes if rng.chance(500) => FaultKind::CrashPrimary,
        Theme::SplitBrain if rng.chance(600) => links(rng),
        Theme::SplitBrain if rng.chance(200) => FaultKind::Reconfigure(CHANGE_STRATEGY),
        Theme::Declarations if rng.chance(600) => declarations(rng),
        Theme::Operators if rng.chance(600) => operators(rng),
        Theme::StoppedClocks if rng.chance(600) => FaultKind::PauseMachine { machine, clock_stops: true },
        _ => match rng.index(4) {
            0 => links(rng),
            1 => pauses(rng),
            2 => group(rng),
            _ => operators(rng),
        },
    };
    let lasts = if rng.chance(500) { rng.between(ttl / 20, ttl) } else { rng.between(ttl, ttl * 4) };
    Fault { at: rng.between(ttl * 2, heal_at), lasts, kind }
}
