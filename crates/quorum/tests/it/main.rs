//! Members of a group in one process, with real logs on disk, and a network that loses, delays and cuts.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod change;
mod faults;
mod fuzz;
mod rig;
