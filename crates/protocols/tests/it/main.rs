//! The crate from outside: what crosses the wire or a disk, processes that die, disks that fill.

#![allow(clippy::unwrap_used, reason = "a test stops at the first error, also in what it is made of")]

mod codecs;
mod exported;
mod fleet;
mod kill;
mod system;
