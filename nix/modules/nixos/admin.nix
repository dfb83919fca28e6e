# services.flotilla.admin: `flt` for people, with the fleet they administer already configured.
{ flake, ... }:
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.flotilla.admin;
  parts = import ../../module-parts/parts.nix { inherit lib pkgs flake; };
  prefix = "services.flotilla.admin";
  inherit (lib) types;
in
{
  options.services.flotilla.admin = {
    enable = lib.mkEnableOption "the Flotilla command line for admins";
    inherit (parts) package;

    settings =
      parts.settings
        {
          key-file = parts.optionalKey types.str "Path of the admin's private key; everybody's own by default.";
          ticket-file = parts.optionalKey types.str "Path of a ticket, which names the fleet and its coordinators.";
          data = parts.optionalKey types.str "The folder for the admin's copy of the ledger.";
        }
        "Written to `/etc/flotilla/config.toml`; a user's own `~/.config/flotilla/config.toml` comes before it.";
  };

  config = lib.mkIf cfg.enable {
    # No daemon reads these, so there is no credential: the key stays where its owner keeps it.
    assertions =
      map
        (key: {
          assertion = cfg.settings.${key} == null || !parts.inStore cfg.settings.${key};
          message = "${prefix}.settings.${key} is in the Nix store, where everybody can read it: name a path on the machine.";
        })
        [
          "key-file"
          "ticket-file"
        ];

    environment.systemPackages = [ cfg.package ];
    # The machine's file is shared by all roles, so these keys have a section of their own.
    environment.etc."flotilla/config.toml".source = (pkgs.formats.toml { }).generate "config.toml" {
      admin = parts.withoutNulls cfg.settings;
    };
  };
}
