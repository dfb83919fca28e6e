//! Signing: what an admin wants done, as the entry that follows the newest one.

use protocols::entry::{Checkpoint, VerifyError};
use protocols::{Body, Entry, FleetState, Millis, NodeId, Refusal, SecretKey, SignedEntry, VerifiedEntry};

/// What an admin wants entered into the ledger.
#[expect(clippy::large_enum_variant, reason = "few of them exist at a time, and nearly all are the large one")]
#[derive(Debug, Clone, PartialEq)]
pub enum Intent {
    /// This body.
    Enter(Body),
    /// A checkpoint of whatever the state is then.
    Checkpoint,
}

/// Signs entries with an admin's key.
#[derive(Debug, Clone)]
pub struct Author {
    key: SecretKey,
}

/// Why no entry was signed.
#[derive(Debug, thiserror::Error)]
pub enum AuthorError {
    /// Every replica of the fleet would refuse it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It is no entry, because it is too large.
    #[error("cannot write the entry")]
    Unwritable(#[from] VerifyError),
}

impl Intent {
    /// The body, where `state` is what it follows.
    pub fn body(&self, state: &FleetState) -> Body {
        match self {
            Self::Enter(body) => body.clone(),
            Self::Checkpoint => Body::Checkpoint(Checkpoint { state: state.digest() }),
        }
    }
}

impl Author {
    /// Signs with this key.
    pub const fn new(key: SecretKey) -> Self {
        Self { key }
    }

    /// Whose entries they are.
    pub fn id(&self) -> NodeId {
        self.key.id()
    }

    /// The key.
    pub const fn key(&self) -> &SecretKey {
        &self.key
    }

    /// Signs the entry that follows `state`, and gives the state after it. What would be refused is not signed.
    ///
    /// # Errors
    /// [`AuthorError::Refused`] with the refusal that every replica would give.
    pub fn sign(
        &self,
        state: &FleetState,
        intent: &Intent,
        now: Millis,
    ) -> Result<(VerifiedEntry, FleetState), AuthorError> {
        let head = state.head();
        let entry = Entry {
            fleet: Some(state.fleet()),
            seq: head.seq.saturating_add(1),
            prev: Some(head.hash),
            // The ledger's time never runs backwards; an entry dated before it would only look odd.
            at: now,
            not_after: None,
            author: self.key.id(),
            body: intent.body(state),
        };
        let signed: SignedEntry = entry.sign(&self.key)?;
        let verified = signed.verify()?;
        let mut after = state.clone();
        after.apply(&verified)?;
        Ok((verified, after))
    }

    /// Tries entries one after the other without submitting any: what the fleet would say to them.
    ///
    /// # Errors
    /// The place of the first that would be refused, and why.
    pub fn rehearse(
        &self,
        state: &FleetState,
        intents: &[Intent],
        now: Millis,
    ) -> Result<FleetState, (usize, AuthorError)> {
        let mut state = state.clone();
        for (i, intent) in intents.iter().enumerate() {
            state = self.sign(&state, intent, now).map_err(|error| (i, error))?.1;
        }
        Ok(state)
    }
}
