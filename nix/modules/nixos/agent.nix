# services.flotilla.agent: verifies what admins signed for this machine, and plays it. Two services: one with the network
# and no rights, one with root's rights and no network.
{ flake, ... }:
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.flotilla.agent;
  parts = import ../../module-parts/parts.nix { inherit lib pkgs flake; };
  inherit (lib) mkOption types;

  prefix = "services.flotilla.agent";
  unit = "flotilla-agent";
  devices = import ../../module-parts/devices.nix {
    inherit
      lib
      parts
      prefix
      unit
      ;
  };
  handsUnit = "flotilla-hands";
  user = "flotilla";
  split = cfg.separatePrivileges;
  # The hands have the folder of an agent that does all by itself: so the one can follow the other, both ways.
  rootFolder = "/var/lib/${unit}";
  # Without one of the administrator's choice, the hands make the key.
  handsKey = if cfg.keyFile != null then cfg.keyFile else "${rootFolder}/key";
  socket = "/run/flotilla/hands.sock";
  configFile = parts.configFile {
    role = "agent";
    inherit cfg;
  };
  ports = parts.portsOf cfg.settings.listen;
  postgresql = cfg.workloads.postgresql;
  keepsPostgresql = postgresql.enable && split;
  makesBonds = cfg.bonds.enable && split;

  restarted = lib.optional split handsUnit ++ [ unit ];

  # Names what a running agent was started from: the renewal below compares it with what it should be. What the units may do
  # is a part of it, where that is more than usual.
  release = builtins.hashString "sha256" (
    builtins.unsafeDiscardStringContext (
      "${lib.getExe cfg.package} ${configFile}"
      + (if keepsPostgresql then " postgresql" else "")
      + (if makesBonds then " bonds" else "")
    )
  );
