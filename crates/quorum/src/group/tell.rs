//! What a member tells: how leases stand, how the group stands, who is silent.

use std::time::Duration;

use protocols::control::{GroupMember, GroupStatus, LeaseError, LeaseViews};
use tokio::time::timeout;

use super::{Group, READ_DEADLINE, Running};
use crate::batch::leads;
use crate::call::{Call, Said, What};
use crate::views::Views;

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
        GroupStatus {
            term: metrics.current_term,
            leader: metrics.current_leader.map(|leader| leader.key()),
            by: self.me.key(),
            last: metrics.last_log_index.unwrap_or(0),
            applied: metrics.last_applied.map_or(0, |id| id.index),
            members: members.collect(),
        }
    }

    /// Why nothing is ordered: who of the group does not answer.
    pub(crate) fn why_no_leader(&self) -> String {
        let metrics = self.raft.metrics().borrow().clone();
        if let Err(fatal) = &metrics.running_state {
            return format!("the group's log on this coordinator stopped ({fatal}); free its disk and start it again");
        }
        let voters: Vec<_> = metrics.membership_config.membership().voter_ids().collect();
        let is_silent =
            |id: &crate::types::Member| *id != self.me && self.heard.silent(id.key()).is_none_or(|span| span > SILENT);
        let silent: Vec<String> =
            voters.iter().filter(|id| is_silent(id)).map(|id| format!("`{}`", self.ledger.name_of(id.key()))).collect();
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
