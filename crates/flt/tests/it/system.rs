//! Tests that make networks and machines of their own: root, one at a time.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod chaos;
mod founded;
mod machines;
mod network;
