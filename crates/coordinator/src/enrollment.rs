//! Redeeming invites, and what else a stranger may ask.

use std::sync::Arc;

use protocols::NodeId;
use protocols::control::SubmitError;
use protocols::enroll::{EnrollError, Enrolled, EnrollmentMessage};
use protocols::entry::{Body, Entry, Redeem, Role};

use crate::coordinator::Coordinator;
use crate::order::AppendError;

/// How often a redemption is signed anew because another entry came first.
const TRIES: usize = 32;

impl Coordinator {
    /// Answers a request on the enrolment protocol.
    pub async fn enrollment(self: Arc<Self>, caller: NodeId, message: EnrollmentMessage) {
        match message {
            EnrollmentMessage::Redeem(request) => {
                let answer = self.redeem(caller, &request.inner.0).await;
                match &answer {
                    Ok(_) => tracing::info!(node = %caller, name = %request.inner.0.name, "enrolled"),
                    Err(error) => tracing::warn!(node = %caller, %error, "enrolment refused"),
                }
                // The caller may have hung up; the enrolment stands.
                let _gone = request.tx.send(answer).await;
            }
            EnrollmentMessage::Recover(request) => {
                let answer = self.recover(request.inner.0).await;
                match &answer {
                    Ok(enrolled) => tracing::warn!(node = %caller, head = %enrolled.head, "recovered"),
                    Err(error) => tracing::warn!(node = %caller, %error, "recovery refused"),
                }
                let _gone = request.tx.send(answer).await;
            }
        }
    }

    async fn redeem(&self, caller: NodeId, redeem: &Redeem) -> Result<Enrolled, EnrollError> {
        if caller != redeem.key {
            return Err(EnrollError::NotYourKey);
        }
        let _permit = self.enrolments.try_acquire().map_err(|_| EnrollError::Busy)?;
        for _ in 0..TRIES {
            let state = self.state();
            let already = state
                .members()
                .get(&redeem.key)
                .is_some_and(|m| m.role == Role::Agent && m.invite == Some(redeem.invite) && m.name == redeem.name);
            if already && redeem.verifies(state.fleet()) {
                return Ok(Enrolled { head: state.head() });
            }
            let now = (self.clock)();
            state.redeemable(redeem, now)?;
            let head = state.head();
            let entry = Entry {
                fleet: Some(state.fleet()),
                seq: head.seq + 1,
                prev: Some(head.hash),
                at: now.max(state.time()),
                not_after: None,
                author: self.key.id(),
                body: Body::Redeem(redeem.clone()),
            };
            let signed = entry.sign(&self.key).map_err(|e| EnrollError::Storage(e.to_string()))?;
            match self.order.append(signed).await {
                Ok(head) => return Ok(Enrolled { head }),
                Err(AppendError::Stale(_)) => {}
                Err(AppendError::Refused(refusal)) => return Err(refusal.into()),
                Err(AppendError::Unverified(why) | AppendError::Storage(why)) => return Err(EnrollError::Storage(why)),
                Err(AppendError::Rejected(SubmitError::Refused(refusal))) => return Err(refusal.into()),
                Err(AppendError::Rejected(other)) => return Err(EnrollError::Unavailable(other.to_string())),
            }
        }
        Err(EnrollError::Busy)
    }
}
