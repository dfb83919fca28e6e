# What the coordinator's, the agent's and the admin's module have in common.
{
  lib,
  pkgs,
  flake,
}:
let
  toml = pkgs.formats.toml { };
  inherit (lib) mkOption types;

  portOf = address: lib.toInt (lib.last (lib.splitString ":" address));

  # TOML has no null: an option that is not set is a key that is not written.
  withoutNulls = lib.filterAttrsRecursive (_: value: value != null);
in
rec {
  inherit portOf withoutNulls;

  socketAddress =
    types.addCheck (types.strMatching "(\\[[0-9a-fA-F:.%]+]|[0-9.]+):[0-9]{1,5}") (
      address: portOf address <= 65535
    )
    // {
      description = "socket address with a port up to 65535, such as 0.0.0.0:4433 or [::]:4433";
    };

  portsOf = addresses: map portOf addresses;

  # `null` leaves the key out, and `flt` takes its own default.
  optionalKey =
    type: description:
    mkOption {
      type = types.nullOr type;
      default = null;
      inherit description;
    };

  package = mkOption {
    type = types.package;
    default = flake.packages.${pkgs.stdenv.hostPlatform.system}.flt;
    defaultText = lib.literalExpression "flotilla.packages.\${system}.flt";
    description = "The package that holds `flt`.";
  };

  checkConfig = mkOption {
    type = types.bool;
    default = pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform;
    defaultText = lib.literalExpression "pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform";
    description = ''
      Whether to let `flt` check its configuration while the system is built, so that a mistake fails the
      build and not the machine. Files named in it are not read, because they are not there at build time.
    '';
  };

  openFirewall =
    what:
    mkOption {
      type = types.bool;
      default = false;
      description = "Whether to open ${what} in the firewall.";
    };

  secretFile =
    description:
    mkOption {
      type = types.nullOr types.path;
      default = null;
      description = "${description} systemd hands it to the daemon as a credential; it may stay readable to root alone.";
    };

  settings =
    options: description:
    mkOption {
      type = types.submodule {
        freeformType = toml.type;
        inherit options;
      };
      default = { };
      inherit description;
    };

  logLevel = optionalKey types.str "What to log, as a filter such as `info` or `info,mesh=debug`.";

  configFile =
    {
      role,
      cfg,
    }:
    let
      written = toml.generate "${role}.toml" (withoutNulls cfg.settings);
    in
    if cfg.checkConfig then
      pkgs.runCommandLocal "${role}.toml" { } ''
        ${lib.getExe cfg.package} ${role} check-config --config ${written}
        cp ${written} $out
      ''
    else
      written;

  # Where systemd puts the credential `name` of `unit`; `%d` would not be understood in a TOML file.
  credential = unit: name: "/run/credentials/${unit}.service/${name}";

  # A secret given by option is the file that the daemon reads, unless the settings name another one too.
  fromCredential =
    unit: name: file:
    lib.mkIf (file != null) (lib.mkDefault (credential unit name));

  loadCredentials =
    files:
    lib.mapAttrsToList (name: file: "${name}:${toString file}") (
      lib.filterAttrs (_: file: file != null) files
    );

  inStore = file: lib.hasPrefix "${builtins.storeDir}/" (toString file);

  # One assertion for each way in which a secret can be given wrongly.
  secretAssertions =
    {
      prefix,
      unit,
      secrets,
    }:
    lib.concatLists (
      lib.mapAttrsToList (
        name:
        {
          option,
          file,
          key,
          value,
        }:
        [
          {
            assertion = file == null || !inStore file;
            message = "${prefix}.${option} is in the Nix store, where everybody can read it: name a path on the machine as a string, for example \"/etc/flotilla/${name}\".";
          }
          {
            assertion = file == null || value == credential unit name;
            message = "${prefix}: set ${option} or settings.${key}, not both.";
          }
          {
            assertion = file != null || value == null || !inStore value;
            message = "${prefix}.settings.${key} is in the Nix store, where everybody can read it: name a path on the machine.";
          }
        ]
      ) secrets
    );

  # What both daemons' units have in common.
  daemon = {
    wantedBy = [ "multi-user.target" ];
    after = [ "network-online.target" ];
    wants = [ "network-online.target" ];
    # A daemon that gives up is a machine that nobody reaches: try for ever, at first after RestartSec, in the end
    # every RestartMaxDelaySec.
    unitConfig.StartLimitIntervalSec = 0;
  };

  daemonConfig = {
    Type = "notify";
    NotifyAccess = "main";
    Restart = "always";
    RestartSec = "2s";
    RestartSteps = 6;
    RestartMaxDelaySec = "60s";
    # The daemon says WATCHDOG=1 at least twice in this time.
    WatchdogSec = "60s";
    TimeoutStopSec = "30s";
    # SIGTERM to the daemon alone, which stops its own children; what is left after TimeoutStopSec is killed.
    KillMode = "mixed";
    # Keys are in memory.
    LimitCORE = 0;
    LimitNOFILE = 65536;
    UMask = "0077";
    StateDirectoryMode = "0700";
    LockPersonality = true;
    NoNewPrivileges = true;
    RestrictRealtime = true;
  };

  # Of a daemon that talks to the network and writes to its own folder, and needs nothing else of the machine.
  secluded = {
    DevicePolicy = "closed";
    MemoryDenyWriteExecute = true;
    PrivateDevices = true;
    PrivateTmp = true;
    ProtectClock = true;
    ProtectControlGroups = true;
    ProtectHostname = true;
    ProtectKernelLogs = true;
    ProtectKernelModules = true;
    ProtectKernelTunables = true;
    ProtectProc = "invisible";
    ProtectSystem = "strict";
    RemoveIPC = true;
    # netlink: iroh watches the machine's addresses
    RestrictAddressFamilies = [
      "AF_INET"
      "AF_INET6"
      "AF_NETLINK"
      "AF_UNIX"
    ];
    RestrictNamespaces = true;
    RestrictSUIDSGID = true;
    SystemCallArchitectures = "native";
    SystemCallErrorNumber = "EPERM";
    SystemCallFilter = [
      "@system-service"
      "~@privileged"
    ];
  };
}
