//! `nixos/1` on the real thing: real stores of two versions of Nix, real switches, real kills.

mod activation;
mod agent;
mod delivery;
mod interruption;
mod sandbox;
