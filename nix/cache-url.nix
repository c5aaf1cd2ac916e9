# URLs of caches: a row for each kind of cache in src/cache/kinds.ts.
let
  inherit (builtins)
    any
    concatStringsSep
    filter
    head
    match
    ;
in
rec {
  # What a cache does not say of its readers.
  readerOptions = [
    "readUrl"
    "publicKeys"
    "public"
  ];

  kinds = [
    {
      form = "cachix://NAME";
      meaning = ", NAME being that of the cache at Cachix";
      holds = url: match "cachix://[A-Za-z0-9][A-Za-z0-9._-]{0,63}/?" url != null;
      # The options of a cache that it takes besides those of every kind.
      options = [
        "host"
        "tokenFile"
        "tokenEnv"
        "dhallFile"
        "signingKeyFile"
      ];
    }
    {
      form = "file:///DIR";
      meaning = ", DIR being the full name of a folder";
      holds =
        url:
        match "file://(/+[A-Za-z0-9._~!$&'()*+,;=:@%-]+)+/*" url != null
        && match ".*/([.]|%2[eE]){2}(/.*)?" url == null;
      options = [ "signingKeyFile" ] ++ readerOptions;
    }
    {
      form = "s3://BUCKET";
      meaning = ", BUCKET being the name of a bucket, with parameters behind a question mark";
      # Values of parameters are looked at by the program.
      holds =
        url:
        match "s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/?([?]([a-z-]+=[A-Za-z0-9._~:/%@!$'()*,;-]*&?)*)?" url != null;
      options = [ "signingKeyFile" ] ++ readerOptions;
    }
    {
      form = "attic://SERVER/CACHE";
      meaning = ", SERVER being a host or the name of one for Attic's client";
      holds =
        url:
        match "attic://([A-Za-z0-9][A-Za-z0-9_.+-]*|[[][0-9A-Fa-f:.]+[]])(:[0-9]{1,5})?/[A-Za-z0-9][A-Za-z0-9_+-]{0,49}/?" url != null;
      options = [
        "host"
        "tokenFile"
        "tokenEnv"
      ];
    }
    {
      form = "http(s)://HOST/DIR";
      meaning = ", a web server that takes PUT";
      # The pages of a cache at Cachix stand for cachix://NAME.
      holds =
        url:
        match "https?://([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+])(:[0-9]+)?(/[^?#[:space:]]*)?" url != null
        && match "https?://[a-z0-9-]+[.]cachix[.]org(/.*)?" url == null;
      options = [
        "tokenFile"
        "tokenEnv"
        "netrcFile"
        "signingKeyFile"
      ] ++ readerOptions;
    }
  ];

  isCacheUrl = url: any ({ holds, ... }: holds url) kinds;

  # Null for a URL of no kind.
  kindOf =
    url:
    let
      found = filter ({ holds, ... }: holds url) kinds;
    in
    if found == [ ] then null else head found;

  forms = concatStringsSep " or " (map ({ form, ... }: form) kinds);
  meanings = concatStringsSep ", or " (map ({ form, meaning, ... }: form + meaning) kinds);
}
