# The options of NixOS that our modules define or read, with the names and types that NixOS gives them
# (nixos/modules/system/boot/systemd.nix, nixos/modules/system/boot/networkd.nix, nixos/lib/systemd-unit-options.nix,
# nixos/modules/services/networking/firewall.nix).
# Nothing else exists here, so a module that touches more fails until it is added.
{ lib, ... }:
let
  inherit (lib) mkOption types;
  option = type: default: mkOption { inherit type default; };

  value = types.oneOf [
    types.bool
    types.int
    types.float
    types.str
    types.path
    types.package
  ];
  unitOption = types.nullOr (types.either value (types.listOf value));

  service = types.submodule {
    options = {
      description = option types.singleLineStr "";
      wantedBy = option (types.listOf types.str) [ ];
      requiredBy = option (types.listOf types.str) [ ];
      after = option (types.listOf types.str) [ ];
      before = option (types.listOf types.str) [ ];
      wants = option (types.listOf types.str) [ ];
      requires = option (types.listOf types.str) [ ];
      path = option (types.listOf (types.either types.package types.str)) [ ];
      environment = option (types.attrsOf (
        types.nullOr (
          types.oneOf [
            types.str
            types.path
            types.package
          ]
        )
      )) { };
      restartIfChanged = option types.bool true;
      stopIfChanged = option types.bool true;
      restartTriggers = option (types.listOf types.unspecified) [ ];
      unitConfig = option (types.attrsOf unitOption) { };
      serviceConfig = option (types.attrsOf unitOption) { };
      script = option types.lines "";
    };
  };

  user = types.submodule {
    options = {
      isSystemUser = option types.bool false;
      group = option types.str "";
      description = option types.str "";
    };
  };

  etcFile = types.submodule {
    options = {
      source = mkOption { type = types.path; };
      mode = option types.str "symlink";
    };
  };
in
{
  options = {
    assertions = option (types.listOf types.unspecified) [ ];
    warnings = option (types.listOf types.str) [ ];
    environment.etc = option (types.attrsOf etcFile) { };
    environment.systemPackages = option (types.listOf types.package) [ ];
    networking.hostName = option types.str "nixos";
    networking.firewall.allowedTCPPorts = option (types.listOf types.port) [ ];
    networking.firewall.allowedUDPPorts = option (types.listOf types.port) [ ];
    nix.package = mkOption { type = types.package; };
    systemd.package = mkOption { type = types.package; };
    systemd.network.enable = option types.bool false;
    systemd.services = option (types.attrsOf service) { };
    users.users = option (types.attrsOf user) { };
    users.groups = option (types.attrsOf (types.submodule { options = { }; })) { };
    virtualisation.vlans = option (types.listOf types.int) [ 1 ];
    virtualisation.memorySize = option types.int 1024;
  };
}
