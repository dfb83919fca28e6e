# `nix develop`: what `just verify` and `scripts/test` call.
{ pkgs, ... }:
pkgs.mkShell {
  packages = [
    pkgs.cargo
    pkgs.cargo-deny
    pkgs.cargo-nextest
    pkgs.clippy
    pkgs.just
    pkgs.nixfmt
    pkgs.rust-analyzer
    pkgs.rustc
    pkgs.rustfmt
  ];

  env.RUST_SRC_PATH = "${pkgs.rustPlatform.rustLibSrc}";
}
