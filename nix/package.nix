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
  # development too. What goes into the bundle comes in one download, whose hash is that of all files:
  # test/nix-package.test.ts says which it has to be. The same files have the same place in the store
  # whatever the version of handpick.
  modules = stdenvNoCC.mkDerivation {
    name = "handpick-node-modules";
    outputHashMode = "recursive";
    outputHash = "sha256-0HmJZUjiFKA1XLl48iqM0bH+TKw3csF0UhSJ7O9ybXs=";
    nativeBuildInputs = [
      withNpm
      cacert
    ];
    # Where a proxy or a mirror is used, the environment of Nix (of its daemon) says so.
    impureEnvVars = lib.fetchers.proxyImpureEnvVars ++ [ "npm_config_registry" ];
    # npm knows where packages are, and checks them by the lock file. The certificates of the builder's
    # environment are none, and Node reads those of the system only if told to.
    buildCommand = ''
      export HOME=$PWD NODE_EXTRA_CA_CERTS=${cacert}/etc/ssl/certs/ca-bundle.crt
      cp ${../package.json} package.json
      cp ${../package-lock.json} package-lock.json
      npm ci --omit=dev --omit=optional --omit=peer --ignore-scripts --no-bin-links \
        --no-audit --no-fund --loglevel=error --update-notifier=false
      rm node_modules/.package-lock.json
      find node_modules -type f -exec chmod a-x {} +
      mkdir $out
      mv node_modules $out
    '';
  };
in
stdenvNoCC.mkDerivation {
  pname = "handpick";
  inherit version;
  nativeBuildInputs = [ esbuild ];

  buildCommand = ''
    ln -s ${modules}/node_modules node_modules
    cp -r ${../src} src
    cp ${../package.json} package.json
    cp ${../tsconfig.json} tsconfig.json
    bundle() {
      esbuild "$@" --outdir=$out/lib/handpick --bundle --format=esm --platform=node --target=node24 --main-fields=module,main \
        --minify-syntax --minify-whitespace --legal-comments=linked \
        --define:HANDPICK_VERSION='"${version}"' --log-level=warning
    }
    bundle handpick=src/main.ts --splitting --chunk-names='chunk-[hash]'
    bundle src/push/pack-worker.ts
    ${node}/bin/node ${../scripts/builtin-imports.ts} $out/lib/handpick/*.js

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
