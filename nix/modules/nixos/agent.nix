# services.flotilla.agent: verifies what admins signed for this machine, and plays it.
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
  configFile = parts.configFile {
    role = "agent";
    inherit cfg;
  };
  ports = parts.portsOf cfg.settings.listen;

  # Names what a running agent was started from: the renewal below compares it with what it should be.
  release = builtins.hashString "sha256" (
    builtins.unsafeDiscardStringContext "${lib.getExe cfg.package} ${configFile}"
  );
in
{
  options.services.flotilla.agent = {
    enable = lib.mkEnableOption "the Flotilla agent";
    inherit (parts) package checkConfig;
    openFirewall = parts.openFirewall "the ports of `listen`, which must be fixed then,";
    keyFile = parts.secretFile ''
      The node's ed25519 private key, OpenSSH or raw: for example `/etc/ssh/ssh_host_ed25519_key`. Without it the
      agent makes one in its data folder.
    '';
    ticketFile = parts.secretFile ''
      What `flt admin invite` printed. Keep the file after the node has joined: it still names the fleet and its
      coordinators, and opens nothing a second time.
    '';

    settings =
      parts.settings
        {
          data = mkOption {
            type = types.str;
            default = "/var/lib/${unit}";
            description = "The folder that holds the ledger, the journal and the blobs.";
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
        }
        "Written to the agent's TOML file. Keys without an option of their own are passed on, and checked by `flt`.";
  };

  config = lib.mkIf cfg.enable {
    services.flotilla.agent.settings = {
      key-file = parts.fromCredential unit "key" cfg.keyFile;
      ticket-file = parts.fromCredential unit "ticket" cfg.ticketFile;
    };

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
      ++ [
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

        # It runs as root with the whole file system in sight, because it exists to change the machine: files
        # anywhere, profiles, the boot entry, units. What protects the machine is that it acts on nothing but what an
        # admin signed. So no ProtectSystem, PrivateTmp, or address families here; and no system call filter, which
        # health checks would inherit.
        serviceConfig = parts.daemonConfig // {
          ExecStart = "${lib.getExe cfg.package} agent run --config ${configFile}";
          StateDirectory = unit;
          LoadCredential = parts.loadCredentials {
            key = cfg.keyFile;
            ticket = cfg.ticketFile;
          };
          # The agent heals the machine: let others go first when memory runs out.
          OOMScoreAdjust = -500;
        };
      }
    ];

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
        pid=$(systemctl show --property=MainPID --value ${unit}.service)
        if [ "$pid" = 0 ]; then
          # Between two attempts of the agent before: no need to wait for the next one.
          exec systemctl --no-block start ${unit}.service
        fi
        # -z: the environment is a list of strings that end in NUL
        if ! grep -qzx "FLOTILLA_RELEASE=$FLOTILLA_RELEASE" "/proc/$pid/environ"; then
          systemctl --no-block try-restart ${unit}.service
        fi
      '';
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
      };
    };
  };
}
