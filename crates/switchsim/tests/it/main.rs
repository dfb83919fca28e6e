//! The simulator, spoken to from outside.

mod system;
