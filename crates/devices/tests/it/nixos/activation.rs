//! Switches.
