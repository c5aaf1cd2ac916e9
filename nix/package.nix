# The program: one bundle, made from the sources by esbuild as scripts/build.ts makes it, and a
# script that starts it with a Node that is new enough.
{
  lib,
  stdenvNoCC,
  runtimeShell,
  esbuild,
  cacert,
  bzip2,
  xz,
  # Each of them may be missing, or an alias that throws.
  nodejs-slim_26 ? null,
  nodejs_26 ? null,
  nodejs-slim_25 ? null,
  nodejs_25 ? null,
  nodejs-slim_24 ? null,
  nodejs_24 ? null,
  nodejs-slim_latest ? null,
  nodejs_latest ? null,
  nodejs-slim ? null,
  nodejs ? null,
}:
let
  json = file: builtins.fromJSON (builtins.readFile file);
  inherit (json ../package.json) version engines;
  oldest = builtins.substring 2 (-1) engines.node; # of ">=24.15"

  # The ones that this nixpkgs has and would build: not thrown out, not marked as insecure.
  isHere = node: (builtins.tryEval (node != null && node.meta.available or true && node ? version)).value;
  isNewer = a: b: builtins.compareVersions a.version b.version > 0;
  newest =
    nodes:
    builtins.foldl' (best: node: if best == null || isNewer node best then node else best) null (
      lib.filter isHere nodes
    );

  withNpm = newest [
    nodejs_26
    nodejs_25
    nodejs_24
    nodejs_latest
    nodejs
  ];
  # Slim ones first: of two that are as new, the first is taken.
  found = newest [
    nodejs-slim_26
    nodejs-slim_25
    nodejs-slim_24
    nodejs-slim_latest
    nodejs-slim
    withNpm
  ];
  node =
    if found != null && builtins.compareVersions found.version oldest >= 0 then
      found
    else
      throw "handpick: Cannot build the program: expected a nixpkgs with Node ${oldest} or newer, found ${
        if found == null then "none" else found.version
      }; take a newer nixpkgs";

  # npm's own builders need the address of each package in the lock file, and fetch the tools for
  # development too. What goes into the bundle is a few small packages, and their hashes are there.
  locked = removeAttrs (json ../package-lock.json).packages [ "" ];
  isBundled =
    path:
    let
      package = locked.${path};
    in
    !(package.dev or package.devOptional or package.optional or package.peer or false);
  fetch =
    path:
    let
      name = lib.last (lib.splitString "node_modules/" path);
      inherit (locked.${path}) version integrity;
    in
    stdenvNoCC.mkDerivation {
      pname = baseNameOf name;
      inherit version;
      outputHash = integrity;
      nativeBuildInputs = [
        withNpm
        cacert
      ];
      # Where a proxy or a mirror is used, the environment of Nix (of its daemon) says so.
      impureEnvVars = lib.fetchers.proxyImpureEnvVars ++ [ "npm_config_registry" ];
      # npm knows where packages are. The certificates of the builder's environment are none, and
      # Node reads those of the system only if told to.
      buildCommand = ''
        export HOME=$PWD NODE_EXTRA_CA_CERTS=${cacert}/etc/ssl/certs/ca-bundle.crt
        npm pack --loglevel=error --update-notifier=false ${name}@${version}
        mv ./*.tgz $out
      '';
    };
  unpack = path: ''
    mkdir -p ${path}
    tar -xzf ${fetch path} -C ${path} --strip-components=1
  '';
in
stdenvNoCC.mkDerivation {
  pname = "handpick";
  inherit version;
  nativeBuildInputs = [ esbuild ];

  buildCommand = ''
    ${lib.concatMapStrings unpack (lib.filter isBundled (lib.attrNames locked))}
    cp -r ${../src} src
    cp ${../package.json} package.json
    cp ${../tsconfig.json} tsconfig.json
    esbuild handpick=src/main.ts pack-worker=src/push/pack-worker.ts \
      --outdir=$out/lib/handpick --chunk-names='chunk-[hash]' --bundle --splitting \
      --format=esm --platform=node --target=node24 --minify-syntax --minify-whitespace \
      --legal-comments=linked --define:HANDPICK_VERSION='"${version}"' --log-level=warning \
      --banner:js='import{createRequire as __createRequire}from"node:module";const require=__createRequire(import.meta.url);'

    mkdir $out/bin
    cat > $out/bin/handpick <<END
    #!${runtimeShell}
    # As in bin/handpick: what a project sets for its own Node is not meant for this one.
    unset HANDPICK_NODE_OPTIONS
    [ -z "\''${NODE_OPTIONS+set}" ] || export HANDPICK_NODE_OPTIONS="\$NODE_OPTIONS"
    unset NODE_OPTIONS NODE_PATH NODE_COMPILE_CACHE NODE_TLS_REJECT_UNAUTHORIZED NODE_DEBUG NODE_DEBUG_NATIVE
    PATH=\''${PATH:+\$PATH:}${lib.makeBinPath [ bzip2 xz ]}
    exec ${node}/bin/node $out/lib/handpick/handpick.js "\$@"
    END
    chmod +x $out/bin/handpick
  '';

  meta = {
    description = "Declare which packages your Nix binary cache holds; handpick keeps it so";
    license = lib.licenses.mit;
    mainProgram = "handpick";
    inherit (node.meta) platforms;
  };
}
