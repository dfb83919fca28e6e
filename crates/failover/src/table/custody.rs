//! Custody: who alone may change something that several nodes can reach, for a while. A device, for one.
//!
//! Unlike a cluster's lease it has no candidates, no settings and no workload that must be fenced: who cannot be certain
//! of it any more sends nothing. Epochs are counted for all of them together, so an old one can be forgotten and no epoch
//! is ever granted twice.

use serde::{Deserialize, Serialize};

use super::LeaseTable;
use super::request::{Answer, Author, Refusal, Request};
use crate::ids::{ClusterName, Epoch, NodeId};
use crate::time::{LogTime, Span};

/// Who has custody of one thing, or had it last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Custody {
    /// Who.
    pub holder: NodeId,
    /// By which grant.
    pub epoch: Epoch,
    /// By which grant the holder got it from somebody else: nobody else has had it since.
    pub since: Epoch,
    /// When the group no longer keeps it.
    pub expires: LogTime,
    /// Whether the holder has given it back.
    pub over: bool,
}

impl Custody {
    /// How long the group keeps it after a grant or a renewal.
    pub const TTL: Span = Span::from_secs(15);
    /// How much earlier than the group the holder counts it as over. Covers the drift of clocks.
    pub const SLACK: Span = Span::from_secs(1);

    const fn is_kept(&self, now: LogTime) -> bool {
        !self.over && self.expires.as_micros() >= now.as_micros()
    }
}

impl LeaseTable {
    /// How many things a group keeps custody of.
    pub const MAX_CUSTODIES: usize = 10_000;
    /// How many of them one node may have at once.
    pub const MAX_CUSTODIES_OF_ONE: usize = 512;

    /// Who has custody of a thing, or had it last.
    pub fn custody(&self, thing: &ClusterName) -> Option<&Custody> {
        self.custodies.get(thing)
    }

    /// Whether anybody has custody of anything now.
    pub fn is_anything_in_custody(&self) -> bool {
        self.custodies.values().any(|custody| custody.is_kept(self.now))
    }

    pub(super) fn decide_custody(
        &mut self,
        thing: &ClusterName,
        author: Author,
        request: &Request,
    ) -> Result<Answer, Refusal> {
        let Author::Node(node) = author else { return Err(Refusal::NotCandidate) };
        match request {
            Request::TakeCustody => self.take_custody(thing, node),
            Request::KeepCustody { epoch } => {
                let until = self.now + Custody::TTL;
                let custody = self.own_custody(thing, node, *epoch)?;
                custody.expires = until;
                Ok(Answer::Renewed { epoch: *epoch, ttl: Custody::TTL })
            }
            Request::EndCustody { epoch } => {
                self.own_custody(thing, node, *epoch)?.over = true;
                Ok(Answer::Noted)
            }
            _ => Err(Refusal::UnknownCluster),
        }
    }

    fn take_custody(&mut self, thing: &ClusterName, node: NodeId) -> Result<Answer, Refusal> {
        let now = self.now;
        let before = self.custodies.get(thing).copied();
        if let Some(other) = before.filter(|custody| custody.holder != node && custody.is_kept(now)) {
            return Err(Refusal::InCustody { of: other.holder, left: other.expires.since(now) });
        }
        let others = self.custodies.iter().filter(|(name, custody)| *name != thing && custody.is_kept(now));
        if others.filter(|(_, custody)| custody.holder == node).count() >= Self::MAX_CUSTODIES_OF_ONE {
            return Err(Refusal::TooManyInCustody);
        }
        if before.is_none() && self.custodies.len() >= Self::MAX_CUSTODIES {
            let forgotten = self.custodies.iter().filter(|(_, custody)| !custody.is_kept(now));
            let oldest = forgotten.min_by_key(|(_, custody)| custody.epoch).map(|(name, _)| name.clone());
            self.custodies.remove(&oldest.ok_or(Refusal::TooManyInCustody)?);
        }
        self.custody_epoch = self.custody_epoch.next();
        let epoch = self.custody_epoch;
        // Of one node only one process asks: who asks again has lost the answer, or is a later process.
        let since = before.filter(|custody| custody.holder == node).map_or(epoch, |custody| custody.since);
        let expires = now + Custody::TTL;
        self.custodies.insert(thing.clone(), Custody { holder: node, epoch, since, expires, over: false });
        Ok(Answer::Entrusted { epoch, since, ttl: Custody::TTL })
    }

