//! Evidence of a split history: two head claims that cannot both be true, with the entries that show it.
//!
//! Whoever has the fleet's id can judge it, offline, and trusts nobody for it; `docs/ledger-format.md` describes the file.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::entry::{Entry, Head, SignedEntry, VerifyError};
use crate::head_claim::HeadClaim;
use crate::ids::{FleetId, NodeId};
use crate::key::Signature;

/// The most entries of one branch in a piece of evidence.
pub const BRANCH_ENTRIES_MAX: usize = 1024;
/// The largest piece of evidence, in bytes of JSON.
pub const FORK_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Two claims of heads that lie on different branches. Only evidence that was [verified](Self::verify) proves anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForkEvidence {
    /// What this is.
    pub format: Format,
    /// The two claims.
    pub claims: [HeadClaim; 2],
    /// For each claim, entries in order of which the last is the one that the claim names; may be none where the claims
    /// alone are proof.
    #[serde(with = "lines")]
    pub branches: [Vec<SignedEntry>; 2],
}

/// The version of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// The only one.
    #[serde(rename = "flotilla fork 1")]
    One,
}

/// What evidence proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForkProof {
    /// The claims, that of the lower place first.
    pub claims: [HeadClaim; 2],
    /// Histories differ at this place at the latest.
    pub by_place: u64,
}

/// Why evidence proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum ForkError {
    /// Too large.
    #[error(
        "the evidence is larger than {FORK_BYTES_MAX} bytes, or a branch has more than {BRANCH_ENTRIES_MAX} entries"
    )]
    TooLarge,
    /// Not this format.
    #[error("this is no evidence of a split history")]
    Malformed(#[source] serde_json::Error),
    /// A claim about another fleet.
    #[error("a claim is about fleet {found}, and the evidence must be about fleet {expected}")]
    OtherFleet {
        /// The claim's.
        found: FleetId,
        /// The one that matters.
        expected: FleetId,
    },
    /// A claim was not signed by whom it names.
    #[error("the claim of entry {seq} is not signed by {by}")]
    Signature {
        /// The claimed place.
        seq: u64,
        /// The key.
        by: NodeId,
    },
    /// An entry that is none.
    #[error("an entry of a branch does not verify")]
    Entry(#[source] VerifyError),
    /// Entries that do not follow each other up to the claimed one.
    #[error("the entries of a branch do not lead to entry {0}, which its claim names")]
    Broken(Head),
    /// One history, as far as this shows.
    #[error("the claims of entries {0} and {1} may lie on one history: nothing here shows otherwise")]
    NoContradiction(Head, Head),
}

impl ForkProof {
    /// The coordinator that told both, if it is one.
    pub fn liar(&self) -> Option<NodeId> {
        (self.claims[0].by == self.claims[1].by).then_some(self.claims[0].by)
    }
}

impl fmt::Display for ForkProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [low, high] = &self.claims;
        if low.by == high.by {
            write!(f, "the coordinator {} signed", low.by.short())?;
        } else {
            write!(f, "the coordinators {} and {} signed", low.by.short(), high.by.short())?;
        }
        write!(f, " for entry {} and for entry {}, which lie on different histories", low.head, high.head)
    }
}

impl ForkEvidence {
    /// Puts evidence together, and judges it.
    ///
    /// # Errors
    /// As [`verify`](Self::verify) says.
    pub fn new(claims: [HeadClaim; 2], branches: [Vec<SignedEntry>; 2]) -> Result<(Self, ForkProof), ForkError> {
        let evidence = Self { format: Format::One, claims, branches };
        let proof = evidence.verify(claims[0].fleet)?;
        Ok((evidence, proof))
    }

