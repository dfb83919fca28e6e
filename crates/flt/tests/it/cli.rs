//! `flt` as a person meets it: what it prints, where, and how it ends.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod configuration;
mod keys;
mod surface;
