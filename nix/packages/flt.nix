# The one binary, with its completions and man pages.
{
  pkgs,
  inputs,
  ...
}:
let
  inherit (pkgs) lib;
  craneLib = inputs.crane.mkLib pkgs;
  manifest = (builtins.fromTOML (builtins.readFile ../../Cargo.toml)).workspace.package;

  # Whole crates, not only *.rs: the sources embed texts and fixtures.
  src = lib.fileset.toSource {
    root = ../..;
    fileset = lib.fileset.unions [
      ../../Cargo.toml
      ../../Cargo.lock
      ../../clippy.toml
      ../../rustfmt.toml
      ../../crates
    ];
  };

  common = {
    inherit src;
    inherit (manifest) version;
    pname = "flt";
    strictDeps = true;
    cargoExtraArgs = "--locked --package flt";
  };

  cargoArtifacts = craneLib.buildDepsOnly common;

  wholeWorkspace = common // {
    inherit cargoArtifacts;
    cargoExtraArgs = "--locked --workspace";
  };
in
craneLib.buildPackage (
  common
  // {
    inherit cargoArtifacts;

    # The tests start daemons, namespaces and Nix itself, which the build sandbox forbids:
    # `scripts/test` runs them.
    doCheck = false;

    nativeBuildInputs = [ pkgs.installShellFiles ];

    # A cross-built flt cannot be run here to describe itself.
    postInstall = lib.optionalString (pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform) ''
      installShellCompletion --cmd flt \
        --bash <($out/bin/flt completions bash) \
        --zsh <($out/bin/flt completions zsh) \
        --fish <($out/bin/flt completions fish)
      mkdir man-pages
      $out/bin/flt man man-pages
      installManPage man-pages/*.1
    '';

    passthru.tests = {
      clippy = craneLib.cargoClippy (
        wholeWorkspace // { cargoClippyExtraArgs = "--all-targets -- --deny warnings"; }
      );
      doc = craneLib.cargoDoc (
        wholeWorkspace
        // {
          cargoDocExtraArgs = "--no-deps --document-private-items";
          env.RUSTDOCFLAGS = "--deny warnings --allow rustdoc::private_intra_doc_links";
        }
      );
      fmt = craneLib.cargoFmt {
        inherit src;
        inherit (common) pname version;
      };
    };

    meta = {
      inherit (manifest) description;
      license = [
        lib.licenses.mit
        lib.licenses.asl20
      ];
      mainProgram = "flt";
      platforms = lib.platforms.linux;
    };
  }
)
