//! The line between the halves of an agent on which leases are spoken of: a connection of its own, so that no blob and no
//! slow disk stands between a holder and the answer that its lease rests on.
//!
//! Drivers run with root: their state machines, their clock, and the supervisors that they arm. The network half carries
//! what they ask to the coordinators and to other candidates. It is not believed: an answer about a lease is signed by a
//! coordinator of the verified ledger for exactly this request, a promise by the candidate that gives it. What does not
//! hold is no answer.

mod carried;
mod porter;
mod wire;

pub(super) use carried::{Carried, FarCarrier};
pub(super) use porter::Porter;
pub(super) use wire::PROTOCOL;

#[cfg(test)]
mod tests;
