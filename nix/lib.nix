# Selections: which packages a cache is to hold, declared where they are built.
#
#   handpick = import ./nix/lib.nix { inherit pkgs; };
#   handpick.manifest { name = "mine"; packages = [ pkgs.ripgrep ]; }
#
# Needs nothing of `pkgs` but writeText, mkShellNoCC and coreutils, and evaluates purely.
#
# `handpick` is the package of the program, for shells to start where no service manager does;
# without it they look on PATH.
{
  pkgs,
  handpick ? null,
}:
let
  inherit (builtins)
    elem
    hasContext
    hashString
    isAttrs
    isString
    match
    substring
    toJSON
    unsafeDiscardStringContext
    ;
  inherit (import ./cache-url.nix) forms isCacheUrl;

  # Names that src/nix/manifest.ts and links allow. Others are refused here, so that the evaluation
  # fails, rather than the program that reads the manifest later.
  require =
    what: rule: holds: value:
    if holds value then
      value
    else
      throw "handpick: Cannot make a manifest: ${what}: expected ${rule}, found ${toJSON value}";
  nameOk = name: match "[A-Za-z0-9_][A-Za-z0-9._-]{0,63}" name != null;
  cacheOk = cache: match "[A-Za-z0-9][A-Za-z0-9._-]{0,63}" cache != null || isCacheUrl cache;
  closureOk = closure: elem closure [ "runtime" "self" "build" ];
  triggerOk = trigger: elem trigger [ "auto" "none" ];

  # A package, or a set of one with options of its own. Some packages have an attribute `package`.
  pick =
    defaults: entry:
    if isAttrs entry && (entry.type or null) != "derivation" then
      pickWith (defaults // entry // (if entry ? package then { package = packageOf entry.package; } else { }))
    else
      pickWith (defaults // { package = packageOf entry; });

  # Text such as "${pkgs.hello}" is the one output that it names, and has it built.
  packageOf =
    given:
    let
      text = unsafeDiscardStringContext given;
    in
    if isAttrs given then
      given
    else if isString given && hasContext given && dirOf text == builtins.storeDir then
      {
        name = substring 33 (-1) (baseNameOf text);
        out = given;
      }
    else
      throw "handpick: Cannot make a manifest: packages: expected a package or { package, … }, found ${
        if isString given then toJSON text else "a ${builtins.typeOf given}"
      }";

  pickWith =
    {
      package,
      name ? package.pname or (builtins.parseDrvName package.name).name,
      # All of them, unless it is one already, such as openssl.dev.
      outputs ?
        if package.outputSpecified or false then [ package.outputName ] else package.outputs or [ "out" ],
      caches ? null,
      closure ? "runtime",
      exclude ? [ ],
      pin ? null,
    }:
    {
      inherit name exclude pin;
      # The text of the file refers to the outputs, so it cannot be there without them.
      paths = map (output: "${package.${output}}") outputs;
      closure = require "closure" "runtime, self or build" closureOk closure;
      caches =
        if caches == null then
          null
        else
          map (require "caches" "the name of a cache, ${forms}" cacheOk) caches;
    };

  # From the arguments that all functions take to what goes into the file.
  picksOf =
    {
      packages,
      cache ? null,
      caches ? if cache == null then null else [ cache ],
      closure ? "runtime",
      exclude ? [ ],
      # Programs that do not know the hint tell of what they cannot push.
      optional ? false,
    }:
    map (
      entry:
      pick { inherit caches closure exclude; } entry
      // (if optional then { hints.optional = true; } else { })
    ) packages;

  writeManifest =
    given: picks:
    let
      name = require "name" "up to 64 letters, digits and ._-" nameOk given;
    in
    pkgs.writeText "handpick-${name}.json" (toJSON {
      version = 1;
      inherit name picks;
    });

  # A store file that names the packages and keeps them alive.
  manifest = { name, ... }@arguments: writeManifest name (picksOf (removeAttrs arguments [ "name" ]));

  # The same, to be built instead of the packages: `handpick push $(nix-build …)`. The post-build hook,
  # exec and watch push what it names only with `manifests = true` in [builds], and without pins.
  cachixPackages =
    arguments:
    if arguments ? cache || arguments ? caches then
      manifest ({ name = "cachix-packages"; } // arguments)
    else
      throw "handpick: Cannot make a manifest: cachixPackages: expected cache or caches, found neither";

  # Text that selects packages when a shell runs it. Unless something else is there to do it, it
  # starts a sync in the background; with `trigger = "none"` it never does.
  shellHook =
    {
      name ? null,
      trigger ? "auto",
      ...
    }@arguments:
    let
      picks = picksOf (
        removeAttrs arguments [
          "name"
          "trigger"
        ]
      );
      # Shells without a name must not take each other's place.
      digest = hashString "sha256" (unsafeDiscardStringContext (toJSON picks));
      selection = if name == null then "shell-${substring 0 16 digest}" else name;
      tools = "${pkgs.coreutils}/bin";
      program =
        if require "trigger" "auto or none" triggerOk trigger == "none" then
          ""
        else if handpick == null then
          "handpick"
        else
          "${handpick}/bin/handpick";
    in
    ''
      if [ -r ${../hook/handpick.sh} ]; then
        . ${../hook/handpick.sh}
        _handpick_select ${selection} ${writeManifest selection picks} ${tools} ${program} || :
        _handpick_forget
      fi
    '';

  # The same as a file, for whoever can only source one, as an `.envrc` can.
  shellHookFile = arguments: pkgs.writeText "handpick-shell-hook" (shellHook arguments);

  # The same as a shell, for `inputsFrom`.
  shell = arguments: pkgs.mkShellNoCC { shellHook = shellHook arguments; };

  # For nix.conf.
  postBuildHook = "${../hook}/post-build-hook";
in
{
  inherit
    cachixPackages
    manifest
    postBuildHook
    shell
    shellHook
    shellHookFile
    ;
}
