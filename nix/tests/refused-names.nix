builtins.attrNames (import ./refused.nix)
