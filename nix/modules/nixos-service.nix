# The units of NixOS. A start job waits for what it is ordered after, so the service is not ordered
# after the network: being offline is a failure like any other, and the timer tries again.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.handpick;
  common = import ./common.nix { inherit config lib pkgs; } "nixos";
  isStarted = cfg.trigger != "none";

  # As src/config/credentials.ts looks for them. @ is in no name of a cache.
  credentials = lib.concatLists (
    lib.mapAttrsToList (
      name: cache:
      map ({ id, file }: { inherit id; file = toString file; }) (
        lib.filter ({ file, ... }: file != null) [
          {
            id = name;
            file = cache.tokenFile;
          }
          {
            id = "cachix.dhall@${name}";
            file = cache.dhallFile;
          }
          {
            id = "netrc@${name}";
            file = cache.netrcFile;
          }
          {
            id = "signing-key@${name}";
            file = cache.signingKeyFile;
          }
        ]
      )
    ) cfg.caches
  );

  # The options that only some kinds of caches take, and the one at this URL does.
  kindOptions =
    url:
    let
      kind = (import ../cache-url.nix).kindOf url;
    in
    if kind == null then [ ] else kind.options;

  folders = lib.filter (lib.hasPrefix "file://") (lib.mapAttrsToList (_: { url, ... }: url) cfg.caches);

  select = pkgs.writeShellScript "handpick-select" common.select;

  settings = config.nix.settings or { };
  allowed = settings.allowed-users or [ "*" ];
in
{
  config = lib.mkIf cfg.enable {
    assertions =
      map ({ file, ... }: {
        assertion = lib.hasPrefix "/" file;
        message = "Cannot use services.handpick.caches: expected the full name of a file, found \"${file}\"; the service has no home";
      }) credentials
      ++ map (url: {
        # It stands in a unit, where other characters have a meaning.
        assertion = builtins.match "file://[A-Za-z0-9._~+,=:@/-]+" url != null;
        message = "Cannot use services.handpick.caches: expected a folder of letters, digits and ._~+,=:@- for the service, found \"${url}\"";
      }) folders
      ++ [
        {
          assertion = lib.any (user: lib.elem user (allowed ++ settings.trusted-users or [ ])) [
            "*"
            "handpick"
          ];
          message = "Cannot enable services.handpick: expected its user in nix.settings.allowed-users, found ${builtins.toJSON allowed}; add \"handpick\" there";
        }
      ];
    warnings = lib.concatLists (
      lib.mapAttrsToList (
        name: cache:
        lib.optional
          (
            lib.elem "tokenFile" (kindOptions cache.url)
            && cache.tokenFile == null
            && cache.tokenEnv == null
            && cache.dhallFile == null
            && !cache.optional
          )
          "services.handpick.caches.${name} has no token: set tokenFile, or nothing can be pushed there"
      ) cfg.caches
    );

    systemd.services.handpick = {
      description = "Keep packages in binary caches";
      wantedBy = lib.mkIf (cfg.trigger == "systemd") [ "multi-user.target" ];
      # The last two bring secrets, where they are units.
      after = [
        "nix-daemon.socket"
        "sops-install-secrets.service"
        "agenix-install-secrets.service"
      ];
      path = [ config.nix.package ];
      environment = (config.networking.proxy.envVars or { }) // {
        HANDPICK_STATE_DIR = "/var/lib/handpick";
        HOME = "/var/lib/handpick";
        XDG_CACHE_HOME = "/var/cache/handpick";
        # With those that the machine trusts besides.
        NIX_SSL_CERT_FILE = "/etc/ssl/certs/ca-certificates.crt";
      };
      restartTriggers = [ common.configFile ];
      serviceConfig = {
        # A switch waits for the program to be started, and no longer.
        Type = "exec";
        # Whatever goes wrong is in `handpick status` and tried again; it makes no switch fail.
        ExecStart = "-${common.program} sync --config /etc/handpick/config.toml";
        TimeoutStopSec = 10;

        # Hooks of root write into its folder, and may be first: systemd then moves the folder and
        # hands it over.
        DynamicUser = true;
        StateDirectory = "handpick";
        StateDirectoryMode = "0700";
        CacheDirectory = "handpick";
        # Readers of a folder are others; the state folder is closed to them as a whole.
        UMask = if folders == [ ] then "0077" else "0022";
        # Without a disk that is not there, the unit starts all the same.
        ReadWritePaths = map (url: "-${lib.removePrefix "file://" url}") folders;
        LoadCredential = map ({ id, file }: "${id}:${lib.replaceStrings [ "%" ] [ "%%" ] file}") credentials;
        # In place of a file that is not there, which would make the unit fail.
        SetCredential = map ({ id, ... }: "${id}:\\n") credentials;

        Nice = 10;
        IOSchedulingClass = "idle";
        CapabilityBoundingSet = "";
        LockPersonality = true;
        PrivateDevices = true;
        ProtectClock = true;
        ProtectControlGroups = true;
        ProtectHome = true;
        ProtectHostname = true;
        ProtectKernelLogs = true;
        ProtectKernelModules = true;
        ProtectKernelTunables = true;
        ProtectProc = "invisible";
        ProtectSystem = "strict";
        RestrictAddressFamilies = [
          "AF_INET"
          "AF_INET6"
          "AF_UNIX"
        ];
        RestrictNamespaces = true;
        RestrictRealtime = true;
        RestrictSUIDSGID = true;
        SystemCallArchitectures = "native";
        # Node asks for more than it needs, and has to be told no rather than be killed. Nor can it
        # do with MemoryDenyWriteExecute: it compiles.
        SystemCallErrorNumber = "EPERM";
        SystemCallFilter = [
          "@system-service"
          "~@privileged"
          "~@resources"
        ];
      }
      // lib.optionalAttrs (cfg.trigger != "activation") { ExecStartPre = "-${select}"; };
    };

    systemd.paths.handpick = lib.mkIf isStarted {
      description = "Watch for packages to keep in binary caches";
      wantedBy = [ "paths.target" ];
      pathConfig.DirectoryNotEmpty = "/var/lib/handpick/spool";
    };

    systemd.timers.handpick = lib.mkIf isStarted {
      description = "Look again for packages to keep in binary caches";
      wantedBy = [ "timers.target" ];
      timerConfig = {
        OnBootSec = "2min";
        OnUnitInactiveSec = cfg.interval;
      };
    };
  };
}
