# The program: one bundle, made from the sources by esbuild as scripts/build.ts makes it, and a
# script that starts it with a Node that is new enough.
{
  lib,
  stdenvNoCC,
  runtimeShell,
  esbuild,
  nodejs_24,
  nodejs-slim_24,
  xz,
}:
let
  json = file: builtins.fromJSON (builtins.readFile file);
  inherit (json ../package.json) version;

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
      nativeBuildInputs = [ nodejs_24 ];
      impureEnvVars = lib.fetchers.proxyImpureEnvVars;
      # npm knows where packages are.
      buildCommand = ''
        HOME=$PWD npm pack --silent ${name}@${version}
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
    # Options of a project's Node, such as --require, are not meant for this one.
    unset NODE_OPTIONS
    PATH=\''${PATH:+\$PATH:}${lib.makeBinPath [ xz ]}
    exec ${nodejs-slim_24}/bin/node $out/lib/handpick/handpick.js "\$@"
    END
    chmod +x $out/bin/handpick
  '';

  meta = {
    description = "Declare which packages your Nix binary cache holds; handpick keeps it so";
    license = lib.licenses.mit;
    mainProgram = "handpick";
    inherit (nodejs-slim_24.meta) platforms;
  };
}
