# Evaluates Flotilla's modules with the small library beside this file, and shows what came of it as plain data.
let
  lib = import ./minilib;

  # Stands for a package or a generated file: has a path, is not built.
  fake =
    name: extra:
    extra
    // {
      inherit name;
      type = "derivation";
      outPath = "/nix/store/00000000000000000000000000000000-${name}";
      meta.mainProgram = name;
    };

  platform = {
    system = "x86_64-linux";
    canExecute = other: other.system == "x86_64-linux";
  };
  pkgs = {
    inherit lib;
    stdenv.hostPlatform = platform;
    stdenv.buildPlatform = platform;
    formats.toml = _: {
      type = lib.types.attrsOf tomlValue;
      generate = name: value: fake "${name}.unchecked" { inherit value; };
    };
    runCommandLocal =
      name: _: command:
      fake name { inherit command; };
  };

  tomlValue =
    let
      inherit (lib.types)
        attrsOf
        bool
        either
        float
        int
        listOf
        oneOf
        path
        str
        ;
      scalar = oneOf [
        bool
        int
        float
        str
        path
      ];
    in
    either scalar (either (listOf lib.types.anything) (attrsOf lib.types.anything));

  flake = {
    packages.x86_64-linux.flt = fake "flt" { };
    nixosModules = lib.genAttrs [
      "admin"
      "agent"
      "coordinator"
    ] (name: import (../modules/nixos + "/${name}.nix") { inherit flake; });
  };

  machine = {
    nix.package = fake "nix" { };
    systemd.package = fake "systemd" { };
  };

  evaluate =
    modules:
    (lib.evalModules {
      specialArgs = { inherit pkgs; };
      modules = [
        ./nixos-options.nix
        machine
      ]
      ++ modules;
    }).config;

  failedAssertions =
    config:
    map (assertion: assertion.message) (lib.filter (assertion: !assertion.assertion) config.assertions);

  # A service as the lines of its unit file, so that golden files read as what systemd reads.
  unitFile =
    service:
    let
      text = value: if builtins.isBool value then lib.boolToString value else toString value;
      line =
        name: value: if value == null then [ ] else map (one: "${name}=${text one}") (lib.toList value);
      section = name: lines: [ "[${name}]" ] ++ lines;
      lines = set: lib.concatLists (lib.mapAttrsToList line set);
      exec = lib.optional (service.script != "") "ExecStart=(script)";
    in
    section "Unit" (
      line "Description" service.description
      ++ line "After" service.after
      ++ line "Wants" service.wants
      ++ line "Requires" service.requires
      ++ lines service.unitConfig
      ++ lib.optional (!service.restartIfChanged) "X-RestartIfChanged=false"
      ++ lib.optional (!service.stopIfChanged) "X-StopIfChanged=false"
    )
    ++ section "Service" (
      lib.mapAttrsToList (name: value: "Environment=\"${name}=${toString value}\"") service.environment
      ++ lines service.serviceConfig
      ++ exec
    )
    ++ section "Install" (line "WantedBy" service.wantedBy);

  # What the golden files hold of a machine.
  show = config: {
    units = lib.mapAttrs' (
      name: service: lib.nameValuePair "${name}.service" (unitFile service)
    ) config.systemd.services;
    paths = lib.mapAttrs (_: service: map toString service.path) config.systemd.services;
    scripts = lib.filterAttrs (_: script: script != "") (
      lib.mapAttrs (_: service: service.script) config.systemd.services
    );
    etc = lib.mapAttrs (_: file: {
      path = toString file.source;
      value = file.source.value or null;
      command = file.source.command or null;
    }) config.environment.etc;
    firewall = config.networking.firewall;
    users = config.users.users;
    packages = map toString config.environment.systemPackages;
    settings = lib.mapAttrs (
      _: role: lib.filterAttrsRecursive (_: value: value != null) role.settings
    ) (lib.filterAttrs (_: role: role.enable) (config.services.flotilla or { }));
    assertions = failedAssertions config;
  };

  roles = builtins.attrValues flake.nixosModules;
in
{
  inherit
    evaluate
    failedAssertions
    fake
    flake
    lib
    pkgs
    show
    unitFile
    ;

  # A machine with all three modules and this configuration.
  machineWith = configuration: show (evaluate (roles ++ [ configuration ]));
  configOf = configuration: evaluate (roles ++ [ configuration ]);
}
