//! Says in the log, once each, what happens to the group: who leads, whose silence was noticed, who is back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::{Group, Running};
use crate::batch::leads;
use crate::types::Member;

/// How often members are looked at though nothing was said.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After how long without a leader that is said.
const LEADERLESS: Duration = Duration::from_secs(3);

/// Figures of the group, as one member sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// The term.
    pub term: u64,
    /// Whether this member leads.
    pub leads: bool,
    /// Whether it knows of a leader.
    pub led: bool,
    /// The members that vote.
    pub voters: usize,
    /// The other voters that it did not hear lately; only a leader hears all of them.
    pub silent: usize,
    /// The newest entry of its log.
    pub last: u64,
    /// The newest entry that it has carried out.
    pub applied: u64,
    /// The newest entry that only its snapshot still holds.
    pub purged: u64,
}

impl Group {
    /// Figures of now, if this coordinator is a member.
    pub fn figures(&self) -> Option<Figures> {
        let running = self.running().filter(|running| running.is_member())?;
        let metrics = running.raft.metrics().borrow().clone();
        let voters: Vec<Member> = metrics.membership_config.membership().voter_ids().collect();
        let leads = leads(&metrics);
        Some(Figures {
            term: metrics.current_term,
            leads,
            led: metrics.current_leader.is_some(),
            voters: voters.len(),
            silent: if leads { running.silent(&voters).len() } else { 0 },
            last: metrics.last_log_index.unwrap_or(0),
            applied: metrics.last_applied.map_or(0, |id| id.index),
            purged: metrics.purged.map_or(0, |id| id.index),
        })
    }
}

/// Looks until the member ends.
pub(super) async fn watch(running: Arc<Running>) {
    let mut metrics = running.raft.metrics();
    let (mut leader, mut silent) = (None, BTreeSet::new());
    let mut leaderless = Some(tokio::time::Instant::now());
    loop {
        // A look in between is as good.
        let ended = matches!(timeout(LOOK_EVERY, metrics.changed()).await, Ok(Err(_)));
        if ended {
            return;
        }
        let now = metrics.borrow_and_update().clone();
        match now.current_leader {
            Some(new) => {
                leaderless = None;
                if leader.replace(new) != Some(new) {
                    let name = running.ledger.name_of(new.key());
                    tracing::info!(leader = %name, term = now.current_term, "the group of coordinators has a leader");
                }
            }
            None => {
                let since = *leaderless.get_or_insert_with(tokio::time::Instant::now);
                if leader.is_some() && since.elapsed() > LEADERLESS {
                    leader = None;
                    tracing::warn!(why = %running.why_no_leader(), "nobody leads the group of coordinators");
                }
            }
        }
        // Only who leads hears from all.
        let voters: Vec<Member> = now.membership_config.membership().voter_ids().collect();
        let missing = if leads(&now) { running.silent(&voters).into_iter().collect() } else { BTreeSet::new() };
        for member in missing.difference(&silent) {
            let name = running.ledger.name_of(member.key());
            tracing::warn!(coordinator = %name, "a coordinator of the group does not answer");
        }
        if leads(&now) {
            for member in silent.difference(&missing) {
                let name = running.ledger.name_of(member.key());
                tracing::info!(coordinator = %name, "a coordinator of the group answers again");
            }
        }
        silent = missing;
    }
}
