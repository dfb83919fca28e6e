//! Scores played on fakes: the law of plans, and the driver through every turn and every crash.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

mod driver;
mod fake;
mod fuzz;
mod law;
mod members;

mod recipe;
mod secrets;
mod settle;
mod system;
