# Types of the options, which are the same for home-manager, NixOS and nix-darwin.
{ lib }:
let
  inherit (lib) literalExpression mkOption types;

  optional =
    type: rest:
    mkOption (
      {
        type = types.nullOr type;
        default = null;
      }
      // rest
    );

  flag =
    rest:
    mkOption (
      {
        type = types.bool;
        default = false;
        example = true;
      }
      // rest
    );

  closures = types.enum [
    "runtime"
    "self"
    "build"
  ];

  closureMeaning = ''
    `runtime`: the packages and all they refer to. `self`: the packages alone. `build`: also what
    they were built from, as far as it is here.
  '';

  # A literal path is let in only to be refused with a reason (assertions.nix): an error of the type
  # would not give one.
  secretFile = lib.mkOptionType {
    name = "secretFile";
    description = "name of a file outside of the Nix store, as a string";
    check = value: builtins.isString value || builtins.isPath value;
    merge = lib.options.mergeEqualOption;
  };

  globs = types.listOf types.str;

  pickOptions = {
    package = mkOption {
      type = types.package;
      description = "The package.";
      example = literalExpression "pkgs.gcc";
    };
    outputs = optional (types.listOf types.str) {
      description = "Its outputs that are wanted; `null` for all of them, or for the one that the package is.";
      example = [ "out" ];
    };
    name = optional types.str {
      description = "Its name in plans; `null` for the name of the package.";
      example = "gcc";
    };
    pin = optional types.str {
      description = "Name under which the cache is to keep it from its own garbage collection.";
      example = "gcc";
    };
    caches = optional (types.listOf types.str) {
      description = "Caches it is for, instead of those of the selection.";
      example = [ "mine" ];
    };
    closure = optional closures {
      description = "The dependencies to push with it, in place of those of the selection. ${closureMeaning}";
      example = "self";
    };
    exclude = optional globs {
      description = "Globs of paths that it does without, instead of those of the selection.";
      example = [ "*-doc" ];
    };
  };
in
rec {
  inherit globs secretFile;

  # A package, or a set of one with options of its own.
  picks = types.listOf (types.either types.package (types.submodule { options = pickOptions; }));

  cache = types.submodule {
    options = {
      url = mkOption {
        type = types.str;
        description = ''
          The cache: `cachix://NAME`, `file:///DIR` for a folder, `https://HOST/DIR` for a web server that takes PUT,
          `s3://BUCKET`, or `attic://SERVER/CACHE`.
        '';
        example = "cachix://mycache";
      };
      host = optional types.str {
        description = "Another server that speaks the same protocol; of `attic://` another address than `https://SERVER`.";
        example = "http://127.0.0.1:8080";
      };
      tokenFile = optional secretFile {
        description = ''
          File with the token. It is read when something is pushed, and may come into being later. A
          path literal would be copied to the store, where everybody can read it, and is refused.
        '';
        example = "/run/secrets/cachix";
      };
      tokenEnv = optional types.str {
        description = "Variable with the token, in the environment of the service.";
        example = "MY_CACHIX_TOKEN";
      };
      dhallFile = optional secretFile {
        description = ''
          A `cachix.dhall` with token and signing key, as `cachix authtoken` writes it; `null` for
          `~/.config/cachix/cachix.dhall`.
        '';
        example = "/home/me/secrets/cachix.dhall";
      };
      netrcFile = optional secretFile {
        description = ''
          A `netrc` with user and password for a web server; `null` for the one that Nix reads, as far as the user of
          the service may read it.
        '';
        example = "/run/secrets/netrc";
      };
      signingKeyFile = optional secretFile {
        description = ''
          File with the key to sign with; without one Cachix signs, and folders, web servers and buckets get the
          signatures of the store only. An Attic server signs itself, and takes none.
        '';
        example = "/run/secrets/cache-key";
      };
      sign = mkOption {
        type = types.enum [
          "all"
          "own"
          "none"
        ];
        default = "all";
        description = ''
          The signatures that readers get: `all`, those of the store and ours; `own`, ours only; `none`, those of
          the store only.
        '';
        example = "own";
      };
      upstreams = optional (types.listOf types.str) {
        description = ''
          Caches that every reader of this one has. Paths that they serve are not pushed. `null` for those of its
          kind: none for `cachix://` and `file://`, cache.nixos.org for others. `[ ]` makes the cache whole.
        '';
        example = [ "https://nix-community.cachix.org" ];
      };
      compression = optional (types.enum [
        "zstd"
        "xz"
        "none"
      ]) {
        description = "Compression; `null` for the one that the cache prefers.";
        example = "zstd";
      };
      compressionLevel = optional types.int {
        description = "1 to 19 for `zstd`, 0 to 9 for `xz`.";
        example = 9;
      };
      readUrl = optional types.str {
        description = "Where readers find the cache, if not at its URL; for a folder, a web server or a bucket.";
        example = "https://mirror.example.org/nix";
      };
      publicKeys = optional (types.listOf types.str) {
        description = "Keys that its readers have, for a folder, a web server or a bucket. A push with another key is refused.";
        example = [ "web-1:tXEEerIzOBH81d2uY2sFUkRMrUx8HpMRG5PtjgNrfGY=" ];
      };
      public = optional types.bool {
        description = "Whether everybody may read it; `null` for what the cache says, else yes.";
        example = false;
      };
      optional = mkOption {
        type = types.bool;
        default = false;
        description = ''
          Whether machines that have no token may do without it: there the cache is asked nothing, and only
          `handpick status` tells of it.
        '';
        example = true;
      };
      buildLogs = flag {
        description = ''
          Whether a folder, a web server or a bucket gets the log of the build of each path. Its readers read the logs,
          and secrets that a build printed.
        '';
      };
      listings = flag {
        description = "Whether a folder, a web server or a bucket gets a listing of the files of each path, as `HASH.ls`.";
      };
      realisations = flag {
        description = "Whether a folder, a web server or a bucket gets the realisations of content-addressed derivations.";
      };
    };
  };

  selection = types.submodule {
    options = {
      packages = mkOption {
        type = picks;
        default = [ ];
        description = ''
          Packages, or sets of a `package` and, as far as they differ from the selection, `outputs`,
          `name`, `pin`, `caches`, `closure` and `exclude`.
        '';
        example = literalExpression ''
          [
            pkgs.ripgrep
            {
              package = pkgs.gcc;
              outputs = [ "out" ];
              closure = "self";
              pin = "gcc";
            }
          ]
        '';
      };
      caches = optional (types.listOf types.str) {
        description = "Names or URLs of caches of this configuration, or `cachix://NAME`; `null` for all that are configured.";
        example = [ "mine" ];
      };
      exclude = mkOption {
        type = globs;
        default = [ ];
        description = "Globs of paths to leave out, unless another selection needs them.";
        example = [ "*-doc" ];
      };
      closure = mkOption {
        type = closures;
        default = "runtime";
        description = "The dependencies to push. ${closureMeaning}";
        example = "build";
      };
    };
  };
}
