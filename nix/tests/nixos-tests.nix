# Each file in nixos-tests/ as data: its machines' units and files, and its script.
let
  inherit (import ./evaluation.nix)
    evaluate
    flake
    lib
    show
    ;

  folder = ../../nixos-tests;
  names = lib.filter (lib.hasSuffix ".nix") (lib.attrNames (builtins.readDir folder));

  machine =
    name: module:
    show (evaluate [
      module
      { networking.hostName = name; }
    ]);

  load =
    file:
    let
      test = import (folder + "/${file}") { inherit flake; };
    in
    {
      inherit (test) name testScript;
      nodes = lib.mapAttrs machine test.nodes;
    };
in
lib.listToAttrs (map (file: lib.nameValuePair file (load file)) names)
