# handpick for home-manager: the activation records what is selected, a service of the user
# pushes it.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.handpick;
  common = import ./common.nix { inherit config lib pkgs; } "home-manager";
  inherit (lib) mkIf mkOption types;

  stateDir = "${config.xdg.stateHome}/handpick";
  spool = "${stateDir}/spool";
  usualStateDir = "${config.home.homeDirectory}/.local/state/handpick";
  configFile = "${config.xdg.configHome}/handpick/config.toml";
  logFile = "${config.home.homeDirectory}/Library/Logs/handpick.log";

  # systemd's own characters in a word of a unit; in a command, unlike elsewhere, $ is one of them.
  word = text: ''"${lib.replaceStrings [ "\\" "\"" "%" ] [ "\\\\" "\\\"" "%%" ] text}"'';
  argument = text: lib.replaceStrings [ "$" ] [ "$$" ] (word text);
  path = lib.replaceStrings [ "%" ] [ "%%" ];
in
{
  _class = "homeManager";
  imports = [ ./options.nix ];

  options.services.handpick.trigger = mkOption {
    type = types.enum [
      "systemd"
      "launchd"
      "detach"
      "none"
    ];
    default = if pkgs.stdenv.hostPlatform.isDarwin then "launchd" else "systemd";
    defaultText = lib.literalExpression ''if pkgs.stdenv.hostPlatform.isDarwin then "launchd" else "systemd"'';
    description = ''
      The starter of `handpick sync`: units of systemd's user manager, an agent of launchd, or the hooks
      themselves, in the background (`detach`, for machines that have neither). With `none` nothing does.
    '';
    example = "detach";
  };

  config = mkIf cfg.enable {
    home.packages = [ cfg.package ];
    xdg.configFile."handpick/config.toml".source = common.configFile;

    # Hooks in the user's shells have to find the folder that the service looks at. That of root is
    # elsewhere unless told.
    home.sessionVariables = mkIf (stateDir != usualStateDir || config.home.username == "root") {
      HANDPICK_STATE_DIR = stateDir;
    };

    home.activation.handpick =
      lib.hm.dag.entryAfter
        [
          "installPackages"
          "linkGeneration"
          "onFilesChange"
          "reloadSystemd"
          "setupLaunchAgents"
        ]
        ''
          if [[ -v DRY_RUN ]]; then
            echo "handpick: would select ${common.manifest}"
          else
            (
              export HANDPICK_STATE_DIR=${lib.escapeShellArg stateDir}
              ${common.selectWith (
                lib.optionals (cfg.trigger == "detach") [
                  common.program
                  (lib.escapeShellArg configFile)
                ]
              )}
            ) || :
          fi
        '';

    # launchd looks at a folder that is there when the agent is loaded.
    home.activation.handpickSpool = mkIf (cfg.trigger == "launchd") (
      lib.hm.dag.entryBetween [ "setupLaunchAgents" ] [ "writeBoundary" ] ''
        run mkdir -p -m 700 ${lib.escapeShellArg stateDir} ${lib.escapeShellArg spool} || :
      ''
    );

    systemd.user = mkIf (cfg.trigger == "systemd") {
      paths.handpick = {
        Unit.Description = "Watch for packages to keep in binary caches";
        Path = {
          DirectoryNotEmpty = path spool;
          MakeDirectory = true;
          DirectoryMode = "0700";
        };
        Install.WantedBy = [ "default.target" ];
      };
      services.handpick = {
        Unit = {
          Description = "Keep packages in binary caches";
          # They bring secrets, where they are.
          After = [
            "sops-nix.service"
            "agenix.service"
          ];
          X-SwitchMethod = "keep-old";
        };
        Service = {
          Type = "oneshot";
          # Whatever goes wrong is in `handpick status` and tried again; it makes no switch fail.
          ExecStart = "-${common.program} sync --config ${argument configFile}";
          Environment = [ (word "HANDPICK_STATE_DIR=${stateDir}") ];
          TimeoutStopSec = 10;
          UMask = "0077";
          NoNewPrivileges = true;
          Nice = 10;
          IOSchedulingClass = "idle";
        };
      };
      timers.handpick = {
        Unit.Description = "Look again for packages to keep in binary caches";
        Timer = {
          OnStartupSec = "2min";
          OnUnitInactiveSec = cfg.interval;
        };
        Install.WantedBy = [ "timers.target" ];
      };
    };

    launchd.agents.handpick = mkIf (cfg.trigger == "launchd") {
      enable = true;
      config = {
        ProgramArguments = [
          common.program
          "sync"
          "--config"
          configFile
        ];
        EnvironmentVariables.HANDPICK_STATE_DIR = stateDir;
        RunAtLoad = true;
        QueueDirectories = [ spool ];
        StartInterval = cfg.interval;
        ProcessType = "Background";
        LowPriorityIO = true;
        StandardOutPath = logFile;
        StandardErrorPath = logFile;
      };
    };
  };
}
