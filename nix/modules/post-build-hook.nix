# Nix has one post-build-hook. Ours gives way to another one, and says so.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.handpick;
  inherit (import ../lib.nix { inherit pkgs; }) postBuildHook;
  found = config.nix.settings.post-build-hook or null;
in
{
  options.services.handpick.postBuildHook.enable = lib.mkOption {
    type = lib.types.bool;
    default = false;
    description = ''
      Whether Nix is to report every build, so that what `builds.include` accepts is pushed, and with
      `builds.manifests` what built manifests name.
    '';
    example = true;
  };

  config = lib.mkIf (cfg.enable && cfg.postBuildHook.enable) {
    nix.settings.post-build-hook = lib.mkDefault postBuildHook;
    assertions = [
      {
        assertion = found == postBuildHook;
        message = "Cannot enable services.handpick.postBuildHook: Nix has one post-build-hook, and it is ${toString found}";
      }
      {
        assertion = !(lib.hasInfix "post-build-hook" (config.nix.extraOptions or ""));
        message = "Cannot enable services.handpick.postBuildHook: nix.extraOptions sets a post-build-hook";
      }
    ];
  };
}
