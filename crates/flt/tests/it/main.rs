//! The tests of `flt` as a whole, in one binary.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod attacks;
mod authority;
mod cli;
mod coordinators;
mod dev;
mod failover;
mod fleet;
mod hands;
mod layering;
mod lifecycle;
mod nix_modules;
mod processes;
mod secrets;
mod system;
mod verifier;
