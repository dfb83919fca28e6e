//! Who may write: the lease table of the coordinators' group, and the state machine of a node that holds or wants a lease.
//!
//! Everything here is pure. Time is an argument, nothing waits, nothing opens a file or a connection:
//!
//! * [`LeaseTable::apply`] is what the group agrees on. It is deterministic, so every member that applies the same
//!   entries holds the same table, and a snapshot is the table itself.
//! * [`Node::handle`] is told what happened and when; [`Node::poll_command`] says what to do about it;
//!   [`Node::next_deadline`] says when it must be told the time at the latest.
//! * [`LogClock`] is how the group's leader measures time without ever running fast.
//! * [`FlightRecorder`] keeps the last heartbeats and what they led to, and draws them.
//!
//! `docs/failover.md` explains the protocol; `tests/it/` holds the model, the simulator and one file for each invariant.

pub mod clock;
pub mod flight;
pub mod ids;
#[doc(hidden)]
pub mod mutation;
pub mod node;
pub mod settings;
pub mod table;
pub mod time;

pub use clock::{LogClock, Stamp};
pub use flight::{FlightEvent, FlightRecorder, Happening, Verdict};
pub use ids::{Attempt, ClusterName, Epoch, NodeId, Position, Round};
pub use node::{Alarm, Command, Durable, Event, FenceProof, Node, Stand};
pub use settings::{FailoverStrategy, Settings, SettingsError, Surroundings, Workload};
pub use table::{Answer, Author, Custody, Entry, LeaseTable, Outcome, Phase, Refusal, Request, SyncSet, View};
pub use time::{LocalTime, LogTime, Span};
