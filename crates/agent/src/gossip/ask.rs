//! What agents ask of each other about the ledger: how far one is, its evidence, its entries; and the answers.

use std::sync::Arc;

use protocols::control::{Denied, Tail};
use protocols::entry::Head;
use protocols::node::{AskWitness, GetChain};
use protocols::standing::{CHAIN_BYTES_MAX, CHAIN_ENTRIES_MAX, Testimony};
use protocols::{ForkEvidence, NodeId, SignedEntry};
use tokio::time::timeout;

use crate::agent::Agent;
use crate::sync::ANSWER_DEADLINE;
use crate::witness::Alarm;
use crate::witness::weigh::{self, Branch};

impl Agent {
    /// Asks an agent for its evidence, and believes what it proves. True if that was evidence.
    pub(super) async fn ask_for_evidence(self: &Arc<Self>, peer: NodeId) -> bool {
        let answer = timeout(ANSWER_DEADLINE, self.uplink.node(peer).rpc(AskWitness)).await;
        let Ok(Ok(Ok(testimony))) = answer else { return false };
        let Some(json) = testimony.evidence else { return false };
        let (Some(state), Ok(evidence)) = (self.state(), ForkEvidence::from_json(json.as_bytes())) else {
            return false;
        };
        let Ok(proof) = evidence.verify(state.fleet()) else { return false };
        if !proof.claims.iter().all(|claim| state.is_coordinator(claim.by)) {
            return false;
        }
        for (claim, branch) in evidence.claims.iter().zip(&evidence.branches) {
            if let Branch::Leaves { place, entries } = self.with_ledger(|ledger| weigh::compare(ledger, branch, claim))
            {
                let first = entries.first().map(SignedEntry::hash);
                if first.is_some_and(|first| self.witness.is_dealt_with(&first)) {
                    return true;
                }
                let mut accused: Vec<NodeId> = proof.claims.iter().map(|c| c.by).collect();
                accused.dedup();
                let ours = self.with_ledger(|ledger| weigh::hash_at(ledger, place));
                let why = format!("the history is split at entry {place}: {proof}");
                let since = (self.options.clock)();
                self.alarm(Alarm { since, why, accused, theirs: first, ours, evidence: Some(evidence.clone()) });
                return true;
            }
        }
        false
    }

    /// Entries of another agent.
    pub(super) async fn chain_of(&self, peer: NodeId, from: u64) -> Option<Vec<SignedEntry>> {
        let answer = timeout(ANSWER_DEADLINE, self.uplink.node(peer).rpc(GetChain { from })).await;
        answer.ok()?.ok()?.ok().map(|mut entries| {
            entries.truncate(CHAIN_ENTRIES_MAX);
            entries
        })
    }

    /// Entries of a coordinator, from a place up to another.
    pub(super) async fn tail_of(&self, coordinator: NodeId, from: u64, upto: u64) -> Option<Vec<SignedEntry>> {
        let before = from.checked_sub(1)?;
        let hash = self.with_ledger(|ledger| weigh::hash_at(ledger, before))?;
        let request = Tail { after: Some(Head { seq: before, hash }), follow: false };
        let client = self.uplink.control(coordinator);
        let ask = async {
            let mut batches = client.server_streaming(request, 1).await.ok()?;
            let mut all: Vec<SignedEntry> = Vec::new();
            while let Ok(Some(batch)) = batches.recv().await {
                if batch.entries.is_empty() {
                    break;
                }
                all.extend(batch.entries);
                if all.len() > CHAIN_ENTRIES_MAX || from + all.len() as u64 > upto {
                    break;
                }
            }
            Some(all)
        };
        timeout(ANSWER_DEADLINE, ask).await.ok().flatten()
    }

    /// Answers a member that asks how far this node is.
    pub(crate) fn testify(&self, caller: NodeId) -> Result<Testimony, Denied> {
        self.known_caller(caller)?;
        let evidence = self.evidence().and_then(|evidence| evidence.to_json().ok());
        Ok(Testimony { head: self.head(), claims: self.witness.held(), standing: self.standing(), evidence })
    }

    /// Answers a member that asks for entries.
    pub(crate) fn chain(&self, caller: NodeId, from: u64) -> Result<Vec<SignedEntry>, Denied> {
        self.known_caller(caller)?;
        let entries = self.with_ledger(|ledger| ledger.range(from, CHAIN_ENTRIES_MAX, CHAIN_BYTES_MAX));
        entries.map_err(|e| Denied::Unavailable(e.to_string()))
    }

    fn known_caller(&self, caller: NodeId) -> Result<(), Denied> {
        let state = self.state().ok_or_else(|| Denied::Unavailable("the node has no ledger yet".into()))?;
        if state.knows(caller) { Ok(()) } else { Err(Denied::NotAMember(caller)) }
    }
}
