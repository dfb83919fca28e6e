# A NixOS-shaped system from builtins only: no nixpkgs, no network, no substituter.
# `spec` is JSON; it says what the system holds and how it behaves when it is switched to.
{ spec }:
let
  c = builtins.fromJSON spec;
  run = name: env: script: derivation ({
    inherit name;
    system = builtins.currentSystem;
    builder = "/bin/sh";
    PATH = "/usr/bin:/bin";
    args = [ "-euc" script ];
    preferLocalBuild = true;
    allowSubstitutes = false;
  } // env);

  # Bytes that cannot be compressed, the same every time; `refs` are what the path refers to.
  package = name: kib: refs: run name { inherit refs; kib = toString kib; seed = name; } ''
    mkdir -p $out/lib
    printf '%s\n' $refs > $out/lib/refs
    perl -e '
      my $s = 7; $s = ($s * 33 + ord) % 2147483647 for split //, $ENV{seed}; srand $s;
      for (1 .. $ENV{kib}) { print pack "L*", map { int rand 4294967296 } 1 .. 256 }
    ' > $out/lib/data
  '';
  # Each library refers to the one before it, so that the closure is deep.
  libraries = builtins.foldl'
    (made: n: [ (package "lib-${toString n}" c.sharedKib (if made == [ ] then [ ] else [ (builtins.head made) ])) ] ++ made)
    [ ]
    (builtins.genList (n: n) c.shared);
  app = package "app-${c.app}" c.appKib libraries;

  unit = name: text: run "unit-${name}" { inherit text; } ''
    mkdir -p $out
    printf '%s' "$text" > $out/${name}
  '';
  units = builtins.mapAttrs unit ({
    "demo.service" = ''
      [Unit]
      Description=demo, version ${c.app}
      [Service]
      ExecStartPre=${if c.brokenUnit then "/bin/false" else "/bin/true"}
      ExecStart=/bin/sleep infinity
      Environment=APP=${app}
    '';
  } // c.units);
  etc = run "etc" { units = builtins.attrValues units; names = builtins.attrNames units; } ''
    mkdir -p $out/etc/systemd/system
    set -- $units
    for name in $names; do ln -s "$1/$name" "$out/etc/systemd/system/$name"; shift; done
    : > $out/etc/NIXOS
  '';
  sw = run "system-path" { inherit app; } ''
    mkdir -p $out/bin
    ln -s $app/lib/data $out/bin/app
  '';
  # Writes down what boots, as a boot loader does.
  bootLoader = run "install-boot-loader" { } ''
    printf '#!/bin/sh\nset -e\n[ ${toString c.bootLoaderExit} = 0 ] || exit ${toString c.bootLoaderExit}\nmkdir -p /boot/loader\nprintf %%s "$1" > /boot/loader/new\nmv /boot/loader/new /boot/loader/default\n' > $out
    chmod +x $out
  '';
  activate = run "activate" { hook = c.hook; } ''
    cat > $out <<END
    #!/bin/sh
    # \$1 is the system
    $hook
    ln -sfn ${etc}/etc /etc/static
    mkdir -p /nix/var/nix/gcroots
    ln -sfn "\$1" /run/current-system
    ln -sfn /run/current-system /nix/var/nix/gcroots/current-system
    exit ${toString c.activateExit}
    END
    chmod +x $out
  '';
in
run "nixos-system-node-${c.label}"
{
  inherit etc sw bootLoader activate;
  inherit (c) label initInterface switchInhibitors rebootTriggers;
  # A source: made from its content, so nobody has to sign it.
  switcher = ./switch-to-configuration.sh;
} ''
  mkdir -p $out/bin
  ln -s $etc/etc $out/etc
  ln -s $sw $out/sw
  ln -s $activate $out/activate
  printf %s "$label" > $out/nixos-version
  printf %s "$initInterface" > $out/init-interface-version
  [ -z "$switchInhibitors" ] || printf %s "$switchInhibitors" > $out/switch-inhibitors
  [ -z "$rebootTriggers" ] || printf %s "$rebootTriggers" > $out/reboot-triggers
  cat > $out/bin/switch-to-configuration <<END
  #!/bin/sh
  export TOPLEVEL='$out' BOOT_LOADER='$bootLoader' CHECK_EXIT=${toString c.checkExit} SWITCH_EXIT=${toString c.switchExit}
  exec /bin/sh $switcher "\$@"
  END
  chmod +x $out/bin/switch-to-configuration
''