in
{
  options.services.flotilla.agent = {
    enable = lib.mkEnableOption "the Flotilla agent";
    inherit (parts) package checkConfig;
    separatePrivileges = mkOption {
      type = types.bool;
      default = true;
      description = ''
        Whether the agent is two services: one that talks to the network, as a user without any rights, and one that
        changes the machine, as root and without a network. The second verifies all that it is asked for itself.
      '';
    };
    openFirewall = parts.openFirewall "the ports of `listen`, which must be fixed then,";
    keyFile = parts.secretFile ''
      The node's ed25519 private key, OpenSSH or raw: for example `/etc/ssh/ssh_host_ed25519_key`. Without it the
      agent makes one in its data folder.
    '';
    ticketFile = parts.secretFile ''
      What `flt admin invite` printed. Keep the file after the node has joined: it still names the fleet and its
      coordinators, and opens nothing a second time.
    '';
    devices = devices.option;
    deviceGroups = devices.groups;

    bonds.enable = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Whether bonds of this machine's interfaces (`net.bond/1`) may be made. It gives the service that changes the machine
        a sight of its network, which systemd-networkd (`systemd.network.enable`) must manage. Without it that service
        refuses bonds. Without `separatePrivileges` the agent sees the network anyway.
      '';
    };

    workloads.postgresql = {
      enable = mkOption {
        type = types.bool;
        default = false;
        description = ''
          Whether PostgreSQL clusters (`postgres/1`) may be kept on this machine. It makes the account that they run as,
          and gives the service that changes the machine what else it has not: IP, for the route that leads clients to the
          primary, and the rights to see and to kill the account's processes. Without it that service offers no
          `postgres/1`. Without `separatePrivileges` the agent has all of that anyway.
        '';
      };
      package = mkOption {
        type = types.nullOr types.package;
        default = null;
        example = lib.literalExpression "pkgs.postgresql_15";
        description = ''
          PostgreSQL 15 or later. Its programs are in `/run/current-system/sw/bin` then, which is what `programs` of the
          score must be.
        '';
      };
      account = mkOption {
        type = types.str;
        default = "postgres";
        description = "The account of the score.";
      };
    };

    settings =
      parts.settings
        {
          data = mkOption {
            type = types.str;
            default = if split then "/var/lib/flotilla-network" else rootFolder;
            defaultText = lib.literalExpression ''if separatePrivileges then "/var/lib/flotilla-network" else "/var/lib/flotilla-agent"'';
            description = "The folder that holds the ledger, the blobs and, without `separatePrivileges`, the journal.";
          };
          key-file = parts.optionalKey types.str "Path of the private key; `keyFile` sets it.";
          ticket-file = parts.optionalKey types.str "Path of the ticket; `ticketFile` sets it.";
          name = mkOption {
            type = types.nullOr types.str;
            default = if config.networking.hostName == "" then null else config.networking.hostName;
            defaultText = lib.literalExpression "config.networking.hostName";
            description = "The name to ask for when the node joins.";
          };
          listen = mkOption {
            type = types.listOf parts.socketAddress;
            default = [ "0.0.0.0:0" ];
            description = "The UDP addresses to listen on; port 0 takes any that is free.";
          };
          mdns = parts.optionalKey types.bool "Whether to look for the fleet by mDNS on the local network.";
          metrics = mkOption {
            type = types.either parts.socketAddress (types.enum [ "off" ]);
            default = "127.0.0.1:9478";
            description = "Where `/metrics` and `/healthz` are served, on loopback; `off` for nowhere.";
          };
          log = parts.logLevel;
          hands = parts.optionalKey types.str "The socket of the service that plays; `separatePrivileges` sets it.";
          hands-data = parts.optionalKey types.str "Its folder; `separatePrivileges` sets it.";
          hands-user = parts.optionalKey types.str "The user that may connect; `separatePrivileges` sets it.";
        }
        "Written to the agent's TOML file. Keys without an option of their own are passed on, and checked by `flt`.";
  };

  config = lib.mkIf cfg.enable {
    services.flotilla.agent.settings = {
      key-file = parts.fromCredential unit "key" (if split then handsKey else cfg.keyFile);
      ticket-file = parts.fromCredential unit "ticket" cfg.ticketFile;
      hands = lib.mkIf split (lib.mkDefault socket);
      hands-data = lib.mkIf split (lib.mkDefault rootFolder);
      hands-user = lib.mkIf split (lib.mkDefault user);
      devices = lib.mkIf (cfg.devices != { }) (devices.settings cfg.devices);
      device-groups = lib.mkIf (cfg.deviceGroups != { }) (devices.groupSettings cfg.deviceGroups);
    };

    users = lib.mkMerge [
      (lib.mkIf split {
        users.${user} = {
          isSystemUser = true;
          group = user;
          description = "Flotilla agent, the network half";
        };
        groups.${user} = { };
      })
      # As services.postgresql makes it, if the machine has that too.
      (lib.mkIf postgresql.enable {
        users.${postgresql.account} = {
          isSystemUser = lib.mkDefault true;
          group = lib.mkDefault postgresql.account;
          description = lib.mkDefault "PostgreSQL server user";
        };
        groups.${postgresql.account} = { };
      })
    ];

    environment.systemPackages = lib.mkIf (postgresql.enable && postgresql.package != null) [
      postgresql.package
    ];

    assertions =
      parts.secretAssertions {
        inherit prefix unit;
        secrets = {
          key = {
            option = "keyFile";
            file = cfg.keyFile;
            key = "key-file";
            value = cfg.settings.key-file;
          };
          ticket = {
            option = "ticketFile";
            file = cfg.ticketFile;
            key = "ticket-file";
            value = cfg.settings.ticket-file;
          };
        };
      }
      ++ devices.assertions cfg.devices (cfg.settings.devices or { })
      ++ devices.groupAssertions cfg.deviceGroups (cfg.settings.devices or { })
      ++ [
        {
          assertion = !cfg.bonds.enable || config.systemd.network.enable;
          message = "${prefix}.bonds.enable needs systemd-networkd: set systemd.network.enable.";
        }
        {
          assertion = !postgresql.enable || postgresql.account != user;
          message = "${prefix}.workloads.postgresql.account must not be ${user}: the half of the agent with the network runs as that.";
        }
        {
          assertion = cfg.settings.ticket-file != null;
          message = "${prefix} needs a ticket: put what `flt admin invite` printed into a file, and name it in ${prefix}.ticketFile.";
        }
        {
          assertion = !cfg.openFirewall || !(lib.elem 0 ports);
          message = "${prefix}.openFirewall needs a fixed port: set ${prefix}.settings.listen, for example to [ \"0.0.0.0:4434\" ].";
        }
      ];

    environment.etc."flotilla/agent.toml".source = configFile;

    networking.firewall.allowedUDPPorts = lib.mkIf cfg.openFirewall (
      ports ++ lib.optional (cfg.settings.mdns == true) 5353
    );

    systemd.services.${unit} = lib.mkMerge [
      parts.daemon
      {
        description = "Flotilla agent";

        # The agent is what switches the system to a new generation. It does so in a transient unit of its own, and
        # still must not be stopped in the middle by the very switch it watches: the switch leaves it alone, and the
        # renewal unit below restarts it.
        restartIfChanged = false;
        stopIfChanged = false;

        environment.FLOTILLA_RELEASE = release;
        # nix-store and nix-env to take a closure in, systemd-run and systemctl to switch to it.
        path = [
          config.nix.package
          config.systemd.package
        ];

        serviceConfig =
          parts.daemonConfig
          // {
            ExecStart = "${lib.getExe cfg.package} agent run --config ${configFile}";
            StateDirectory = if split then "flotilla-network" else unit;
            LoadCredential = parts.loadCredentials (
              {
                key = if split then handsKey else cfg.keyFile;
                ticket = cfg.ticketFile;
              }
              // devices.files cfg.devices
            );
            # The agent heals the machine: let others go first when memory runs out.
            OOMScoreAdjust = -500;
          }
          # Without hands of its own it runs as root with the whole file system in sight, because it exists to change the
          # machine: files anywhere, profiles, the boot entry, units. What protects the machine is that it acts on nothing
          # but what an admin signed. So no ProtectSystem, PrivateTmp, or address families there; and no system call
          # filter, which health checks would inherit.
          // lib.optionalAttrs split parts.secluded
          // lib.optionalAttrs split {
            User = user;
            Group = user;
            AmbientCapabilities = [ "" ];
            CapabilityBoundingSet = [ "" ];
            # Seen as it is, so that the plan of what is not published is not wrong.
            ProtectHome = "read-only";
          };
      }
      (lib.mkIf split {
        after = [ "${handsUnit}.service" ];
        wants = [ "${handsUnit}.service" ];
      })
    ];

    # What changes the machine. It writes files anywhere, so the file system stays in sight; it has no network, unless it keeps
    # databases or makes bonds, and programs that checks run, like switches of systems and supervisors of workloads, are transient units of
    # their own and not bound by this.
    systemd.services.${handsUnit} = lib.mkIf split {
      description = "Flotilla agent, the hands";
      wantedBy = [ "multi-user.target" ];
      unitConfig.StartLimitIntervalSec = 0;
      restartIfChanged = false;
      stopIfChanged = false;
      environment = {
        FLOTILLA_RELEASE = release;
        # The daemon of Nix does what needs more than this unit may.
        NIX_REMOTE = "daemon";
      };
      path = [
        config.nix.package
        config.systemd.package
      ];
      serviceConfig = parts.daemonConfig // {
        # Key and ticket by their own paths: root can read them, and the ticket may come later than the first start.
        ExecStart = lib.concatStringsSep " " (
          [ "${lib.getExe cfg.package} agent hands --config ${configFile}" ]
          ++ lib.optional (
            cfg.keyFile != null || cfg.settings.key-file == parts.credential unit "key"
          ) "--key-file ${toString handsKey}"
          ++ lib.optional (cfg.ticketFile != null) "--ticket-file ${toString cfg.ticketFile}"
        );
        StateDirectory = unit;
        RuntimeDirectory = "flotilla";
        OOMScoreAdjust = -500;

        CapabilityBoundingSet = [
          "CAP_CHOWN"
          "CAP_DAC_OVERRIDE"
          "CAP_DAC_READ_SEARCH"
          "CAP_FOWNER"
          "CAP_FSETID"
        ]
        # To end what is left of an instance, and to see that nothing is: another user's processes.
        ++ lib.optionals keepsPostgresql [
          "CAP_KILL"
          "CAP_SYS_PTRACE"
        ];
        DevicePolicy = "closed";
        MemoryDenyWriteExecute = true;
        PrivateDevices = true;
        PrivateNetwork = !(keepsPostgresql || makesBonds);
        ProtectClock = true;
        ProtectControlGroups = true;
        ProtectHostname = true;
        ProtectKernelLogs = true;
        ProtectKernelTunables = true;
        RestrictAddressFamilies = [
          "AF_UNIX"
        ]
        # The route: it listens on a loopback address, and leads to the primary.
        ++ lib.optionals keepsPostgresql [
          "AF_INET"
          "AF_INET6"
        ];
        RestrictNamespaces = true;
        SystemCallArchitectures = "native";
        SystemCallErrorNumber = "EPERM";
        SystemCallFilter = [ "@system-service" ];
      };
    };

    # A new agent is on trial like the rest of its generation: restarted while the switch is still unconfirmed, so
    # that one which cannot reach the fleet never confirms, and the revert timer brings the old one back. At boot
    # the agent is already the right one, and this does nothing.
    systemd.services."${unit}-renew" = {
      description = "Restarts the Flotilla agent when its generation brings another one";
      wantedBy = [ "multi-user.target" ];
      after = [ "${unit}.service" ];
      environment.FLOTILLA_RELEASE = release;
      path = [ config.systemd.package ];
      script = ''
        for unit in ${toString restarted}; do
          pid=$(systemctl show --property=MainPID --value "$unit.service")
          if [ "$pid" = 0 ]; then
            # Between two attempts of the agent before: no need to wait for the next one.
            systemctl --no-block start "$unit.service"
          # -z: the environment is a list of strings that end in NUL
          elif ! grep -qzx "FLOTILLA_RELEASE=$FLOTILLA_RELEASE" "/proc/$pid/environ"; then
            systemctl --no-block try-restart "$unit.service"
          fi
        done
      '';
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
      };
    };
  };
}
