//! An agent in two processes: one with a network and no rights, one with root's rights and no network.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod bed;
mod blobs;
mod devices;
mod late;
mod liar;
mod paper;
mod rotation;
mod secrets;
mod split;
