//! Switches, against simulated ones behind a real SSH server.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

mod bed;
mod bond;
mod faults;
mod group;
mod login;
mod lost;
mod netconf;
mod play;
mod session;
