//! What waits to be ordered: taken together into one entry of the log, or handed to the member that leads.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use failover::{LogClock, Stamp};
use openraft::error::{ClientWriteError, RaftError};
use openraft::{RaftMetrics, ServerState};
use protocols::control::LeaseError;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, timeout};

use crate::boottime;
use crate::call::{Call, ProposeError, Said, What};
use crate::group::Running;
use crate::types::{Batch, Done, Item, Member};

/// How many items may wait.
pub(crate) const QUEUED: usize = 1024;
/// How many are ordered by one entry of the log.
pub(crate) const BATCH_MAX: usize = 256;
/// How many bytes of ledger entries one entry of the log takes, if it takes more than one.
const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// How often time is put into the log while there are leases.
const CLOCK_EVERY: Duration = Duration::from_secs(1);
/// How long a majority may take to store an entry.
const STORE_DEADLINE: Duration = Duration::from_secs(5);
/// How long a leader goes on taking items though no majority answers it.
const QUORUM_SILENT: Duration = Duration::from_secs(3);
/// How long a new leader is waited for before it is said that there is none.
const LEADER_WAIT: Duration = Duration::from_secs(3);
/// How many batches may be on their way to the leader.
const FORWARDS: usize = 8;

pub(crate) type Answer = oneshot::Sender<Result<Done, ProposeError>>;

/// One item that waits.
pub(crate) struct Waiting {
    pub(crate) item: Item,
    /// Whether another member handed it on: it is not handed on again.
    pub(crate) handed_on: bool,
    pub(crate) answer: Answer,
}

