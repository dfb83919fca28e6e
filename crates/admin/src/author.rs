//! Signing: what an admin wants done, as the entry that follows the newest one.

use protocols::entry::{Checkpoint, ENTRY_BYTES_MAX, ENTRY_DOMAIN, VerifyError};
use protocols::key::ssh_agent::{SshAgent, SshAgentError};
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
    /// Where the key is that signs, if it is not this one.
    agent: Option<(SshAgent, NodeId)>,
    not_after: Option<Millis>,
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
    /// The agent that holds the key did not sign.
    #[error("the entry is not signed")]
    Agent(#[from] SshAgentError),
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
        Self { key, agent: None, not_after: None }
    }

    /// Signs with a key that an ssh-agent holds. `key` is this device's own: it speaks with the coordinator, for no
    /// connection can be made with a key that never leaves the agent.
    #[must_use]
    pub const fn with_agent(key: SecretKey, agent: SshAgent, holds: NodeId) -> Self {
        Self { key, agent: Some((agent, holds)), not_after: None }
    }

    /// From here on its entries may be appended, and what they declare begun, until this moment.
    pub const fn set_not_after(&mut self, not_after: Option<Millis>) {
        self.not_after = not_after;
    }

    /// Whose entries they are.
    pub fn id(&self) -> NodeId {
        self.agent.as_ref().map_or_else(|| self.key.id(), |(_, holds)| *holds)
    }

    /// Whether the key that signs is held by an ssh-agent.
    pub const fn is_held(&self) -> bool {
        self.agent.is_some()
    }

    /// The key that speaks with the coordinator; it signs too, unless an agent does.
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
            not_after: self.not_after,
            author: self.id(),
            body: intent.body(state),
        };
        let verified = self.signed(&entry)?.verify()?;
        let mut after = state.clone();
        after.apply(&verified)?;
        Ok((verified, after))
    }

    fn signed(&self, entry: &Entry) -> Result<SignedEntry, AuthorError> {
        let Some((agent, holds)) = &self.agent else { return Ok(entry.sign(&self.key)?) };
        let bytes = serde_json::to_vec(entry).map_err(VerifyError::Malformed)?;
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(VerifyError::TooLarge(bytes.len()).into());
        }
        let signature = agent.sign(*holds, ENTRY_DOMAIN, &bytes)?;
        Ok(SignedEntry { bytes: bytes.into(), signature })
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
