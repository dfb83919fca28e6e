//! Tests that need a whole machine or store each: real stores of two versions of Nix, real switches, real kills, real power
//! cuts.

mod activation;
mod agent;
mod delivery;
mod interruption;
mod machine;
mod sandbox;