/// Orders what comes, until the queue is closed.
pub(crate) async fn order(running: Arc<Running>, mut queue: mpsc::Receiver<Waiting>) {
    let mut clock = LogClock::new();
    let mut ticks = tokio::time::interval(CLOCK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut left: VecDeque<Waiting> = VecDeque::new();
    let mut leaderless: Option<Instant> = None;
    let forwards = Arc::new(Semaphore::new(FORWARDS));
    loop {
        if left.is_empty() {
            let mut taken = Vec::new();
            tokio::select! {
                count = queue.recv_many(&mut taken, BATCH_MAX) => if count == 0 { return },
                _ = ticks.tick() => {}
            }
            left.extend(taken);
        }
        let batch = take(&mut left);
        let metrics = running.raft.metrics().borrow().clone();
        if leads(&metrics) {
            leaderless = None;
            write(&running, &mut clock, &metrics, batch).await;
            continue;
        }
        if batch.is_empty() {
            continue;
        }
        let (handed_on, mine): (Vec<_>, Vec<_>) = batch.into_iter().partition(|waiting| waiting.handed_on);
        refuse(handed_on, &ProposeError::NoLeader("it does not lead any more".into()));
        match metrics.current_leader.filter(|leader| *leader != running.me) {
            Some(leader) => {
                leaderless = None;
                let Ok(permit) = Arc::clone(&forwards).acquire_owned().await else { return };
                let running = Arc::clone(&running);
                tokio::spawn(async move {
                    forward(&running, leader, mine).await;
                    drop(permit);
                });
            }
            None => {
                let since = *leaderless.get_or_insert_with(Instant::now);
                let mut changes = running.raft.metrics();
                let chosen = changes.wait_for(|now| now.current_leader.is_some());
                let wait = LEADER_WAIT.saturating_sub(since.elapsed());
                match timeout(wait, chosen).await {
                    Ok(Ok(_)) => mine.into_iter().rev().for_each(|waiting| left.push_front(waiting)),
                    _ => refuse(mine, &ProposeError::NoLeader(running.why_no_leader())),
                }
            }
        }
    }
}

pub(crate) fn leads(metrics: &RaftMetrics<Member, ()>) -> bool {
    metrics.state == ServerState::Leader && metrics.current_leader == Some(metrics.id)
}

/// As much as fits in one entry of the log.
fn take(left: &mut VecDeque<Waiting>) -> Vec<Waiting> {
    let (mut batch, mut bytes) = (Vec::new(), 0usize);
    while let Some(next) = left.front() {
        if let Item::Entry(entry) = &next.item {
            bytes = bytes.saturating_add(entry.bytes.len());
        }
        if batch.len() >= BATCH_MAX || (bytes > BATCH_BYTES_MAX && !batch.is_empty()) {
            break;
        }
        batch.extend(left.pop_front());
    }
    batch
}

fn refuse(batch: Vec<Waiting>, why: &ProposeError) {
    for waiting in batch {
        // Who asked may have gone.
        let _gone = waiting.answer.send(Err(why.clone()));
    }
}

/// Writes a batch as the leader; with nothing to write, only the time.
async fn write(running: &Running, clock: &mut LogClock, metrics: &RaftMetrics<Member, ()>, batch: Vec<Waiting>) {
    let silent = metrics.millis_since_quorum_ack.map_or(Duration::ZERO, Duration::from_millis);
    let alone = metrics.membership_config.membership().voter_ids().count() == 1;
    if !alone && silent > QUORUM_SILENT {
        return refuse(batch, &ProposeError::NoLeader(running.why_no_leader()));
    }
    let founded = running.machine.read(|state| state.head.is_some());
    let (batch, early): (Vec<_>, Vec<_>) =
        batch.into_iter().partition(|waiting| founded || matches!(waiting.item, Item::Carry { .. }));
    refuse(early, &ProposeError::NoLeader("the group is being founded".into()));
    if batch.is_empty() && !running.machine.read(|state| state.table.needs_clock()) {
        return;
    }
    let term = metrics.vote.leader_id().get_term();
    let mut stamp = || -> Stamp { clock.stamp(term, boottime::now()) };
    let (mut items, mut answers) = (Vec::with_capacity(batch.len().max(1)), Vec::with_capacity(batch.len()));
    for waiting in batch {
        items.push((stamp(), waiting.item));
        answers.push(waiting.answer);
    }
    if items.is_empty() {
        items.push((stamp(), Item::Clock));
    }
    let written = timeout(STORE_DEADLINE, running.raft.client_write(Batch { term, items })).await;
    let error = match written {
        Ok(Ok(response)) => {
            for (answer, done) in answers.into_iter().zip(response.data) {
                let _gone = answer.send(Ok(done));
            }
            return;
        }
        // The entry may have been appended before the leadership went, and another leader may still have it.
        Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => {
            ProposeError::Lost("another coordinator leads by now".into())
        }
        Ok(Err(RaftError::APIError(other))) => ProposeError::Lost(other.to_string()),
        Ok(Err(RaftError::Fatal(fatal))) => ProposeError::Lost(format!("the group's log stopped: {fatal}")),
        Err(_) => ProposeError::Lost(running.why_no_leader()),
    };
    for answer in answers {
        let _gone = answer.send(Err(error.clone()));
    }
}

/// Hands items on to the leader, as long as it is the leader.
async fn forward(running: &Running, leader: Member, batch: Vec<Waiting>) {
    let (items, answers): (Vec<Item>, Vec<Answer>) = batch.into_iter().map(|w| (w.item, w.answer)).unzip();
    let within = STORE_DEADLINE + Duration::from_secs(1);
    let call = timeout(within, running.transport.call(leader.key(), Call(What::Propose(items))));
    let mut metrics = running.raft.metrics();
    let answered = tokio::select! {
        answered = call => answered,
        // It may have ordered them, and be cut off or gone: whoever asked can ask again the sooner.
        _ = metrics.wait_for(|now| now.current_leader != Some(leader)) => Ok(Err("another coordinator is to lead".into())),
    };
    let error = match answered {
        Ok(Ok(reply)) => match reply.0 {
            Said::Proposed(results) if results.len() == answers.len() => {
                for (answer, result) in answers.into_iter().zip(results) {
                    let _gone = answer.send(result);
                }
                return;
            }
            Said::NotAMember => ProposeError::NoLeader("the coordinator that led left the group".into()),
            _ => ProposeError::Lost("the coordinator that leads answered something else".into()),
        },
        Ok(Err(why)) => ProposeError::Lost(why),
        Err(_) => ProposeError::Lost(format!("no answer in {} seconds", within.as_secs())),
    };
    for answer in answers {
        let _gone = answer.send(Err(error.clone()));
    }
}

impl From<ProposeError> for LeaseError {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::NoLeader(why) => Self::NoMajority { why },
            ProposeError::Lost(why) => Self::Lost { why },
            ProposeError::Overloaded => Self::Overloaded,
        }
    }
}
