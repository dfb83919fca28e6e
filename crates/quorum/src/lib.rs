//! Who orders the ledger and the leases: a coordinator alone, or a group of three or five that agree by Raft.
//!
//! What a request about a lease means is decided by [`failover::LeaseTable`], and which entry may follow which by
//! [`protocols::FleetState`]; here both are put into one order that survives crashes. A leader can order and withhold. It
//! cannot forge: every member checks every entry's signature before it takes it.

// The rig of the tests beside the crate is used by some in it.
#[cfg(test)]
extern crate self as quorum;

mod alone;
mod batch;
mod boottime;
mod call;
mod file;
mod group;
mod log;
mod machine;
mod network;
mod types;
mod views;

pub use alone::Alone;
pub use call::{CALL_BYTES_MAX, Call, GroupCall, GroupMessage, GroupProtocol, ProposeError, Reply, Transport};
pub use group::{Carry, EnterError, Figures, Group, GroupError, Options, Timing, hand_on, handle_alone, read_from};
pub use log::LogError;
pub use machine::Ledger;
pub use types::Unfit;
pub use views::{Ask, Views};

use std::pin::Pin;

/// A boxed future.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
