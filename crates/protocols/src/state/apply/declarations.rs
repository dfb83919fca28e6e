//! What is declared: publications and their end.

use std::sync::Arc;

use super::check_note;
use crate::entry::body::{ARTIFACTS_MAX, PAYLOAD_BYTES_MAX};
use crate::entry::{Entry, Publish, Withdraw};
use crate::state::{Declaration, FleetState, Refusal};

/// The most declarations in force at once.
const DECLARATIONS_MAX: usize = 10_000;

impl FleetState {
    pub(super) fn publish(&mut self, entry: &Entry, publish: &Publish) -> Result<(), Refusal> {
        publish.policy.check().map_err(|e| Refusal::invalid(format!("`{}`:", publish.name), e.to_string()))?;
        check_note("note", publish.note.as_deref())?;
        if publish.payload.get().len() > PAYLOAD_BYTES_MAX {
            return Err(Refusal::invalid("payload", format!("has more than {PAYLOAD_BYTES_MAX} bytes")));
        }
        if publish.artifacts.len() > ARTIFACTS_MAX {
            return Err(Refusal::invalid("artifacts", format!("number more than {ARTIFACTS_MAX}")));
        }
        let within = self
            .may_publish(entry.author, &publish.kind, &publish.on, entry.at)
            .map_err(|what| self.not_allowed(entry.author, what))?;
        if let Some(old) = self.declarations.get(&publish.name) {
            if !self.may_replace(entry.author, old, entry.at) {
                return Err(self.not_allowed(entry.author, format!("replace `{}`", publish.name)));
            }
        } else if self.declarations.len() >= DECLARATIONS_MAX {
            return Err(Refusal::invalid("publish", format!("exceeds {DECLARATIONS_MAX} declarations in force")));
        }
        // The newest of one subject stands before the others, also before those of kinds its author has no right to.
        let others = self.declarations.values().filter(|d| d.subject == publish.subject && d.kind != publish.kind);
        for other in others.filter(|d| d.name != publish.name) {
            if !self.may_publish_kind(entry.author, &other.kind, entry.at) {
                let what = format!("take the subject `{}` from `{}`", other.subject, other.name);
                return Err(self.not_allowed(entry.author, what));
            }
        }
        let declaration = Declaration {
            name: publish.name.clone(),
            generation: entry.seq,
            on: publish.on.clone(),
            within,
            kind: publish.kind.clone(),
            subject: publish.subject.clone(),
            policy: publish.policy.clone(),
            payload: publish.payload.clone(),
            artifacts: publish.artifacts.clone(),
            author: entry.author,
            at: entry.at,
            note: publish.note.clone(),
            not_after: entry.not_after,
        };
        self.declarations.insert(publish.name.clone(), Arc::new(declaration));
        Ok(())
    }

    pub(super) fn withdraw(&mut self, entry: &Entry, withdraw: &Withdraw) -> Result<(), Refusal> {
        let Some(old) = self.declarations.get(&withdraw.name) else {
            return Err(Refusal::NoSuchDeclaration(withdraw.name.clone()));
        };
        if !self.may_replace(entry.author, old, entry.at) {
            return Err(self.not_allowed(entry.author, format!("withdraw `{}`", withdraw.name)));
        }
        self.declarations.remove(&withdraw.name);
        Ok(())
    }
}
