//! The topologies and checks on a real host: real files, real processes, real sockets.

mod checks;
mod crash;
mod facts;
mod files;
mod nixos;
mod node;
