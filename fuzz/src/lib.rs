//! What the fuzz targets feed, and where they begin.
#![allow(clippy::unwrap_used, reason = "a broken promise of the code under test shall end the run")]

pub mod bodies;
pub mod group;
pub mod seeds;
