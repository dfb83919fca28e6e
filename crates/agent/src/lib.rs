//! The agent: verifies what it is told, plays it on its own topologies, reports.
//!
//! It believes nobody but the ledger that it verified itself. It knows the network only through [`Uplink`] and what it can
//! do only through [`Hands`].

mod agent;
mod beats;
mod conductor;
mod decide;
mod devices;
pub mod failover;
mod fetcher;
mod gossip;
pub mod hands;
mod node;
mod reports;
mod stage;
mod sync;
mod uplink;
mod witness;

pub use agent::{Agent, Clock, OpenError, Options, Stats};
pub use decide::{Decision, Played, assignment, decide, held, is_too_late};
pub use fetcher::Fetcher;
pub use gossip::heads_topic;
pub use hands::{AskedCustodian, Beside, FarHands, Hands, Keeper, KeeperOptions, Link, LinkedChecks};
pub use reports::Facts;
pub use uplink::{BoxFuture, Uplink, UplinkError};
pub use witness::{Resolution, ResolveError, Resolved, evidence, resolve};
