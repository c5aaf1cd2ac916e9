# For configurations with the options of the bash modules that this idea grew from: import this in
# place of them. It brings the module of the system with it.
{
  _class ? null,
  config,
  lib,
  ...
}:
let
  cfg = config;
  inherit (lib) mkOption types;
  modules = {
    # An evaluation without a class: home-manager inside of nix-on-droid, or of before 2023.
    null = ./home-manager.nix;
    homeManager = ./home-manager.nix;
    nixos = ./nixos.nix;
    darwin = ./nix-darwin.nix;
  };
in
{
  imports = [
    modules.${if _class == null then "null" else _class}
      or (throw "Cannot import handpick: expected modules of home-manager, NixOS or nix-darwin, found those of ${_class}${
        lib.optionalString (_class == "nixOnDroid") "; import it in home-manager.config"
      }")
  ];

  options = {
    cachix_packages = mkOption {
      type = types.listOf types.package;
      default = [ ];
      description = "Packages to keep in the cache, as `services.handpick.packages`.";
      example = lib.literalExpression "[ pkgs.ripgrep ]";
    };
    cachix_name = mkOption {
      type = types.nullOr types.str;
      default = null;
      description = "Name of the cache at Cachix.";
      example = "mycache";
    };
    cachix_dhall = mkOption {
      type = types.nullOr (types.either types.str types.path);
      default = null;
      description = ''
        The `cachix.dhall` with the token. It is read when something is pushed, not when this is
        evaluated; `null` for the place where `cachix authtoken` puts it.
      '';
      example = "/home/me/secrets/cachix.dhall";
    };
  };

  config = lib.mkMerge [
    (lib.mkIf (cfg.cachix_packages != [ ]) {
      assertions = [
        {
          assertion = cfg.cachix_name != null;
          message = "Cannot push cachix_packages: expected the name of a cache in cachix_name, found none";
        }
      ];
    })
    (lib.mkIf (cfg.cachix_packages != [ ] && cfg.cachix_name != null) {
      services.handpick = {
        enable = lib.mkDefault true;
        caches.${cfg.cachix_name} = {
          url = "cachix://${cfg.cachix_name}";
          # A literal path turns into text without a copy in the store.
          dhallFile = lib.mkIf (cfg.cachix_dhall != null) (toString cfg.cachix_dhall);
        };
        selections.cachix_packages = {
          packages = cfg.cachix_packages;
          caches = [ cfg.cachix_name ];
        };
      };
    })
  ];
}
