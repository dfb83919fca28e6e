# The parts of nixpkgs' `lib` that Flotilla's modules use, so that their evaluation can be tested where there is no
# nixpkgs. Stricter than the original where it differs; a function that is missing here is an error, not a guess.
let
  lists = import ./lists.nix;
  types = import ./types.nix { inherit lib; };
  modules = import ./modules.nix { inherit lib; };

  lib =
    lists
    // modules.definitions
    // {
      inherit types;
      inherit (modules) evalModules;
      platforms.linux = [
        "x86_64-linux"
        "aarch64-linux"
      ];
    };
in
lib
