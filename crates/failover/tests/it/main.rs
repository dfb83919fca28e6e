//! The verification of the failover protocol: a simulator, a model, invariants, and faults that both must catch.

#![allow(clippy::disallowed_methods, reason = "tests measure how long they take")]

mod custody;
mod invariants;
mod model;
mod mutations;
mod requests;
mod scenarios;
mod sim;
mod simulate;
