# `nix fmt`: the Nix files; `cargo fmt` does the Rust ones.
{ pkgs, ... }: pkgs.nixfmt-tree
