//! One file for each command: its arguments, whose doc comments are the help, and what it does.

pub(crate) mod admin;
pub(crate) mod agent;
pub(crate) mod config;
pub(crate) mod coordinator;
pub(crate) mod doctor;
pub(crate) mod key;
pub(crate) mod reference;
