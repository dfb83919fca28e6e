//! Every kind of score that there is, without a topology: what an admin needs to read and refuse one.

use protocols::{BlobRef, Kind, SealedText, Subject};

use crate::bond::BondScore;
use crate::files::FilesScore;
use crate::nixos::NixosScore;
use crate::postgres::PostgresScore;
use crate::service::ServiceScore;
use crate::switch::{InterfaceScore, PortChannelScore, PortFenceScore, SnmpScore, VlanScore};
use crate::{Invalid, Score, score};

/// All kinds that this build knows.
pub fn catalogue() -> Catalogue {
    let entries = vec![
        Entry::of::<FilesScore>(),
        Entry::of::<NixosScore>(),
        Entry::of::<ServiceScore>(),
        Entry::of::<PostgresScore>(),
        Entry::of::<PortChannelScore>(),
        Entry::of::<InterfaceScore>(),
        Entry::of::<VlanScore>(),
        Entry::of::<SnmpScore>(),
        Entry::of::<PortFenceScore>(),
        Entry::of::<BondScore>(),
    ];
    Catalogue { entries }
}

/// Kinds of scores, read without a topology.
#[derive(Debug, Clone)]
pub struct Catalogue {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    kind: Kind,
    validate: fn(&str) -> Result<Subject, Invalid>,
    artifacts: fn(&str) -> Result<Vec<BlobRef>, Invalid>,
    secrets: fn(&str) -> Result<Vec<SealedText>, Invalid>,
}

impl Entry {
    fn of<S: Score>() -> Self {
        Self {
            kind: S::KIND,
            validate: |payload| Ok(score::parse::<S>(payload)?.subject()),
            artifacts: |payload| Ok(score::parse::<S>(payload)?.artifacts()),
            secrets: |payload| Ok(score::parse::<S>(payload)?.secrets().into_iter().cloned().collect()),
        }
    }
}

impl Catalogue {
    /// The kinds, in the order in which they are documented.
    pub fn kinds(&self) -> impl Iterator<Item = &Kind> {
        self.entries.iter().map(|entry| &entry.kind)
    }

    /// What a score governs, if it is valid.
    ///
    /// # Errors
    /// When the kind is unknown or the payload is not a valid score of it.
    pub fn validate(&self, kind: &Kind, payload: &str) -> Result<Subject, Invalid> {
        (self.entry(kind)?.validate)(payload)
    }

    /// The blobs that a node needs in order to play it.
    ///
    /// # Errors
    /// When the kind is unknown or the payload is not a valid score of it.
    pub fn artifacts(&self, kind: &Kind, payload: &str) -> Result<Vec<BlobRef>, Invalid> {
        (self.entry(kind)?.artifacts)(payload)
    }

    /// The secrets that a score holds, sealed.
    ///
    /// # Errors
    /// When the kind is unknown or the payload is not a valid score of it.
    pub fn secrets(&self, kind: &Kind, payload: &str) -> Result<Vec<SealedText>, Invalid> {
        (self.entry(kind)?.secrets)(payload)
    }

    fn entry(&self, kind: &Kind) -> Result<&Entry, Invalid> {
        self.entries.iter().find(|entry| entry.kind == *kind).ok_or_else(|| {
            let known: Vec<String> = self.kinds().map(|kind| format!("`{kind}`")).collect();
            Invalid::at("kind", format!("`{kind}` is not a kind of score; there are {}", known.join(", ")))
        })
    }
}
