//! The coordinator: orders and admits entries, publishes them, keeps what agents report, watches who is alive.
//!
//! It is trusted with nothing but availability. What it admits is decided by the same
//! [`FleetState`](protocols::FleetState) that every agent runs, and it knows the network only through [`Wire`].

mod admission;
mod blobs;
mod claims;
mod control;
mod coordinator;
mod enrollment;
mod gallery;
mod liveness;
mod order;
mod wire;

pub use admission::{CLOCK_SKEW_MAX, admit};
pub use blobs::RETENTION;
pub use coordinator::{Clock, Coordinator, OpenError, Options, Stats};
pub use liveness::{Liveness, ONLINE_FOR};
pub use order::{AppendError, LocalOrder, Order};
pub use wire::{BoxFuture, Wire, WireError};