    /// Judges the evidence, knowing nothing but the fleet's id. Whether the keys are, or were, coordinators of the fleet is
    /// for the fleet's ledger to say.
    ///
    /// # Errors
    /// [`ForkError`] says why it proves nothing.
    pub fn verify(&self, fleet: FleetId) -> Result<ForkProof, ForkError> {
        for (claim, branch) in self.claims.iter().zip(&self.branches) {
            if claim.fleet != fleet {
                return Err(ForkError::OtherFleet { found: claim.fleet, expected: fleet });
            }
            if !claim.holds() {
                return Err(ForkError::Signature { seq: claim.head.seq, by: claim.by });
            }
            if branch.len() > BRANCH_ENTRIES_MAX {
                return Err(ForkError::TooLarge);
            }
        }
        let (low, high) = if self.claims[0].head.seq <= self.claims[1].head.seq { (0, 1) } else { (1, 0) };
        let claims = [self.claims[low], self.claims[high]];
        let walked = [walk(&self.branches[low], claims[0])?, walk(&self.branches[high], claims[1])?];
        let (lower, higher) = (claims[0].head, claims[1].head);
        let differs = if lower.seq == higher.seq {
            lower.hash != higher.hash
        } else {
            // What the higher branch has in the lower claim's place: the entry itself, or what the next one follows.
            walked[1].iter().find_map(|step| step.at(lower.seq)).is_some_and(|there| there != lower.hash)
        };
        if !differs {
            return Err(ForkError::NoContradiction(lower, higher));
        }
        Ok(ForkProof { claims, by_place: lower.seq })
    }

    /// As a file.
    ///
    /// # Errors
    /// [`ForkError::TooLarge`].
    pub fn to_json(&self) -> Result<String, ForkError> {
        let json = serde_json::to_string(self).map_err(ForkError::Malformed)?;
        if json.len() > FORK_BYTES_MAX { Err(ForkError::TooLarge) } else { Ok(json) }
    }

    /// From a file. Nothing is judged yet.
    ///
    /// # Errors
    /// [`ForkError`].
    pub fn from_json(json: &[u8]) -> Result<Self, ForkError> {
        if json.len() > FORK_BYTES_MAX {
            return Err(ForkError::TooLarge);
        }
        serde_json::from_slice(json).map_err(ForkError::Malformed)
    }
}

/// Where an entry of a branch stands, and what it follows.
struct Step {
    own: Head,
    prev: Option<crate::ids::EntryHash>,
}

impl Step {
    /// The hash of what the branch has at a place, if this entry tells.
    fn at(&self, seq: u64) -> Option<crate::ids::EntryHash> {
        if self.own.seq == seq {
            return Some(self.own.hash);
        }
        self.prev.filter(|_| seq.checked_add(1) == Some(self.own.seq))
    }
}

/// Checks that the entries follow each other and end with the claimed one.
fn walk(branch: &[SignedEntry], claim: HeadClaim) -> Result<Vec<Step>, ForkError> {
    let broken = || ForkError::Broken(claim.head);
    let mut steps: Vec<Step> = Vec::with_capacity(branch.len());
    for signed in branch {
        let verified = signed.clone().verify().map_err(ForkError::Entry)?;
        let Entry { fleet, seq, prev, .. } = *verified.entry();
        if fleet.or_else(|| verified.founds()) != Some(claim.fleet) {
            return Err(broken());
        }
        if let Some(before) = steps.last()
            && (before.own.seq.checked_add(1) != Some(seq) || prev != Some(before.own.hash))
        {
            return Err(broken());
        }
        steps.push(Step { own: Head { seq, hash: verified.hash() }, prev });
    }
    match steps.last() {
        Some(last) if last.own != claim.head => Err(broken()),
        _ => Ok(steps),
    }
}

/// Entries as in an exported ledger: `{"entry": "<base64>", "signature": "<hex>"}`.
mod lines {
    use serde::de::Error as _;
    use serde::{Deserializer, Serializer};

    use super::{Deserialize, Serialize, Signature, SignedEntry};

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Line {
        entry: String,
        signature: Signature,
    }

    pub(super) fn serialize<S: Serializer>(branches: &[Vec<SignedEntry>; 2], to: S) -> Result<S::Ok, S::Error> {
        let line = |e: &SignedEntry| Line { entry: data_encoding::BASE64.encode(&e.bytes), signature: e.signature };
        branches.each_ref().map(|branch| branch.iter().map(line).collect::<Vec<_>>()).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[Vec<SignedEntry>; 2], D::Error> {
        let [one, other] = <[Vec<Line>; 2]>::deserialize(from)?;
        let read = |lines: Vec<Line>| -> Result<Vec<SignedEntry>, D::Error> {
            let entry = |line: Line| {
                let bytes = data_encoding::BASE64.decode(line.entry.as_bytes()).map_err(D::Error::custom)?;
                Ok(SignedEntry { bytes: bytes.into(), signature: line.signature })
            };
            lines.into_iter().map(entry).collect()
        };
        Ok([read(one)?, read(other)?])
    }
}

#[cfg(test)]
mod tests;