    /// Also beyond its end, as long as nobody else has got it.
    fn own_custody(&mut self, thing: &ClusterName, node: NodeId, epoch: Epoch) -> Result<&mut Custody, Refusal> {
        let custody = self.custodies.get_mut(thing).ok_or(Refusal::NotHeld)?;
        match (custody.holder == node, custody.epoch == epoch, custody.over) {
            (false, ..) => Err(Refusal::NotHolder),
            (true, false, _) => Err(Refusal::Epoch(custody.epoch)),
            (true, true, true) => Err(Refusal::NotHeld),
            (true, true, false) => Ok(custody),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attempt, Entry, Stamp};

    fn thing(name: &str) -> ClusterName {
        ClusterName::try_from(format!("device/{name}")).unwrap()
    }

    fn node(n: u8) -> NodeId {
        NodeId::from_bytes([n; 32])
    }

    fn ask(table: &mut LeaseTable, after: u64, name: &str, who: u8, request: Request) -> Result<Answer, Refusal> {
        let entry =
            Entry::Ask { cluster: thing(name), author: Author::Node(node(who)), attempt: Attempt::default(), request };
        table.apply(Stamp { elapsed: Span::from_secs(after) }, &entry).answer
    }

    fn entrusted(answer: Result<Answer, Refusal>) -> (Epoch, Epoch) {
        match answer {
            Ok(Answer::Entrusted { epoch, since, .. }) => (epoch, since),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_has_it_until_it_ends_or_expires() {
        let mut table = LeaseTable::new();
        let (first, since) = entrusted(ask(&mut table, 0, "a", 1, Request::TakeCustody));
        assert_eq!(first, since);
        let left = Span::from_secs(5);
        let held = Err(Refusal::InCustody { of: node(1), left });
        assert_eq!(ask(&mut table, 10, "a", 2, Request::TakeCustody), held);
        assert!(ask(&mut table, 0, "a", 1, Request::KeepCustody { epoch: first }).is_ok());
        assert!(ask(&mut table, 15, "a", 2, Request::TakeCustody).is_err());
        let (second, since) = entrusted(ask(&mut table, 1, "a", 2, Request::TakeCustody));
        assert!(second > first && since == second);
        for late in [Request::KeepCustody { epoch: first }, Request::EndCustody { epoch: first }] {
            assert_eq!(ask(&mut table, 0, "a", 1, late), Err(Refusal::NotHolder));
        }
        assert_eq!(ask(&mut table, 0, "a", 2, Request::EndCustody { epoch: second }), Ok(Answer::Noted));
        assert!(!table.is_anything_in_custody());
        let (third, since) = entrusted(ask(&mut table, 0, "a", 1, Request::TakeCustody));
        assert!(third > second && since == third, "somebody else had it in between");
    }

    #[test]
    fn who_comes_back_learns_whether_anybody_else_had_it() {
        let mut table = LeaseTable::new();
        let (first, _) = entrusted(ask(&mut table, 0, "a", 1, Request::TakeCustody));
        // A restart: it is granted anew at once, and what the earlier process still sends counts for nothing.
        let (second, since) = entrusted(ask(&mut table, 1, "a", 1, Request::TakeCustody));
        assert!(since == first && second > first);
        assert_eq!(ask(&mut table, 0, "a", 1, Request::EndCustody { epoch: first }), Err(Refusal::Epoch(second)));
        let (_, since) = entrusted(ask(&mut table, 600, "a", 1, Request::TakeCustody));
        assert_eq!(since, first);
        entrusted(ask(&mut table, 16, "a", 2, Request::TakeCustody));
        let (_, since) = entrusted(ask(&mut table, 16, "a", 1, Request::TakeCustody));
        assert!(since > second);
    }

    #[test]
    fn an_expired_one_can_be_kept_as_long_as_nobody_wants_it() {
        let mut table = LeaseTable::new();
        let (epoch, _) = entrusted(ask(&mut table, 0, "a", 1, Request::TakeCustody));
        assert!(ask(&mut table, 60, "a", 1, Request::KeepCustody { epoch }).is_ok());
        assert!(ask(&mut table, 1, "a", 2, Request::TakeCustody).is_err());
        assert!(ask(&mut table, 0, "b", 2, Request::TakeCustody).is_ok(), "another thing");
    }

    #[test]
    fn nobody_fills_the_table() {
        let mut table = LeaseTable::new();
        for n in 0..LeaseTable::MAX_CUSTODIES_OF_ONE {
            entrusted(ask(&mut table, 0, &n.to_string(), 1, Request::TakeCustody));
        }
        assert_eq!(ask(&mut table, 0, "another", 1, Request::TakeCustody), Err(Refusal::TooManyInCustody));
        // What has expired is forgotten when there is need; the counter is not.
        let (epoch, _) = entrusted(ask(&mut table, 16, "another", 2, Request::TakeCustody));
        for n in 0..LeaseTable::MAX_CUSTODIES {
            let who = u8::try_from(3 + n / LeaseTable::MAX_CUSTODIES_OF_ONE).unwrap();
            entrusted(ask(&mut table, if n == 9_000 { 16 } else { 0 }, &format!("x{n}"), who, Request::TakeCustody));
        }
        assert!(table.custodies.len() <= LeaseTable::MAX_CUSTODIES);
        let (again, since) = entrusted(ask(&mut table, 16, "another", 2, Request::TakeCustody));
        assert!(again > epoch && since == again, "forgotten is like changed by another");
    }
}
