# Assertions that fail before anything is built. The program checks the rest.
{ config, lib, ... }:
let
  cfg = config.services.handpick;
  inherit (lib) concatLists concatStringsSep mapAttrsToList;
  urls = import ../cache-url.nix;

  known = lib.unique (lib.attrNames cfg.caches ++ lib.attrNames (cfg.settings.caches or { }));
  configured = mapAttrsToList (_: { url, ... }: url) cfg.caches;
  # What is wanted goes to a folder or a web server only by a table.
  isKnown = cache: lib.elem cache (known ++ configured) || lib.hasPrefix "cachix://" cache;
  isName = name: builtins.match "[A-Za-z0-9][A-Za-z0-9._-]{0,63}" name != null && builtins.match "[0-9]+" name == null;

  # { where = "the option"; caches = what it names; }
  cachesOf =
    where: entries:
    lib.imap0 (index: entry: {
      where = "${where}[${toString index}].caches";
      caches = if lib.isDerivation entry || lib.isString entry || entry.caches == null then [ ] else entry.caches;
    }) entries;
  named =
    cachesOf "packages" cfg.packages
    ++ concatLists (
      mapAttrsToList (
        name: selection:
        [
          {
            where = "selections.${name}.caches";
            caches = if selection.caches == null then [ ] else selection.caches;
          }
        ]
        ++ cachesOf "selections.${name}.packages" selection.packages
      ) cfg.selections
    );
  strays = concatLists (
    map ({ where, caches }: map (cache: { inherit where cache; }) (lib.filter (cache: !isKnown cache) caches)) named
  );
  strayBuilds = lib.filter (cache: !lib.elem cache known) cfg.builds.caches;

  kindOptions = lib.unique (concatLists (map ({ options, ... }: options) urls.kinds));
  strayOptions = concatLists (
    mapAttrsToList (
      cache: given:
      let
        kind = urls.kindOf given.url;
        isStray = option: kind != null && given.${option} != null && !lib.elem option kind.options;
      in
      map (option: {
        inherit cache option;
        inherit (kind) form;
      }) (lib.filter isStray kindOptions)
    ) cfg.caches
  );

  secrets = concatLists (
    mapAttrsToList (
      cache: options:
      map (option: {
        name = "services.handpick.caches.${cache}.${option}";
        value = options.${option};
      }) (lib.filter (option: options.${option} != null) [ "tokenFile" "dhallFile" "netrcFile" "signingKeyFile" ])
    ) cfg.caches
    ++ mapAttrsToList (
      cache: given:
      map (key: {
        name = "services.handpick.settings.caches.${cache}.${key}";
        value = given.${key};
      }) (lib.filter (key: given ? ${key}) [ "token-file" "dhall-file" "netrc-file" "signing-key-file" ])
    ) (cfg.settings.caches or { })
  );
  isInStore = value: lib.hasPrefix "${builtins.storeDir}/" (toString value);
  because = "everybody could read it, and it could be pushed; name a file by a string, such as \"/run/secrets/cachix\"";
in
{
  config = lib.mkIf cfg.enable {
    assertions =
      [
        {
          assertion = known != [ ];
          message = "Cannot enable services.handpick: expected a cache in services.handpick.caches, found none";
        }
      ]
      ++ map (cache: {
        assertion = isName cache;
        message = "Cannot use the cache services.handpick.caches.\"${cache}\": expected a name of up to 64 letters, digits and ._-, not a number only";
      }) (lib.attrNames cfg.caches)
      ++ mapAttrsToList (cache: { url, ... }: {
        assertion = urls.isCacheUrl url;
        message = "Cannot use services.handpick.caches.${cache}.url: expected ${urls.meanings}, found \"${url}\"";
      }) cfg.caches
      ++ map ({ cache, option, form }: {
        assertion = false;
        message = "Cannot use services.handpick.caches.${cache}.${option}: a cache of ${form} takes none";
      }) strayOptions
      ++ map ({ where, cache }: {
        assertion = false;
        message = "Cannot use services.handpick.${where}: expected ${concatStringsSep ", " known} or cachix://NAME, found \"${cache}\"";
      }) strays
      ++ map (cache: {
        assertion = false;
        message = "Cannot use services.handpick.builds.caches: expected ${concatStringsSep ", " known}, found \"${cache}\"";
      }) strayBuilds
      ++ map ({ name, value }: {
        assertion = !(builtins.isPath value || isInStore value);
        message = "Cannot use ${name}: expected a file outside of the Nix store, found ${
          if builtins.isPath value then "a path literal" else "one below ${builtins.storeDir}"
        }: ${because}";
      }) secrets;
  };
}
