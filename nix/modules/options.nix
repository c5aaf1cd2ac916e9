# The options that home-manager, NixOS and nix-darwin have in common.
{ lib, pkgs, ... }:
let
  inherit (lib) literalExpression mkOption types;
  ours = import ./types.nix { inherit lib; };
in
{
  imports = [ ./assertions.nix ];

  options.services.handpick = {
    enable = lib.mkEnableOption "handpick, which keeps packages in binary caches";

    package = mkOption {
      type = types.package;
      default = pkgs.handpick or (pkgs.callPackage ../package.nix { });
      defaultText = literalExpression "pkgs.handpick or (pkgs.callPackage ./nix/package.nix { })";
      description = "The program.";
      example = literalExpression "pkgs.handpick";
    };

    caches = mkOption {
      type = types.attrsOf ours.cache;
      default = { };
      description = "The caches, by the names they go by here.";
      example = literalExpression ''
        {
          mine = {
            url = "cachix://mycache";
            tokenFile = "/run/secrets/cachix";
          };
        }
      '';
    };

    packages = mkOption {
      type = ours.picks;
      default = [ ];
      description = "Packages to keep in every cache: each with all its outputs, or a set as in `selections.<name>.packages`.";
      example = literalExpression "[ pkgs.ripgrep pkgs.my-neovim ]";
    };

    selections = mkOption {
      type = types.attrsOf ours.selection;
      default = { };
      description = "More packages, for some caches only or with rules of their own.";
      example = literalExpression ''
        {
          toolchains = {
            packages = [ pkgs.gcc ];
            caches = [ "mine" ];
            exclude = [ "*-doc" ];
          };
        }
      '';
    };

    rules = {
      exclude = mkOption {
        type = ours.globs;
        default = [ ];
        description = "Globs of paths that go to no cache.";
        example = [ "*-source" ];
      };
      maxNarSize = mkOption {
        type = types.nullOr (types.either types.str types.ints.unsigned);
        default = null;
        description = "The largest path to push, before compression.";
        example = "2GiB";
      };
      onHole = mkOption {
        type = types.enum [
          "hold"
          "fail"
          "push-anyway"
        ];
        default = "hold";
        description = ''
          What becomes of a path that needs one which is left out: `hold` holds it back, `fail` pushes
          nothing at all, `push-anyway` pushes it.
        '';
        example = "push-anyway";
      };
    };

    builds = {
      include = mkOption {
        type = ours.globs;
        default = [ ];
        description = "Globs of the builds to push, of those that a post-build hook reports.";
        example = [ "my-*" ];
      };
      caches = mkOption {
        type = types.listOf types.str;
        default = [ ];
        description = "Names of the caches they go to; none stands for all.";
        example = [ "mine" ];
      };
      manifests = mkOption {
        type = types.bool;
        default = false;
        description = ''
          Push the paths that built manifests, such as those of `cachixPackages`, name: only paths that
          they refer to, to configured caches only, without pins. Otherwise they are outputs like others.
        '';
        example = true;
      };
    };

    interval = mkOption {
      type = types.ints.positive;
      default = 1800;
      description = "Seconds until a sync tries again what could not be pushed.";
      example = 600;
    };

    settings = mkOption {
      type = types.attrsOf types.anything;
      default = { };
      description = "Put into the configuration file unchanged, in place of other options; see configuration.md.";
      example = literalExpression ''{ rules.on-hole = "fail"; }'';
    };
  };
}
