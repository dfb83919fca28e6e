//! What others say they have seen of the ledger: who claims an entry that is not here, and for how long that is believed.
//!
//! Anybody of the fleet may claim any number. A claim holds a coordinator back that has not ordered yet since it started,
//! and its author is asked for the entries: what it gives proves it or not. Who cannot prove it, or does not within
//! [`CLAIM_GRACE`], is not believed for a while. One that has ordered knows better than anybody what is newest.

use std::collections::HashMap;
use std::time::Duration;

use protocols::NodeId;
use protocols::entry::Head;
use tokio::time::Instant;

/// How long a claim that nobody proved holds the order back.
pub const CLAIM_GRACE: Duration = Duration::from_secs(60);
/// How long one is not believed who could not prove a claim.
const DISBELIEF: Duration = Duration::from_secs(3600);
/// How long until the same member is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy)]
struct Claim {
    head: Head,
    since: Instant,
    asked: Option<Instant>,
}

/// The claims of others.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    claims: HashMap<NodeId, Claim>,
    liars: HashMap<NodeId, Instant>,
}

impl Heads {
    /// Notes a claim that does not fit what is here. True if its author is to be asked for the entries now.
    pub(crate) fn claim(&mut self, by: NodeId, head: Head, now: Instant) -> bool {
        if self.liars.get(&by).is_some_and(|at| now.duration_since(*at) < DISBELIEF) {
            return false;
        }
        let claim = self.claims.entry(by).or_insert(Claim { head, since: now, asked: None });
        claim.head = head;
        let ask = claim.asked.is_none_or(|at| now.duration_since(at) >= ASK_AGAIN);
        if ask {
            claim.asked = Some(now);
        }
        ask
    }

    /// Takes up what was claimed before this process began.
    pub(crate) fn remember(&mut self, by: NodeId, head: Head, now: Instant) {
        self.claims.insert(by, Claim { head, since: now, asked: None });
    }

    /// What this member claimed is here, or it has nothing that is not here.
    pub(crate) fn settle(&mut self, by: NodeId) {
        self.claims.remove(&by);
    }

    /// This member could not prove what it claimed.
    pub(crate) fn disprove(&mut self, by: NodeId, now: Instant) {
        self.claims.remove(&by);
        self.liars.insert(by, now);
    }

    /// Whether this member is not believed now.
    pub(crate) fn is_disbelieved(&self, member: NodeId) -> bool {
        self.liars.contains_key(&member)
    }

    /// What was proven to be here settles every claim up to it that names this very entry or an older place.
    pub(crate) fn reached(&mut self, seq: u64, is_here: impl Fn(Head) -> bool) {
        self.claims.retain(|_, claim| claim.head.seq > seq || !is_here(claim.head));
    }

    /// Ends claims that nobody proved in time, and says whose they were.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<(NodeId, Head)> {
        let late: Vec<(NodeId, Head)> = self
            .claims
            .iter()
            .filter(|(_, c)| now.duration_since(c.since) >= CLAIM_GRACE)
            .map(|(by, c)| (*by, c.head))
            .collect();
        late.iter().for_each(|(by, _)| self.disprove(*by, now));
        self.liars.retain(|_, at| now.duration_since(*at) < DISBELIEF);
        late
    }

    /// Forgets who is not of the fleet any more.
    pub(crate) fn retain(&mut self, member: impl Fn(NodeId) -> bool) {
        self.claims.retain(|id, _| member(*id));
        self.liars.retain(|id, _| member(*id));
    }

    /// The newest entry that somebody claims and that is newer than `ours`.
    pub(crate) fn newest_beyond(&self, ours: u64) -> Option<(NodeId, Head)> {
        let beyond = self.claims.iter().filter(|(_, c)| c.head.seq > ours);
        beyond.max_by_key(|(_, c)| c.head.seq).map(|(by, c)| (*by, c.head))
    }

    /// What a member claims now.
    pub(crate) fn of(&self, by: NodeId) -> Option<Head> {
        self.claims.get(&by).map(|c| c.head)
    }
}

#[cfg(test)]
mod tests {
    use protocols::{EntryHash, SecretKey};

    use super::*;

    fn head(seq: u64) -> Head {
        Head { seq, hash: EntryHash::from_bytes([u8::try_from(seq).unwrap(); 32]) }
    }

    #[test]
    fn a_claim_holds_until_it_is_settled_disproved_or_too_old() {
        let (a, b) = (SecretKey::from_seed(&[1; 32]).id(), SecretKey::from_seed(&[2; 32]).id());
        let now = Instant::now();
        let mut heads = Heads::default();
        assert!(heads.claim(a, head(7), now));
        assert!(!heads.claim(a, head(8), now), "asked a moment ago");
        assert!(heads.claim(a, head(8), now + ASK_AGAIN));
        assert!(heads.claim(b, head(9), now));
        assert_eq!(heads.newest_beyond(5), Some((b, head(9))));
        assert_eq!(heads.newest_beyond(9), None);
        heads.reached(8, |h| h == head(8));
        assert_eq!(heads.of(a), None);
        heads.disprove(b, now);
        assert!(!heads.claim(b, head(99), now + ASK_AGAIN), "it is not believed");
        assert_eq!(heads.newest_beyond(0), None);
        assert!(heads.claim(b, head(99), now + DISBELIEF), "after a while it is heard again");
        assert_eq!(heads.expire(now + DISBELIEF + CLAIM_GRACE), [(b, head(99))]);
        assert_eq!(heads.newest_beyond(0), None);
        assert!(heads.claim(a, head(3), now));
        heads.settle(a);
        heads.retain(|_| false);
        assert_eq!(heads.of(a), None);
    }
}
