//! The coordinator: orders and admits entries, publishes them, keeps what agents report, watches who is alive.
//!
//! It is trusted with nothing but availability. What it admits is decided by the same
//! [`FleetState`](protocols::FleetState) that every agent runs, and it knows the network only through [`Wire`].

mod admission;
mod blobs;
mod claims;
mod control;
mod coordinator;
mod declared;
mod enrollment;
mod fellows;
mod gallery;
mod group;
mod heads;
mod heal;
mod hold;
mod leases;
mod liveness;
mod mirror;
mod order;
mod place;
mod submit;
mod wire;

pub use admission::{CLOCK_SKEW_MAX, admit};
pub use blobs::RETENTION;
pub use coordinator::{Clock, Coordinator, OpenError, Options, Stats};
pub use heads::CLAIM_GRACE;
pub use heal::Split;
pub use hold::{FELLOWS_ASKED_FOR, MEMBERS_ASKED_FOR, Seen, clear as clear_hold, mark_restored, seen};
pub use liveness::{Liveness, ONLINE_FOR};
pub use order::{AppendError, Chair, Hold, LocalOrder, Order};
pub use quorum::{CALL_BYTES_MAX, Call, Figures, GroupCall, GroupMessage, GroupProtocol, Reply, Timing, Transport};
pub use wire::{BoxFuture, Wire, WireError};
