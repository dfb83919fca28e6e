//! What a member tells: how leases stand, how the group stands, who is silent.

use std::time::Duration;

use failover::Outcome;
use protocols::NodeId;
use protocols::control::{GroupMember, GroupStatus, LeaseError, LeaseViews};
use tokio::time::timeout;

use super::{Group, READ_DEADLINE, Running};
use crate::alone::Alone;
use crate::batch::{BATCH_MAX, leads};
use crate::call::{Call, ProposeError, Reply, Said, Transport, What};
use crate::types::{Done, Item, Member};
use crate::views::{Ask, Views};

/// How long a coordinator that orders leases may take for one that hands requests on.
const HAND_ON_DEADLINE: Duration = Duration::from_secs(8);
/// After how long a member counts as silent.
const SILENT: Duration = Duration::from_secs(2);

impl Group {
    /// How the group stands, as the leader sees it if it answers; nothing where there is none.
    pub async fn status(&self) -> Option<GroupStatus> {
        let running = self.running().filter(|running| running.is_member())?;
        let leader = running.raft.metrics().borrow().current_leader;
        if let Some(leader) = leader.filter(|leader| *leader != running.me) {
            let asked = timeout(READ_DEADLINE, running.transport.call(leader.key(), Call(What::Status))).await;
            if let Ok(Ok(reply)) = asked
                && let Said::Status(Some(status)) = reply.0
            {
                return Some(status);
            }
        }
        Some(running.status())
    }
}

/// Asks a coordinator that orders leases, alone or in a group that the asker is no member of.
///
/// # Errors
/// [`LeaseError`].
pub async fn hand_on(transport: &dyn Transport, to: NodeId, ask: Ask) -> Result<Outcome, LeaseError> {
    let lost = |why: String| LeaseError::Lost { why };
    let reply = timeout(HAND_ON_DEADLINE, transport.call(to, Call(What::Propose(vec![Item::Ask(ask)])))).await;
    match reply.map_err(|_| lost("no answer in time".into()))?.map_err(lost)?.0 {
        Said::Proposed(mut results) => match results.pop() {
            Some(Ok(Done::Lease(outcome))) => Ok(*outcome),
            Some(Err(error)) => Err(error.into()),
            _ => Err(lost("it answered something else".into())),
        },
        Said::NotAMember => Err(LeaseError::NoMajority { why: "the coordinator that was asked orders none".into() }),
        Said::Failed(why) => Err(LeaseError::NoMajority { why }),
        _ => Err(lost("it answered something else".into())),
    }
}

/// Reads how leases stand from a coordinator that orders them, alone or in a group that the asker is no member of.
///
/// # Errors
/// [`LeaseError`].
pub async fn read_from(transport: &dyn Transport, to: NodeId, views: Views) -> Result<LeaseViews, LeaseError> {
    let none = |why: String| LeaseError::NoMajority { why };
    let reply = timeout(HAND_ON_DEADLINE, transport.call(to, Call(What::Views(views)))).await;
    match reply.map_err(|_| none("no answer in time".into()))?.map_err(none)?.0 {
        Said::Views(answer) => answer,
        _ => Err(none("the coordinator that was asked orders none".into())),
    }
}

/// Answers a coordinator that hands on what this one, which orders alone, is to decide.
pub async fn handle_alone(alone: &Alone, call: Call) -> Reply {
    Reply(match call.0 {
        What::Propose(items) if items.len() <= BATCH_MAX => {
            let mut results = Vec::with_capacity(items.len());
            for item in items {
                results.push(match item {
                    Item::Ask(ask) => alone.ask(ask).await.map(|outcome| Done::Lease(Box::new(outcome))).map_err(
                        |error| match error {
                            LeaseError::Overloaded => ProposeError::Overloaded,
                            error if error.is_certain() => ProposeError::NoLeader(error.to_string()),
                            error => ProposeError::Lost(error.to_string()),
                        },
                    ),
                    _ => Err(ProposeError::NoLeader("this coordinator orders alone".into())),
                });
            }
            Said::Proposed(results)
        }
        What::Views(views) => Said::Views(alone.views(views).await),
        What::Status => Said::Status(None),
        _ => Said::NotAMember,
    })
}

