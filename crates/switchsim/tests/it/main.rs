//! The simulator, spoken to from outside.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod system;
