//! From bytes back to types: which kinds of scores a topology plays, checked by the compiler where they are named.

mod part;

use std::collections::BTreeMap;
use std::fmt;

use protocols::{Kind, Subject, Verdict};

pub(crate) use part::Part;

use crate::{DeviceError, Interpret, Invalid, Topology};

/// The kinds of scores that a topology of type `T` plays.
pub struct Registry<T> {
    parts: BTreeMap<Kind, Box<dyn Part<T>>>,
}

impl<T: Topology> Registry<T> {
    /// Plays nothing yet.
    pub fn new() -> Self {
        Self { parts: BTreeMap::new() }
    }

    /// Plays scores of type `S` too. It compiles only if `T` has the capability that `S` asks for.
    #[must_use]
    pub fn with<S: Interpret<T>>(mut self) -> Self {
        self.parts.insert(S::KIND, Box::new(part::Of::<S>::new()));
        self
    }

    /// The kinds, in order.
    pub fn kinds(&self) -> impl Iterator<Item = &Kind> {
        self.parts.keys()
    }

    pub(crate) fn part(&self, kind: &Kind) -> Option<&dyn Part<T>> {
        self.parts.get(kind).map(AsRef::as_ref)
    }
}

impl<T: Topology> Default for Registry<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Registry<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.parts.keys()).finish()
    }
}

/// Why a score cannot be planned or played at all.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// No topology of this node plays this kind.
    #[error("this node plays no `{kind}` scores; it plays {}", list(known))]
    UnknownKind {
        /// The kind that was asked for.
        kind: Kind,
        /// The kinds that it plays.
        known: Vec<Kind>,
    },
    /// The kind is played here, but not for this subject.
    #[error("this node plays `{kind}` scores, but none of its topologies has the subject `{subject}`")]
    UnknownSubject {
        /// The kind.
        kind: Kind,
        /// The subject that was asked for.
        subject: Subject,
    },
    /// The payload is not a valid score.
    #[error("the `{kind}` score is not valid")]
    Invalid {
        /// The kind.
        kind: Kind,
        /// Where and why.
        #[source]
        source: Invalid,
    },
    /// The score governs something else than its declaration says.
    #[error("the score governs `{found}` and its declaration says `{declared}`")]
    OtherSubject {
        /// What the declaration says.
        declared: Subject,
        /// What the score says.
        found: Subject,
    },
    /// What is there could not be looked at.
    #[error("plan `{subject}`")]
    Plan {
        /// What was to be planned.
        subject: Subject,
        /// Why.
        #[source]
        source: DeviceError,
    },
}

impl PlayError {
    /// What is said of a play that ends so.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Plan { source, .. } if source.is_transient() => Verdict::Failed,
            _ => Verdict::Refused,
        }
    }
}

fn list(kinds: &[Kind]) -> String {
    if kinds.is_empty() {
        return "none".into();
    }
    kinds.iter().map(|kind| format!("`{kind}`")).collect::<Vec<_>>().join(", ")
}