impl Running {
    /// How the group stands, as this member sees it.
    pub(crate) fn status(&self) -> GroupStatus {
        let metrics = self.raft.metrics().borrow().clone();
        let membership = metrics.membership_config.membership().clone();
        let voters: Vec<_> = membership.voter_ids().collect();
        let members = membership.nodes().map(|(id, ())| {
            let mine = *id == self.me;
            let matched = metrics.replication.as_ref().and_then(|r| r.get(id)).copied().flatten().map(|log| log.index);
            let silent = if mine { Some(Duration::ZERO) } else { self.heard.silent(id.key()) };
            GroupMember {
                node: id.key(),
                votes: voters.contains(id),
                has: if mine { metrics.last_log_index } else { matched },
                silent_millis: silent.map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
            }
        });
        // A leader that is cut off still takes itself for one; what it says is not ordered by anybody.
        let cut_off = leads(&metrics) && self.silent(&voters).len() > voters.len().saturating_sub(1) / 2;
        GroupStatus {
            term: metrics.current_term,
            leader: metrics.current_leader.filter(|_| !cut_off).map(|leader| leader.key()),
            by: self.me.key(),
            last: metrics.last_log_index.unwrap_or(0),
            applied: metrics.last_applied.map_or(0, |id| id.index),
            members: members.collect(),
        }
    }

    /// The others of these that were not heard lately.
    pub(super) fn silent(&self, members: &[Member]) -> Vec<Member> {
        let is_silent = |id: &&Member| **id != self.me && self.heard.silent(id.key()).is_none_or(|span| span > SILENT);
        members.iter().filter(is_silent).copied().collect()
    }

    /// Why nothing is ordered: who of the group does not answer.
    pub(crate) fn why_no_leader(&self) -> String {
        let metrics = self.raft.metrics().borrow().clone();
        if let Err(fatal) = &metrics.running_state {
            return format!("the group's log on this coordinator stopped ({fatal}); free its disk and start it again");
        }
        let voters: Vec<_> = metrics.membership_config.membership().voter_ids().collect();
        let mut silent: Vec<String> =
            self.silent(&voters).iter().map(|id| format!("`{}`", self.ledger.name_of(id.key()))).collect();
        silent.sort();
        if silent.is_empty() {
            return format!("its {} coordinators are choosing which of them leads", voters.len());
        }
        let needed = voters.len() / 2 + 1;
        format!(
            "of its {} coordinators {needed} must be connected with each other, and from here {} cannot be reached",
            voters.len(),
            silent.join(", ")
        )
    }

    pub(crate) async fn views(&self, views: Views) -> Result<LeaseViews, LeaseError> {
        let metrics = self.raft.metrics().borrow().clone();
        if leads(&metrics) {
            return Ok(self.read_here(&views).await);
        }
        if let Some(leader) = metrics.current_leader.filter(|leader| *leader != self.me) {
            let call = Call(What::Views(views.clone()));
            if let Ok(Ok(reply)) = timeout(READ_DEADLINE * 2, self.transport.call(leader.key(), call)).await
                && let Said::Views(answer) = reply.0
            {
                return answer;
            }
        }
        Ok(self.machine.read(|state| views.read(&state.table, false)))
    }

    /// Reads as the leader: exact if a majority says that it still is.
    pub(crate) async fn read_here(&self, views: &Views) -> LeaseViews {
        let exact = matches!(timeout(READ_DEADLINE, self.raft.ensure_linearizable()).await, Ok(Ok(_)));
        self.machine.read(|state| views.read(&state.table, exact))
    }
}
