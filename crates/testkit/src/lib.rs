//! Makes what tests need and a unit test cannot have: processes that can be killed, networks with NATs and
//! losses, machines that boot and lose power, and a clock that is set by hand.
//!
//! Everything made here disappears with the value that stands for it, also when the test panics, and also when
//! the test process itself is killed ([`Undo`]). Everything panics where it cannot do what was asked: a test bed
//! that is broken must fail loudly. A test that needs root or tools begins with [`require`]:
//!
//! ```no_run
//! # fn some_test() {
//! if !testkit::require("two_nats_are_crossed", testkit::NETWORK) {
//!     return;
//! }
//! let nats = testkit::TwoNats::new(testkit::Nat::PortPreserving);
//! # }
//! ```
#![warn(missing_docs)]

mod clock;
pub mod closure;
mod command;
mod gate;
mod machine;
mod net;
mod probe;
mod proc;
mod rootfs;
mod undo;
mod wait;

pub use clock::VirtualClock;
pub use gate::{MACHINES, NETWORK, require};
pub use machine::{Machine, MachineSpec};
pub use net::{Lan, Namespace, Nat, Port, Quality, Side, TwoNats};
pub use probe::probe;
pub use proc::{Mark, Output, Proc, Program, flt_binary, free_port};
pub use rootfs::rootfs;
pub use undo::Undo;
pub use wait::{DEADLINE, Probe, until, until_async};
