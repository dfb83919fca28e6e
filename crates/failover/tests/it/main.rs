//! The verification of the failover protocol: a simulator, a model, invariants, and faults that both must catch.

mod invariants;
mod model;
mod mutations;
mod scenarios;
mod sim;
mod simulate;
