//! Several coordinators, as processes: followed, killed, appointed, moved, retired; and ledgers that come back from backups
//! and from the copies of others.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod artifacts;
mod claims;
mod comeback;
mod forked;
mod group;
mod moves;
mod pair;
mod succession;
