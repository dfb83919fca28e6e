//! Scores played on fakes: the law of plans, and the driver through every turn and every crash.

mod driver;
mod fake;
mod law;
mod settle;
