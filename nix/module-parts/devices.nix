# `services.flotilla.agent.devices` and `deviceGroups`: what an agent manages that runs no agent itself, and which of it is
# changed as one, as `[devices.NAME]` and `[device-groups.NAME]` of its configuration. Secrets become credentials of the
# service that has the network.
{
  lib,
  parts,
  prefix,
  unit,
}:
let
  inherit (lib) mkOption types;

  # The options that are secrets, and the keys that they become.
  secrets = {
    passwordFile = "password-file";
    keyFile = "key-file";
    enablePasswordFile = "enable-password-file";
  };

  credentialOf = name: key: "device-${name}-${key}";
  given = device: option: device.${option} != null;
in
{
  option = mkOption {
    type = types.attrsOf (
      types.submodule {
        options = {
          kind = mkOption {
            type = types.enum [ "switch" ];
            default = "switch";
            description = "What it is.";
          };
          address = mkOption {
            type = types.str;
            description = "Its host name or IP address, with a port if SSH is not at 22.";
          };
          user = mkOption {
            type = types.str;
            description = "The user to log in as.";
          };
          hostKey = parts.optionalKey (types.strMatching "SHA256:[A-Za-z0-9+/]{43}") "The fingerprint of its host key; `flt admin device probe` tells it.";
          knownHosts = parts.optionalKey types.path "A file in the format of OpenSSH's `known_hosts`, instead of `hostKey`; the agent's user must be able to read it.";
          passwordFile = parts.secretFile "A file with the password.";
          keyFile = parts.secretFile "A file with a private key.";
          enablePasswordFile = parts.secretFile "A file with the password of `enable`, where the device asks for one.";
          legacy = mkOption {
            type = types.listOf types.str;
            default = [ ];
            description = "Old algorithms that may be used with it, by their SSH names, each only when it offers nothing better.";
          };
          netconf = parts.optionalKey (types.enum [
            "auto"
            "on"
            "off"
          ]) "Whether it is read by NETCONF: where it can be opened if nothing is said, always, or never.";
          exclusive = mkOption {
            type = types.bool;
            default = false;
            description = "Whether it is certain that no other agent changes it: then it is changed also while no coordinator answers.";
          };
        };
      }
    );
    default = { };
    description = ''
      Devices that this agent manages, by the names that scores know them by. A secret that the agent itself brings from
      the ledger is not there when the service starts: leave its option out, name the file in
      `settings.devices.NAME.password-file`, and let `files/1` give it to the agent's user.
    '';
  };

  groups = mkOption {
    type = types.attrsOf (
      types.submodule {
        options.members = mkOption {
          type = types.listOf types.str;
          description = "The names of its members among `devices`, two or more.";
        };
      }
    );
    default = { };
    description = ''
      Groups of devices that are changed as one, by the names that scores know them by: what is declared for a group is on
      all of its members, or on none.
    '';
  };

  groupSettings = lib.mapAttrs (_: group: { inherit (group) members; });

  # What the agent itself would refuse, said while the system is evaluated.
  groupAssertions =
    groups: written:
    lib.concatLists (
      lib.mapAttrsToList (
        name: group:
        let
          at = "${prefix}.deviceGroups.${name}";
          unknown = lib.filter (member: !(written ? ${member})) group.members;
        in
        [
          {
            assertion = !(written ? ${name});
            message = "${at}: a device is called so: give the group another name.";
          }
          {
            assertion = lib.length (lib.unique group.members) >= 2;
            message = "${at}.members names two devices or more.";
          }
          {
            assertion = unknown == [ ];
            message = "${at}.members: there is no device ${lib.concatStringsSep ", " unknown} in ${prefix}.devices.";
          }
        ]
      ) groups
    );

  # The agent's settings.
  settings = lib.mapAttrs (
    name: device:
    {
      inherit (device)
        kind
        address
        user
        exclusive
        ;
    }
    // lib.optionalAttrs (device.legacy != [ ]) { inherit (device) legacy; }
    // lib.optionalAttrs (given device "netconf") { inherit (device) netconf; }
    // lib.optionalAttrs (given device "hostKey") { host-key = device.hostKey; }
    // lib.optionalAttrs (given device "knownHosts") { known-hosts = toString device.knownHosts; }
    // lib.listToAttrs (
      lib.concatLists (
        lib.mapAttrsToList (
          option: key:
          lib.optional (given device option) {
            name = key;
            value = parts.credential unit (credentialOf name key);
          }
        ) secrets
      )
    )
  );

  # What systemd loads, by the credential's name.
  files =
    devices:
    lib.listToAttrs (
      lib.concatLists (
        lib.mapAttrsToList (
          name: device:
          lib.mapAttrsToList (option: key: {
            name = credentialOf name key;
            value = device.${option};
          }) secrets
        ) devices
      )
    );

  assertions =
    devices: written:
    lib.concatLists (
      lib.mapAttrsToList (
        name: device:
        let
          at = "${prefix}.devices.${name}";
          keys = written.${name} or { };
        in
        [
          {
            assertion = builtins.match "[a-z0-9]([a-z0-9._-]*[a-z0-9])?" name != null;
            message = "${at}: a device has a name of small letters, digits and single signs between them.";
          }
          {
            assertion = given device "hostKey" != given device "knownHosts";
            message = "${at} needs either hostKey or knownHosts: flt admin device probe ${device.address}";
          }
          {
            assertion = keys ? password-file || keys ? key-file;
            message = "${at} needs passwordFile or keyFile to log in.";
          }
        ]
        ++ lib.mapAttrsToList (option: _: {
          assertion = !(given device option) || !parts.inStore device.${option};
          message = "${at}.${option} is in the Nix store, where everybody can read it: name a path on the machine as a string.";
        }) secrets
      ) devices
    );
}
