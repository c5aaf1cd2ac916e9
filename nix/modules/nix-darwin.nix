# handpick for nix-darwin: a daemon of launchd, which a switch loads again when the selection changed.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.handpick;
  common = import ./common.nix { inherit config lib pkgs; } "nix-darwin";
  inherit (lib) mkIf mkOption types;
  stateDir = "/var/lib/handpick";
  logFile = "/var/log/handpick.log";
in
{
  _class = "darwin";
  imports = [ ./options.nix ];

  options.services.handpick.trigger = mkOption {
    type = types.enum [
      "launchd"
      "none"
    ];
    default = "launchd";
    description = "The starter of `handpick sync`: a daemon of launchd, or nothing.";
    example = "none";
  };

  config = mkIf cfg.enable {
    environment.systemPackages = [ cfg.package ];
    environment.etc."handpick/config.toml".source = common.configFile;

    # launchd watches a folder that is there when it loads the daemon; this runs before.
    system.activationScripts.extraActivation.text = mkIf (cfg.trigger == "launchd") ''
      (
        mkdir -p /var/lib
        umask 077
        mkdir -p ${stateDir}/spool
      ) || :
    '';

    launchd.daemons.handpick = mkIf (cfg.trigger == "launchd") {
      script = ''
        (
          ${common.select}
        ) || :
        exec ${common.program} sync --config /etc/handpick/config.toml
      '';
      serviceConfig = {
        EnvironmentVariables = {
          HANDPICK_STATE_DIR = stateDir;
          HOME = "/var/root";
          NIX_SSL_CERT_FILE = "/etc/ssl/certs/ca-certificates.crt";
        };
        RunAtLoad = true;
        QueueDirectories = [ "${stateDir}/spool" ];
        StartInterval = cfg.interval;
        ProcessType = "Background";
        LowPriorityIO = true;
        StandardOutPath = logFile;
        StandardErrorPath = logFile;
      };
    };
  };
}
