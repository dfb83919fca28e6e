//! The crate from outside: what crosses the wire or a disk, processes that die, disks that fill.

mod codecs;
mod exported;
mod fleet;
mod kill;
mod system;
