{
  description = "Flotilla: runs a fleet of machines, switches and clusters from signed declarations, peer to peer";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
    crane.url = "github:ipetkov/crane";
    blueprint.url = "github:numtide/blueprint";
    blueprint.inputs.nixpkgs.follows = "nixpkgs";
  };

  # Every output is a file under nix/: packages/, checks/, modules/nixos/, devshell.nix, formatter.nix.
  outputs =
    inputs:
    inputs.blueprint {
      inherit inputs;
      prefix = "nix";
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
    };
}
