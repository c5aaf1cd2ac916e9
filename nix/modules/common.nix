# Makes of the options of all modules: the manifest, the configuration file, and the hook.
{
  config,
  lib,
  pkgs,
}:
name:
let
  cfg = config.services.handpick;
  library = import ../lib.nix { inherit pkgs; };
  given = lib.filterAttrs (_: value: value != null);

  # Entries as nix/lib.nix takes them: with the rules of their selection, unless they have their own.
  entriesOf =
    {
      packages,
      caches ? null,
      exclude ? [ ],
      closure ? "runtime",
    }:
    map (
      entry:
      {
        inherit caches exclude closure;
      }
      // (if lib.isDerivation entry || lib.isString entry then { package = entry; } else given entry)
    ) packages;

  cacheTable =
    cache:
    given {
      inherit (cache) url host;
      # Paths turn into text without a copy in the store.
      token-file = if cache.tokenFile == null then null else toString cache.tokenFile;
      token-env = cache.tokenEnv;
      dhall-file = if cache.dhallFile == null then null else toString cache.dhallFile;
      netrc-file = if cache.netrcFile == null then null else toString cache.netrcFile;
      signing-key-file = if cache.signingKeyFile == null then null else toString cache.signingKeyFile;
      sign = if cache.sign == "all" then null else cache.sign;
      inherit (cache) upstreams compression public;
      compression-level = cache.compressionLevel;
      read-url = cache.readUrl;
      public-keys = cache.publicKeys;
      optional = if cache.optional then true else null;
      build-logs = if cache.buildLogs then true else null;
      listings = if cache.listings then true else null;
      realisations = if cache.realisations then true else null;
    };

  settings = {
    caches = lib.mapAttrs (_: cacheTable) cfg.caches;
    rules = given {
      inherit (cfg.rules) exclude;
      max-nar-size = cfg.rules.maxNarSize;
      on-hole = cfg.rules.onHole;
    };
    builds = { inherit (cfg.builds) include caches manifests; };
  };
in
rec {
  inherit (library) postBuildHook;

  manifest = library.manifest {
    inherit name;
    packages = lib.concatMap entriesOf ([ { inherit (cfg) packages; } ] ++ lib.attrValues cfg.selections);
  };

  configFile = (pkgs.formats.toml { }).generate "handpick.toml" (
    lib.recursiveUpdate settings cfg.settings
  );

  program = "${lib.getBin cfg.package}/bin/handpick";

  # For a subshell: records what is selected. With a program, the hook starts that one in the
  # background.
  selectWith = programs: ''
    . ${../../hook/handpick.sh}
    _handpick_select ${
      lib.concatStringsSep " " (
        [
          name
          manifest
          "${pkgs.coreutils}/bin"
        ]
        ++ programs
      )
    } || :
  '';
  select = selectWith [ ];
}
