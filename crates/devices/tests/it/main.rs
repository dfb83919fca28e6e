//! The topologies and checks on a real host: real files, real processes, real sockets.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

mod checks;
mod crash;
mod facts;
mod files;
mod network;
mod nixos;
mod node;
mod postgres;
mod secrets;
