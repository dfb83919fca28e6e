//! Answers about leases that are signed, for a process that does not believe whoever carries them: a coordinator's word
//! for what became of a request, and a candidate's promise.

use bytes::Bytes;
use failover::{ClusterName, Outcome};
use serde::{Deserialize, Serialize};

use crate::ids::{FleetId, NodeId};
use crate::key::{SecretKey, Signature};
use crate::node::AskPromise;

/// What a [`LeaseWord`]'s signature covers before the fleet id, the asker's key, the cluster's length (8 bytes, little
/// endian), the cluster and the outcome.
pub const LEASE_DOMAIN: &[u8] = b"flotilla lease 1\0";
/// What a [`PromiseWord`]'s signature covers before the fleet id, the holder's key, the cluster's length (8 bytes, little
/// endian), the cluster, and as 8 bytes each the attempt's boot and number, the epoch, and the term in microseconds.
pub const PROMISE_DOMAIN: &[u8] = b"flotilla promise 1\0";
/// The largest outcome, in bytes: the settings of a cluster with all candidates and rungs take a small part of it.
pub const OUTCOME_BYTES_MAX: usize = 64 * 1024;

/// A coordinator's word for what became of a request about a lease. The outcome names the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseWord {
    /// Whose word it is.
    pub by: NodeId,
    /// The outcome as postcard: what was signed.
    pub outcome: Bytes,
    /// By that key.
    pub signature: Signature,
}

impl LeaseWord {
    /// Signs the outcome of what `asker` asked.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn sign(
        key: &SecretKey,
        fleet: FleetId,
        asker: NodeId,
        cluster: &ClusterName,
        outcome: &Outcome,
    ) -> Result<Self, postcard::Error> {
        let outcome = Bytes::from(postcard::to_stdvec(outcome)?);
        let signature = key.sign(LEASE_DOMAIN, &about(fleet, asker, cluster, &outcome));
        Ok(Self { by: key.id(), outcome, signature })
    }

    /// The outcome, if it was signed by the key that it names, for this asker and cluster. Whether that key is a
    /// coordinator's is the caller's to know.
    pub fn opened(&self, fleet: FleetId, asker: NodeId, cluster: &ClusterName) -> Option<Outcome> {
        let message = about(fleet, asker, cluster, &self.outcome);
        if self.outcome.len() > OUTCOME_BYTES_MAX || !self.by.verifies(LEASE_DOMAIN, &message, &self.signature) {
            return None;
        }
        match postcard::take_from_bytes(&self.outcome) {
            Ok((outcome, [])) => Some(outcome),
            _ => None,
        }
    }
}

/// A candidate's promise to the holder of an epoch not to use a lease that it is granted over its head.
#[derive(Debug, Clone, Copy)]
pub struct PromiseWord<'a> {
    /// The fleet.
    pub fleet: FleetId,
    /// To whom.
    pub holder: NodeId,
    /// What was asked.
    pub question: &'a AskPromise,
}

impl PromiseWord<'_> {
    /// Gives it.
    pub fn sign(&self, key: &SecretKey) -> Signature {
        key.sign(PROMISE_DOMAIN, &self.message())
    }

    /// Whether it is `by`'s.
    pub fn holds(&self, by: NodeId, signature: &Signature) -> bool {
        by.verifies(PROMISE_DOMAIN, &self.message(), signature)
    }

    fn message(&self) -> Vec<u8> {
        let AskPromise { cluster, attempt, epoch, term } = self.question;
        let numbers = [attempt.boot, attempt.seq, epoch.0, term.as_micros()].map(u64::to_le_bytes);
        about(self.fleet, self.holder, cluster, &numbers.concat())
    }
}

fn about(fleet: FleetId, asker: NodeId, cluster: &ClusterName, rest: &[u8]) -> Vec<u8> {
    let cluster = cluster.as_str().as_bytes();
    let length = (cluster.len() as u64).to_le_bytes();
    [fleet.as_bytes().as_slice(), asker.as_bytes(), &length, cluster, rest].concat()
}

#[cfg(test)]
mod tests {
    use failover::{Answer, Attempt, Epoch, LogTime, Span};

    use super::*;

    fn name(text: &str) -> ClusterName {
        ClusterName::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn a_word_is_its_signers_for_one_fleet_one_asker_and_one_cluster() {
        let (key, other) = (SecretKey::from_seed(&[3; 32]), SecretKey::from_seed(&[4; 32]));
        let (fleet, asker, cluster) = (FleetId::from_bytes([1; 32]), other.id(), name("service/a"));
        let attempt = Some(Attempt { boot: 1, seq: 2 });
        let answer = Ok(Answer::Granted { epoch: Epoch(7), ttl: Span::from_secs(5) });
        let outcome = Outcome { at: LogTime::ZERO, attempt, answer, view: None };
        let word = LeaseWord::sign(&key, fleet, asker, &cluster, &outcome).unwrap();
        assert_eq!(word.opened(fleet, asker, &cluster), Some(outcome.clone()));
        assert_eq!(word.opened(FleetId::from_bytes([2; 32]), asker, &cluster), None);
        assert_eq!(word.opened(fleet, key.id(), &cluster), None);
        assert_eq!(word.opened(fleet, asker, &name("service/b")), None);
        assert_eq!(LeaseWord { by: other.id(), ..word.clone() }.opened(fleet, asker, &cluster), None);
        for at in 0..word.outcome.len() {
            let mut altered = word.outcome.to_vec();
            altered[at] ^= 1;
            assert_eq!(LeaseWord { outcome: altered.into(), ..word.clone() }.opened(fleet, asker, &cluster), None);
        }
        // Something longer, soundly signed, is no outcome either.
        let longer = Bytes::from([word.outcome.as_ref(), &[0]].concat());
        let signature = key.sign(LEASE_DOMAIN, &about(fleet, asker, &cluster, &longer));
        assert_eq!(LeaseWord { outcome: longer, signature, ..word }.opened(fleet, asker, &cluster), None);
    }

    #[test]
    fn a_promise_is_one_candidates_for_one_question() {
        let (key, holder) = (SecretKey::from_seed(&[3; 32]), NodeId::from_bytes([9; 32]));
        let fleet = FleetId::from_bytes([1; 32]);
        let attempt = Attempt { boot: 1, seq: 2 };
        let question = AskPromise { cluster: name("service/a"), attempt, epoch: Epoch(7), term: Span::from_secs(5) };
        let word = PromiseWord { fleet, holder, question: &question };
        let signature = word.sign(&key);
        assert!(word.holds(key.id(), &signature));
        assert!(!word.holds(holder, &signature));
        let others = [
            AskPromise { cluster: name("service/b"), ..question.clone() },
            AskPromise { attempt: Attempt { boot: 2, ..attempt }, ..question.clone() },
            AskPromise { attempt: Attempt { seq: 3, ..attempt }, ..question.clone() },
            AskPromise { epoch: Epoch(8), ..question.clone() },
            AskPromise { term: Span::from_secs(6), ..question.clone() },
        ];
        for other in &others {
            assert!(!PromiseWord { question: other, ..word }.holds(key.id(), &signature), "{other:?}");
        }
        assert!(!PromiseWord { holder: key.id(), ..word }.holds(key.id(), &signature));
        assert!(!PromiseWord { fleet: FleetId::from_bytes([2; 32]), ..word }.holds(key.id(), &signature));
    }
}
