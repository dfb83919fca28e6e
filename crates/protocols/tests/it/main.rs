//! The crate from outside: what crosses the wire or a disk, processes that die, disks that fill.

#![allow(clippy::unwrap_used, reason = "a test stops at the first error, also in what it is made of")]
#![allow(clippy::disallowed_methods, reason = "tests start themselves again, told what to do by the environment")]

mod codecs;
mod exported;
mod fleet;
mod kill;
mod system;
