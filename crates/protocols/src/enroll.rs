//! What a stranger may say to a coordinator: redeem an invite, and nothing else.

use irpc::channel::oneshot;
use irpc::rpc_requests;
use serde::{Deserialize, Serialize};

use crate::entry::{Head, Redeem};
use crate::state::Refusal;

/// Requests of a node that is not a member yet.
#[rpc_requests(message = EnrollmentMessage)]
#[derive(Debug, Serialize, Deserialize)]
pub enum Enrollment {
    /// Redeems an invite. Asking again with the same key and name, after an answer that got lost, is answered alike.
    #[rpc(tx = oneshot::Sender<Result<Enrolled, EnrollError>>)]
    #[wrap(RedeemInvite)]
    Redeem(Redeem),
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
}
