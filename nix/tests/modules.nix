# Machines that must evaluate, each compared with nix/tests/golden/<name>.json.
let
  inherit (import ./evaluation.nix) fake machineWith;
in
{
  nothing-enabled = machineWith { };

  coordinator-smallest = machineWith {
    services.flotilla.coordinator = {
      enable = true;
      genesisFile = "/etc/flotilla/genesis";
    };
  };

  coordinator-with-relay = machineWith {
    services.flotilla.coordinator = {
      enable = true;
      openFirewall = true;
      genesisFile = "/etc/flotilla/genesis";
      keyFile = "/etc/flotilla/coordinator.ed25519";
      relayCertFile = "/var/lib/acme/relay.example/fullchain.pem";
      relayKeyFile = "/var/lib/acme/relay.example/key.pem";
      settings = {
        advertise = [ "203.0.113.10:4433" ];
        mdns = true;
        log = "info";
        relay = {
          listen = "[::]:443";
          url = "https://relay.example";
          tls = "files";
          quic-listen = "[::]:7842";
        };
      };
    };
  };

  agent-smallest = machineWith {
    networking.hostName = "edge-1";
    services.flotilla.agent = {
      enable = true;
      ticketFile = "/etc/flotilla/ticket";
    };
  };

  agent-with-host-key = machineWith {
    services.flotilla.agent = {
      enable = true;
      checkConfig = false;
      openFirewall = true;
      ticketFile = "/etc/flotilla/ticket";
      keyFile = "/etc/ssh/ssh_host_ed25519_key";
      settings = {
        name = "edge-2";
        listen = [ "0.0.0.0:4434" ];
        mdns = true;
        metrics = "off";
      };
    };
  };

  agent-in-one-piece = machineWith {
    services.flotilla.agent = {
      enable = true;
      separatePrivileges = false;
      ticketFile = "/etc/flotilla/ticket";
    };
  };

  agent-with-postgresql = machineWith {
    services.flotilla.agent = {
      enable = true;
      ticketFile = "/etc/flotilla/ticket";
      workloads.postgresql = {
        enable = true;
        package = fake "postgresql" { };
      };
    };
  };

  agent-with-bonds = machineWith {
    systemd.network.enable = true;
    services.flotilla.agent = {
      enable = true;
      ticketFile = "/etc/flotilla/ticket";
      bonds.enable = true;
    };
  };

  agent-with-bonds-without-networkd = machineWith {
    services.flotilla.agent = {
      enable = true;
      ticketFile = "/etc/flotilla/ticket";
      bonds.enable = true;
    };
  };

  agent-in-one-piece-with-postgresql = machineWith {
    services.flotilla.agent = {
      enable = true;
      separatePrivileges = false;
      ticketFile = "/etc/flotilla/ticket";
      workloads.postgresql.enable = true;
    };
  };

  agent-with-postgresql-of-its-own-account = machineWith {
    services.flotilla.agent = {
      enable = true;
      ticketFile = "/etc/flotilla/ticket";
      workloads.postgresql = {
        enable = true;
        account = "flotilla";
      };
    };
  };

  agent-with-devices = machineWith {
    services.flotilla.agent = {
      enable = true;
      ticketFile = "/etc/flotilla/ticket";
      devices.rack-3 = {
        address = "10.0.0.3";
        user = "flotilla";
        hostKey = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        passwordFile = "/etc/flotilla/rack-3";
        enablePasswordFile = "/etc/flotilla/rack-3-enable";
        legacy = [
          "diffie-hellman-group14-sha1"
          "ssh-rsa"
        ];
      };
      # Its password comes from the ledger, by files/1.
      devices.core = {
        address = "core.example:2222";
        user = "flotilla";
        knownHosts = "/etc/ssh/ssh_known_hosts";
        exclusive = true;
      };
      settings.devices.core.password-file = "/var/lib/devices/core";
      deviceGroups.pair.members = [
        "rack-3"
        "core"
      ];
    };
  };

  admin = machineWith {
    services.flotilla.admin = {
      enable = true;
      settings = {
        ticket-file = "/etc/flotilla/ticket";
        data = "/var/lib/flotilla-admin";
      };
    };
  };

  # Assertions: the machine evaluates, and says what is wrong with it.
  agent-without-ticket = machineWith { services.flotilla.agent.enable = true; };

  agent-with-two-keys = machineWith {
    services.flotilla.agent = {
      enable = true;
      ticketFile = "/etc/flotilla/ticket";
      keyFile = "/etc/flotilla/key";
      settings.key-file = "/etc/flotilla/other";
    };
  };

  agent-with-secret-in-store = machineWith {
    services.flotilla.agent = {
      enable = true;
      ticketFile = "/nix/store/00000000000000000000000000000000-ticket";
    };
  };

  agent-firewall-needs-fixed-port = machineWith {
    services.flotilla.agent = {
      enable = true;
      openFirewall = true;
      ticketFile = "/etc/flotilla/ticket";
    };
  };

  agent-with-wrong-devices = machineWith {
    services.flotilla.agent = {
      enable = true;
      ticketFile = "/etc/flotilla/ticket";
      devices = {
        "Rack 3" = {
          address = "10.0.0.3";
          user = "flotilla";
          hostKey = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
          passwordFile = "/nix/store/00000000000000000000000000000000-password";
        };
        core = {
          address = "10.0.0.4";
          user = "flotilla";
        };
      };
      deviceGroups = {
        core.members = [ "core" ];
        pair.members = [
          "core"
          "rack-9"
        ];
      };
    };
  };

  coordinator-without-genesis = machineWith { services.flotilla.coordinator.enable = true; };

  coordinator-relay-in-plain-text = machineWith {
    services.flotilla.coordinator = {
      enable = true;
      genesisFile = "/etc/flotilla/genesis";
      settings.relay.tls = "none";
    };
  };

  coordinator-relay-without-certificate = machineWith {
    services.flotilla.coordinator = {
      enable = true;
      genesisFile = "/etc/flotilla/genesis";
      settings.relay.tls = "files";
    };
  };

  admin-with-key-in-store = machineWith {
    services.flotilla.admin = {
      enable = true;
      settings.key-file = "/nix/store/00000000000000000000000000000000-key";
    };
  };
}
