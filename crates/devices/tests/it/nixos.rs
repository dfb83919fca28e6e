//! `nixos/1` on the real thing.

mod system;
