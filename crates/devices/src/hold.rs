//! The supervisor of a workload with one writer: a process outside the agent that holds all processes of the workload, and
//! ends them at an instant, whatever becomes of the agent.
//!
//! The agent's side is [`HoldClient`]; the supervisor is [`supervise`], run by `flt agent hold`; and around each program
//! that it starts stands [`inside()`], run by `flt agent hold-inside`, which ends that program when the supervisor is gone.
//! As root the main program runs in a PID namespace of its own, so the kernel ends all of it at once. Without, the
//! supervisor adopts what its programs leave behind, and looks for what carries its mark, until nothing is left.

mod client;
mod inside;
mod proc;
mod secrets;
mod server;
mod service;
mod socket;
mod state;
mod unit;
mod wire;

use failover::LocalTime;
use rustix::time::{ClockId, clock_gettime};

pub use client::{HoldClient, HoldClientParts};
pub use inside::{InsideParts, inside};
pub use server::{HoldError, HoldParts, supervise};
pub use service::{OpenServices, unit_of};

/// This machine's clock, which goes on while it sleeps, and is set by nobody.
pub fn now() -> LocalTime {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    LocalTime::from_micros(seconds.saturating_mul(1_000_000).saturating_add(nanos / 1_000))
}

/// The variable in the environment by which processes of a hold are known; its value is the path of the hold's socket
/// and the folder that this is in.
pub const MARK: &str = "FLT_HOLD";
