# handpick for NixOS: a switch starts the service if the selection changed, since that is part of its
# unit.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.handpick;
  common = import ./common.nix { inherit config lib pkgs; } "nixos";
  inherit (lib) mkIf mkOption types;
in
{
  _class = "nixos";
  imports = [
    ./options.nix
    ./nixos-service.nix
    ./post-build-hook.nix
  ];

  options.services.handpick.trigger = mkOption {
    type = types.enum [
      "systemd"
      "activation"
      "none"
    ];
    default = "systemd";
    description = ''
      The starter of `handpick sync`: the switch, as it starts changed units, then a timer and what hooks
      leave (`systemd`); the same with an activation script instead of the changed unit, which NixOS
      is giving up (`activation`); or only `systemctl start handpick` (`none`).
    '';
    example = "none";
  };

  config = mkIf cfg.enable {
    environment.systemPackages = [ cfg.package ];
    environment.etc."handpick/config.toml".source = common.configFile;

    # At boot there is neither a network nor a service to take the word.
    system.activationScripts.handpick = mkIf (cfg.trigger == "activation") {
      deps = [
        "etc"
        "users"
        "specialfs"
      ];
      supportsDryActivation = false;
      text = ''
        (
          case "''${NIXOS_ACTION-}" in
            switch | test)
              export HANDPICK_STATE_DIR=/var/lib/handpick
              ${common.select}
              ;;
          esac
        ) </dev/null >/dev/null 2>&1 || :
      '';
    };
  };
}
