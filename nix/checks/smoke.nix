# `nix flake check` runs nixos-tests/smoke.nix in virtual machines.
{ pkgs, flake, ... }:
pkgs.testers.runNixOSTest (import ../../nixos-tests/smoke.nix { inherit flake; })
