//! The tests of `flt` as a whole, in one binary.

mod layering;
mod nix_modules;
