//! A fleet of real processes on loopback, used as a person would use it.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

pub(crate) mod bed;
pub(crate) mod bonds;
mod custody;
mod interruptions;
mod messages;
mod racks;
mod story;
mod switches;
mod system;
