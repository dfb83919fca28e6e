//! What a stranger may say to a coordinator: redeem an invite, or show the recovery keys' word; nothing else.

use irpc::channel::oneshot;
use irpc::rpc_requests;
use serde::{Deserialize, Serialize};

use crate::entry::{Head, Redeem, SignedEntry};
use crate::state::Refusal;

/// Requests of a node that is not a member yet.
#[rpc_requests(message = EnrollmentMessage)]
#[derive(Debug, Serialize, Deserialize)]
pub enum Enrollment {
    /// Redeems an invite. Asking again with the same key and name, after an answer that got lost, is answered alike.
    #[rpc(tx = oneshot::Sender<Result<Enrolled, EnrollError>>)]
    #[wrap(RedeemInvite)]
    Redeem(Redeem),
    /// Asks to append an entry that the recovery keys approved: its author's key has no rights yet. Nothing else than a
    /// [`Recover`](crate::entry::Recover) is taken. Asking again with an entry that is there is answered alike.
    #[rpc(tx = oneshot::Sender<Result<Enrolled, EnrollError>>)]
    #[wrap(SubmitRecovery)]
    Recover(SignedEntry),
}

/// The node is a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// The ledger's newest entry, which holds the enrolment or comes after it.
    pub head: Head,
}

/// Why a node was not enrolled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum EnrollError {
    /// The ledger's rules say no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The caller's key is not the one in the request.
    #[error("the request is for another key than the caller's")]
    NotYourKey,
    /// Too many requests.
    #[error("too many enrolments at once; try again in a moment")]
    Busy,
    /// The coordinator could not write it down.
    #[error("the coordinator could not store the enrolment: {0}")]
    Storage(String),
    /// The entry does not follow the newest one: sign it again after this one.
    #[error("the entry does not follow the newest one, which is {head}")]
    StaleHead {
        /// The newest entry.
        head: Head,
    },
    /// The entry does not verify, or is not one that a stranger may hand in.
    #[error("the entry is not taken: {0}")]
    Unverified(String),
    /// Who orders the ledger cannot be reached, or holds back.
    #[error("no entry can be appended now: {0}")]
    Unavailable(String),
}
