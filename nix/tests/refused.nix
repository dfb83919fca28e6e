# Configurations that must not evaluate: `crates/flt/tests/it/nix_modules.rs` asks for each by name and reads the error.
let
  inherit (import ./evaluation.nix) configOf;
  settingsOf = role: configuration: (configOf configuration).services.flotilla.${role}.settings;
in
{
  unknown-option = (configOf { services.flotilla.agent.enabel = true; }).assertions;

  unknown-role = (configOf { services.flotilla.captain.enable = true; }).assertions;

  wrong-type = settingsOf "agent" { services.flotilla.agent.settings.mdns = "yes"; };

  port-too-big = settingsOf "agent" {
    services.flotilla.agent.settings.listen = [ "0.0.0.0:70000" ];
  };

  address-without-port = settingsOf "coordinator" {
    services.flotilla.coordinator.settings.listen = [ "0.0.0.0" ];
  };

  unknown-relay-tls = settingsOf "coordinator" {
    services.flotilla.coordinator.settings.relay.tls = "acme";
  };

  relay-url-without-scheme = settingsOf "coordinator" {
    services.flotilla.coordinator.settings.relay.url = "relay.example";
  };

  device-without-address = (configOf {
    services.flotilla.agent.devices.core.user = "flotilla";
  }).services.flotilla.agent.devices.core;

  device-of-unknown-kind = (configOf {
    services.flotilla.agent.devices.core = {
      kind = "toaster";
      address = "10.0.0.4";
      user = "flotilla";
    };
  }).services.flotilla.agent.devices.core;

  device-with-md5-fingerprint = (configOf {
    services.flotilla.agent.devices.core = {
      address = "10.0.0.4";
      user = "flotilla";
      hostKey = "MD5:00:11";
    };
  }).services.flotilla.agent.devices.core;

  workload-of-unknown-kind = (configOf { services.flotilla.agent.workloads.mysql.enable = true; })
    .services.flotilla.agent.workloads;

  conflicting-names = settingsOf "agent" {
    imports = [ { services.flotilla.agent.settings.name = "a"; } ];
    config.services.flotilla.agent.settings.name = "b";
  };

  secret-by-relative-path =
    (configOf { services.flotilla.agent.ticketFile = "ticket"; }).services.flotilla.agent.ticketFile;
}
