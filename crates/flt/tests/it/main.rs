//! The tests of `flt` as a whole, in one binary.

mod cli;
mod dev;
mod fleet;
mod layering;
mod nix_modules;
mod processes;
mod system;
