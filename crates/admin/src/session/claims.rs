//! What coordinators signed for, remembered beside the copy of the ledger: who tells this admin two stories gives the proof.

use std::path::PathBuf;

use protocols::control::TailBatch;
use protocols::entry::{Head, Role};
use protocols::fork::BRANCH_ENTRIES_MAX;
use protocols::standing::CLAIMS_MAX;
use protocols::{ForkEvidence, HeadClaim, Signature, SignedEntry};

use super::Session;

/// Name of the file with the newest claim of each coordinator.
const CLAIMS_FILE: &str = "claims.json";
/// The largest such file that is read, in bytes.
const CLAIMS_BYTES_MAX: u64 = 64 * 1024;
/// The most bytes of our own branch in evidence.
const EVIDENCE_BYTES: usize = 2 * 1024 * 1024;

impl Session {
    /// The claim, whichever of the fleet's coordinators signed it.
    fn signed_by_a_coordinator(&self, head: Head, signature: Option<Signature>) -> Option<HeadClaim> {
        let (state, signature) = (self.state.as_ref()?, signature?);
        let mut keys = state.with_role(Role::Coordinator).map(|(id, _)| id);
        keys.find_map(|by| HeadClaim::checked(self.fleet, head, by, signature))
    }

    /// Remembers that a coordinator signed for the newest entry here. Nothing depends on that being written.
    pub(super) fn note_claim(&self, head: Head, signature: Option<Signature>) {
        if self.state.as_ref().is_none_or(|state| state.head() != head) {
            return;
        }
        let Some(claim) = self.signed_by_a_coordinator(head, signature) else { return };
        let mut claims = self.claims();
        if claims.iter().any(|known| known.by == claim.by && known.head == claim.head) {
            return;
        }
        claims.retain(|known| known.by != claim.by);
        claims.truncate(CLAIMS_MAX - 1);
        claims.insert(0, claim);
        let path = self.workspace.dir().join(CLAIMS_FILE);
        let fresh = path.with_extension("new");
        let json = serde_json::to_vec(&claims).unwrap_or_default();
        if let Err(error) = std::fs::write(&fresh, json).and_then(|()| std::fs::rename(&fresh, &path)) {
            tracing::debug!(%error, "cannot remember what the coordinator signed for");
        }
    }

    fn claims(&self) -> Vec<HeadClaim> {
        use std::io::Read as _;
        let mut json = Vec::new();
        let path = self.workspace.dir().join(CLAIMS_FILE);
        let read = std::fs::File::open(path).and_then(|file| file.take(CLAIMS_BYTES_MAX).read_to_end(&mut json));
        if read.is_err() {
            return Vec::new();
        }
        let claims: Vec<HeadClaim> = serde_json::from_slice(&json).unwrap_or_default();
        claims.into_iter().filter(|claim| claim.fleet == self.fleet && claim.holds()).collect()
    }

    /// Writes the evidence that a batch gives, which differs from what is here at `place`. Nothing if it proves nothing.
    pub(super) fn keep_evidence(&self, batch: &TailBatch, place: u64) -> Option<PathBuf> {
        let last = batch.entries.last()?.clone().verify().ok()?;
        let last = Head { seq: last.seq(), hash: last.hash() };
        let signature = if last == batch.head { batch.claim } else { batch.end };
        let theirs = self.signed_by_a_coordinator(last, signature)?;
        let ledger = self.workspace.ledger(Some(self.fleet)).ok()?;
        let at = |entry: &SignedEntry| entry.clone().verify().map_or(0, |verified| verified.seq());
        let mut shown: Vec<SignedEntry> = batch.entries.iter().filter(|entry| at(entry) >= place).cloned().collect();
        shown.drain(..shown.len().saturating_sub(BRANCH_ENTRIES_MAX));
        let mut ours = self.claims();
        ours.sort_by_key(|claim| claim.by != theirs.by);
        let (evidence, proof) = ours.into_iter().find_map(|mine| {
            let count = usize::try_from((mine.head.seq + 1).checked_sub(place)?).ok()?.min(BRANCH_ENTRIES_MAX);
            let from = mine.head.seq + 1 - count as u64;
            let branch = ledger.range(from, count, EVIDENCE_BYTES).ok().filter(|b| b.len() == count)?;
            ForkEvidence::new([theirs, mine], [shown.clone(), branch]).ok()
        })?;
        tracing::error!(%proof, "the ledger's history is split");
        let path = self.workspace.dir().join(format!("fork-{place}-{}.json", last.hash.short()));
        std::fs::write(&path, evidence.to_json().ok()?).ok()?;
        Some(path)
    }
}
