//! Switches, against simulated ones behind a real SSH server.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

mod bed;
mod login;
mod play;
mod session;
