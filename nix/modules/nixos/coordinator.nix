# services.flotilla.coordinator: orders and publishes what admins signed; carries the relay and the address lookup.
{ flake, ... }:
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.flotilla.coordinator;
  parts = import ../../module-parts/parts.nix { inherit lib pkgs flake; };
  inherit (lib) mkOption types;

  prefix = "services.flotilla.coordinator";
  unit = "flotilla-coordinator";
  configFile = parts.configFile {
    role = "coordinator";
    inherit cfg;
  };

  relay = cfg.settings.relay;
  relayTcp = lib.optional (relay != null) relay.listen;
  relayUdp = lib.optional (relay != null && relay.quic-listen != null) relay.quic-listen;
  udp = parts.portsOf (cfg.settings.listen ++ relayUdp);
  tcp = parts.portsOf relayTcp;
  privileged = lib.any (port: port > 0 && port < 1024) (udp ++ tcp);
in
{
  options.services.flotilla.coordinator = {
    enable = lib.mkEnableOption "the Flotilla coordinator";
    inherit (parts) package checkConfig;
    openFirewall = parts.openFirewall "the ports of `listen` and of the relay";
    keyFile = parts.secretFile "The coordinator's ed25519 private key, OpenSSH or raw.";
    genesisFile = parts.secretFile "The fleet's genesis entry, as `flt admin init` wrote it; for a fleet's first coordinator.";
    ticketFile = parts.secretFile "The fleet's ticket, as `flt admin coordinator ticket` prints it; for each further coordinator.";
    relayCertFile = parts.secretFile "The relay's certificate chain in PEM, for `settings.relay.tls = \"files\"`.";
    relayKeyFile = parts.secretFile "The relay's private key in PEM, for `settings.relay.tls = \"files\"`.";

    settings =
      parts.settings
        {
          data = mkOption {
            type = types.str;
            default = "/var/lib/${unit}";
            description = "The folder that holds the ledger and the documents.";
          };
          key-file = parts.optionalKey types.str "Path of the private key; `keyFile` sets it.";
          genesis = parts.optionalKey types.str "Path of the genesis entry; `genesisFile` sets it.";
          ticket-file = parts.optionalKey types.str "Path of the fleet's ticket; `ticketFile` sets it.";
          listen = mkOption {
            type = types.listOf parts.socketAddress;
            default = [ "0.0.0.0:4433" ];
            description = "The UDP addresses to listen on.";
          };
          advertise = mkOption {
            type = types.listOf parts.socketAddress;
            default = [ ];
            description = "The addresses that tickets name, where they differ from what the machine sees of itself.";
          };
          mdns = parts.optionalKey types.bool "Whether to be found by mDNS on the local network.";
          metrics = mkOption {
            type = types.either parts.socketAddress (types.enum [ "off" ]);
            default = "127.0.0.1:9479";
            description = "Where `/metrics` and `/healthz` are served, on loopback; `off` for nowhere.";
          };
          log = parts.logLevel;
          relay = mkOption {
            type = types.nullOr (
              types.submodule {
                freeformType = (pkgs.formats.toml { }).type;
                options = {
                  listen = mkOption {
                    type = parts.socketAddress;
                    default = "0.0.0.0:4443";
                    description = "The TCP address of the relay.";
                  };
                  url = parts.optionalKey (types.strMatching "https?://.+") "How nodes reach the relay, for example `https://relay.example:4443`.";
                  tls = mkOption {
                    type = types.enum [
                      "self-signed"
                      "files"
                      "none"
                    ];
                    default = "self-signed";
                    description = ''
                      Where the relay's certificate comes from: issued by the coordinator itself and pinned in every
                      ticket, read from files, or none at all, which is for loopback.
                    '';
                  };
                  cert-file = parts.optionalKey types.str "Path of the certificate chain; `relayCertFile` sets it.";
                  key-file = parts.optionalKey types.str "Path of the certificate's key; `relayKeyFile` sets it.";
                  quic-listen = parts.optionalKey parts.socketAddress "The UDP address that tells nodes their own public address.";
                };
              }
            );
            default = null;
            description = "The relay in the coordinator's process, for nodes that have no direct path; `null` for none.";
          };
        }
        "Written to the coordinator's TOML file. Keys without an option of their own are passed on, and checked by `flt`.";
  };

  config = lib.mkIf cfg.enable {
    services.flotilla.coordinator.settings = lib.mkMerge [
      {
        key-file = parts.fromCredential unit "key" cfg.keyFile;
        genesis = parts.fromCredential unit "genesis" cfg.genesisFile;
        ticket-file = parts.fromCredential unit "ticket" cfg.ticketFile;
      }
      (lib.mkIf (cfg.relayCertFile != null) {
        relay.cert-file = parts.fromCredential unit "relay-cert" cfg.relayCertFile;
      })
      (lib.mkIf (cfg.relayKeyFile != null) {
        relay.key-file = parts.fromCredential unit "relay-key" cfg.relayKeyFile;
      })
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
          relay-key = {
            option = "relayKeyFile";
            file = cfg.relayKeyFile;
            key = "relay.key-file";
            value = if relay == null then null else relay.key-file;
          };
        };
      }
      ++ [
        {
          assertion = cfg.settings.genesis != null || cfg.settings.ticket-file != null;
          message = "${prefix} needs the fleet's genesis entry: set ${prefix}.genesisFile to the file that `flt admin init` wrote; or, for a further coordinator, ${prefix}.ticketFile to what `flt admin coordinator ticket` printed.";
        }
        {
          assertion = cfg.settings.listen != [ ];
          message = "${prefix}.settings.listen is empty: no node could reach the coordinator.";
        }
        {
          assertion = !cfg.openFirewall || !(lib.elem 0 (udp ++ tcp));
          message = "${prefix}.openFirewall needs fixed ports: give `listen` and the relay a port other than 0.";
        }
        {
          assertion =
            relay == null || relay.tls != "files" || (relay.cert-file != null && relay.key-file != null);
          message = "${prefix}.settings.relay.tls = \"files\" needs ${prefix}.relayCertFile and ${prefix}.relayKeyFile.";
        }
        {
          assertion = (cfg.relayCertFile == null && cfg.relayKeyFile == null) || relay.tls == "files";
          message = "${prefix}.relayCertFile and relayKeyFile are read only with ${prefix}.settings.relay.tls = \"files\".";
        }
        {
          assertion =
            relay == null
            || relay.tls != "none"
            || lib.hasPrefix "127." relay.listen
            || lib.hasPrefix "[::1]" relay.listen;
          message = "${prefix}.settings.relay.tls = \"none\" is for loopback: listen on 127.0.0.1, or use \"self-signed\".";
        }
      ];

    environment.etc."flotilla/coordinator.toml".source = configFile;

    networking.firewall = lib.mkIf cfg.openFirewall {
      allowedUDPPorts = udp ++ lib.optional (cfg.settings.mdns == true) 5353;
      allowedTCPPorts = tcp;
    };

    systemd.services.${unit} = lib.mkMerge [
      parts.daemon
      {
        description = "Flotilla coordinator";
        serviceConfig = parts.daemonConfig // parts.secluded // {
          # The file by its store path: a unit and its configuration always belong together.
          ExecStart = "${lib.getExe cfg.package} coordinator run --config ${configFile}";
          StateDirectory = unit;
          LoadCredential = parts.loadCredentials {
            key = cfg.keyFile;
            genesis = cfg.genesisFile;
            ticket = cfg.ticketFile;
            relay-cert = cfg.relayCertFile;
            relay-key = cfg.relayKeyFile;
          };

          DynamicUser = true;
          AmbientCapabilities = lib.optional privileged "CAP_NET_BIND_SERVICE";
          CapabilityBoundingSet = if privileged then [ "CAP_NET_BIND_SERVICE" ] else [ "" ];
          ProtectHome = true;
        };
      }
    ];
  };
}
