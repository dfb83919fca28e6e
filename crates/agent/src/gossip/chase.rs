//! Looking into what was said: entries that are known to exist, and heads that contradict our history.

use std::sync::Arc;

use protocols::standing::CHAIN_ENTRIES_MAX;
use protocols::{HeadClaim, NodeId, SignedEntry};

use super::Source;
use crate::agent::Agent;
use crate::witness::Alarm;
use crate::witness::weigh::{self, Branch};

impl Agent {
    /// An entry is known to exist and does not come from the coordinator: whoever spoke of it is asked.
    pub(super) async fn look_ahead(self: &Arc<Self>) {
        let Some(ahead) = self.witness.ahead() else { return };
        let Some(head) = self.head() else { return };
        if ahead.claim.head.seq <= head.seq {
            self.witness.forget_ahead();
            return self.weigh(ahead.claim, Source::Peer(ahead.from));
        }
        if self.witness.refuses() || ahead.since.elapsed() < self.options.heartbeat * BEHIND_BEATS {
            return;
        }
        if ahead.asked >= ASKED_MAX {
            tracing::warn!(claim = %ahead.claim.head, by = %ahead.claim.by.short(), "a signed head that nobody shows entries for");
            return self.witness.is_unfounded(ahead.claim);
        }
        self.witness.asked();
        let claim = ahead.claim;
        let mut entries = Vec::new();
        while let Some(next) = (head.seq + 1).checked_add(entries.len() as u64).filter(|n| *n <= claim.head.seq) {
            let Some(mut some) = self.chain_of(ahead.from, next).await.filter(|some| !some.is_empty()) else { return };
            entries.append(&mut some);
            if entries.len() > AHEAD_ENTRIES_MAX {
                return;
            }
        }
        match self.with_ledger(|ledger| weigh::compare(ledger, &entries, &claim)) {
            Branch::Extends(fresh) => self.take_from_peer(claim, ahead.from, fresh),
            Branch::Leaves { .. } | Branch::Unlinked => self.chase(claim, Source::Peer(ahead.from), &entries).await,
            Branch::Same => self.witness.forget_ahead(),
            Branch::Short => {}
            Branch::Unsound(why) => {
                tracing::warn!(why, from = %ahead.from.short(), "entries that were shown for a signed head are unsound");
            }
        }
    }

    /// Entries that a coordinator signed for are as good from anybody.
    fn take_from_peer(&self, claim: HeadClaim, from: NodeId, entries: Vec<SignedEntry>) {
        let before = self.head();
        if let Err(error) = self.append(entries) {
            let error = scores::chain(&error);
            tracing::warn!(error, "entries of another agent were not taken");
            return;
        }
        self.heard_of(claim.head.seq);
        self.weigh(claim, Source::Peer(from));
        let connected = *self.coordinator.borrow();
        let (had, has) = (before.map_or(0, |h| h.seq), claim.head.seq);
        let name = connected.map_or_else(|| "nobody".to_owned(), |id| self.name_of(id));
        let why = format!("the coordinator {name} sent nothing after entry {had}, and another agent has entry {has}");
        tracing::warn!(why, from = %from.short(), "a coordinator holds entries back");
        if let Some(coordinator) = connected {
            self.witness.set_withheld(Some(why));
            if self.coordinators().len() > 1 {
                // Another one may be better.
                self.uplink.reset(coordinator);
            }
        }
    }

    /// Looks for the entries of a claim that contradicts our history. Evidence ends the taking of entries.
    pub(super) async fn chase(self: &Arc<Self>, claim: HeadClaim, source: Source, shown: &[SignedEntry]) {
        if let Branch::Leaves { place, entries } = self.with_ledger(|ledger| weigh::compare(ledger, shown, &claim)) {
            return self.accuse(claim, place, &entries);
        }
        if let Source::Peer(peer) = source
            && self.ask_for_evidence(peer).await
        {
            return;
        }
        let Some(head) = self.head() else { return };
        let shared = head.seq.min(claim.head.seq);
        for back in CHASE_BACK {
            let from = shared.saturating_sub(back).max(1);
            let entries = match source {
                Source::Peer(peer) => self.chain_of(peer, from).await,
                Source::Coordinator(coordinator) => self.tail_of(coordinator, from, claim.head.seq).await,
            };
            let Some(entries) = entries else {
                // Not asked is not denied: whoever said it says it again.
                if !self.witness.unanswered(&claim) {
                    return;
                }
                break;
            };
            match self.with_ledger(|ledger| weigh::compare(ledger, &entries, &claim)) {
                Branch::Leaves { place, entries } => return self.accuse(claim, place, &entries),
                Branch::Same | Branch::Extends(_) => return,
                Branch::Unlinked if from > 1 => {}
                Branch::Short => {
                    if !self.witness.unanswered(&claim) {
                        return;
                    }
                    break;
                }
                Branch::Unlinked => break,
                Branch::Unsound(why) => {
                    tracing::warn!(why, claim = %claim.head, "entries shown for a contradicting head are unsound");
                    break;
                }
            }
        }
        tracing::error!(
            claim = %claim.head, by = %claim.by.short(),
            "a coordinator signed for a head that contradicts this node's history, and nobody shows entries for it"
        );
        self.witness.is_unfounded(claim);
    }

    /// Raises the alarm over entries that leave our history at a place, could have stood there, and were signed for.
    fn accuse(&self, claim: HeadClaim, place: u64, theirs: &[SignedEntry]) {
        let first = theirs.first().map(SignedEntry::hash);
        if first.is_some_and(|first| self.witness.is_dealt_with(&first)) {
            return;
        }
        let held = self.witness.held();
        let (found, ours) = self.with_ledger(|ledger| {
            (weigh::evidence(ledger, claim, place, theirs, &held), weigh::hash_at(ledger, place))
        });
        let mut accused: Vec<NodeId> = vec![claim.by];
        let why = match &found {
            Some((_, proof)) => {
                accused = proof.claims.iter().map(|c| c.by).collect();
                accused.dedup();
                format!("the history is split at entry {place}: {proof}")
            }
            None => format!("{} signed for a history that leaves this node's at entry {place}", self.name_of(claim.by)),
        };
        let since = (self.options.clock)();
        self.alarm(Alarm { since, why, accused, theirs: first, ours, evidence: found.map(|(evidence, _)| evidence) });
    }
}

/// How many heartbeats a coordinator has to send an entry that another agent has.
const BEHIND_BEATS: u32 = 2;
/// How often somebody is asked for the entries of a claim before it counts as unfounded.
const ASKED_MAX: u32 = 5;
/// The most entries that are taken from another agent at once.
const AHEAD_ENTRIES_MAX: usize = 16 * CHAIN_ENTRIES_MAX;
/// How far back a branch is looked for, in entries.
const CHASE_BACK: [u64; 4] = [0, 15, 255, 1000];
