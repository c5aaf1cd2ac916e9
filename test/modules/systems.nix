# A module in each system it is for: what it refuses, and the files it makes. `modules` has a list for
# each class of modules, `homeManager`, `nixos` and `darwin`.
{
  rig,
  nixpkgs,
  homeManager,
  nixDarwin,
  nixOnDroid,
  modules,
}:
let
  pkgs = import nixpkgs { };
  inherit (pkgs) lib;
  evaluate =
    file: class: arguments:
    (import (rig + file) ({ inherit nixpkgs; modules = modules.${class}; } // arguments)).config;

  home = evaluate "/hm.nix" "homeManager" { inherit homeManager; };
  nixos = evaluate "/nixos.nix" "nixos" { };
  # With packages that can be built here.
  darwin = evaluate "/darwin.nix" "darwin" {
    inherit nixDarwin;
    modules = modules.darwin ++ [ { _module.args.pkgs = lib.mkOverride 10 pkgs; } ];
  };
  droid =
    (import (nixOnDroid + "/modules") {
      inherit pkgs;
      home-manager-path = homeManager;
      isFlake = true;
      targetSystem = "aarch64-linux";
      config = {
        system.stateVersion = "24.05";
        home-manager.useGlobalPkgs = true;
        home-manager.config = {
          imports = modules.homeManager;
          home.stateVersion = "26.05";
          home.enableNixpkgsReleaseCheck = false;
        };
      };
    }).config;

  # `used` is what the system makes of the options.
  result =
    name: config: used:
    let
      common = import ../../nix/modules/common.nix { inherit config lib pkgs; } name;
      failed = lib.filter ({ assertion, ... }: !assertion) config.assertions;
    in
    {
      inherit (common) configFile manifest;
      report = builtins.toJSON {
        failed = map ({ message, ... }: message) failed;
        inherit used;
      };
    };
  ofHome =
    config:
    result "home-manager" config [
      config.home.activation.handpick.data
      config.systemd.user.services.handpick or null
      config.systemd.user.paths.handpick or null
      config.systemd.user.timers.handpick or null
      "${config.xdg.configFile."handpick/config.toml".source}"
    ];
in
{
  home-manager = ofHome home;
  nix-on-droid = ofHome droid.home-manager.config;
  NixOS = result "nixos" nixos [
    nixos.systemd.services.handpick.serviceConfig
    nixos.systemd.paths.handpick.pathConfig or null
    nixos.systemd.timers.handpick.timerConfig or null
    nixos.nix.settings
    (nixos.system.activationScripts.handpick.text or null)
    "${nixos.environment.etc."handpick/config.toml".source}"
  ];
  nix-darwin = result "nix-darwin" darwin [
    (darwin.launchd.daemons.handpick.serviceConfig or null)
    darwin.system.activationScripts.script.text
    "${darwin.environment.etc."handpick/config.toml".source}"
  ];
}
