# As much of nixpkgs as nix/ and a shell need, from the programs of the machine, and packages: `words`
# with outputs out and doc, `greet`, which refers to words, and `diary`.
#
# `node` is a program, `npm` and `esbuild` are scripts for it, `certificates` is a bundle. `nodes` has
# the versions of packages of Node, or null for an alias that throws; those in `insecure` are not built.
{
  system ? builtins.currentSystem,
  bash ? "/bin/bash",
  node ? "",
  npm ? "",
  esbuild ? "",
  certificates ? "",
  insecure ? [ ],
  nodes ? {
    nodejs_24 = "24.15.0";
    nodejs-slim_24 = "24.15.0";
  },
}:
let
  build =
    name: attributes: script:
    derivation (
      {
        inherit name system;
        builder = bash;
        PATH = "/usr/bin:/bin:/run/current-system/sw/bin";
        # Bash would become its last command. Some close their output before they end, and Nix then
        # takes the builder for done and kills it.
        args = [
          "-c"
          "set -e\n${script}\nexit 0"
        ];
      }
      // attributes
    );
  setup = build "setup" { } ''
    mkdir $out
    echo 'export PATH; runHook() { eval "''${!1-}"; }' > $out/setup
  '';
  program = name: path: build name { } "mkdir -p $out/bin; ln -s ${path} $out/bin/${name}";

  esbuildProgram = esbuild;

  # Node with npm, which knows no certificates but those that it is given: no configuration of the
  # machine, and OpenSSL's own store, as distributions have it.
  nodePackage =
    name: version:
    build "node-${version}" { } ''
      mkdir -p $out/bin
      ln -s ${node} $out/bin/node
      cat > $out/bin/npm <<'END'
      #!${bash}
      export NODE_OPTIONS=--use-openssl-ca SSL_CERT_DIR=/nowhere npm_config_globalconfig=/nowhere
      export npm_config_fetch_retry_mintimeout=500 npm_config_fetch_retry_maxtimeout=2000
      exec ${node} ${npm} "$@"
      END
      chmod +x $out/bin/npm
    ''
    // {
      inherit version;
      meta = {
        available = !builtins.elem name insecure;
        platforms = [ system ];
      };
    };
  nodePackages = builtins.mapAttrs (
    name: version: if version == null then throw "${name} is gone" else nodePackage name version
  ) nodes;

  pkgs = rec {
    callPackage =
      file: _overrides:
      let
        function = import file;
      in
      function (builtins.intersectAttrs (builtins.functionArgs function) (pkgs // nodePackages));
    lib = rec {
      inherit (builtins) attrNames filter;
      last = list: builtins.elemAt list (builtins.length list - 1);
      splitString = by: text: filter builtins.isString (builtins.split by text);
      concatMapStrings = f: list: builtins.concatStringsSep "" (map f list);
      makeBinPath = packages: builtins.concatStringsSep ":" (map (package: "${package}/bin") packages);
      licenses.mit = { };
      fetchers.proxyImpureEnvVars = [ ];
    };
    runtimeShell = bash;
    stdenvNoCC.mkDerivation =
      {
        pname ? "",
        version ? "",
        name ? "${pname}-${version}",
        nativeBuildInputs,
        buildCommand,
        meta ? { },
        ...
      }@arguments:
      # The certificates of builders in nixpkgs are a file that does not exist.
      build name
        (
          {
            inherit nativeBuildInputs;
            SSL_CERT_FILE = "/no-cert-file.crt";
            NIX_SSL_CERT_FILE = "/no-cert-file.crt";
          }
          // builtins.intersectAttrs {
            outputHash = null;
            outputHashMode = null;
            impureEnvVars = null;
          } arguments
        )
        ''
          set -e
          for input in $nativeBuildInputs; do PATH=$input/bin:$PATH; done
          ${buildCommand}
        '';
    cacert = build "cacert" { } ''
      mkdir -p $out/etc/ssl/certs
      cat ${certificates} > $out/etc/ssl/certs/ca-bundle.crt
    '';
    esbuild = program "esbuild" esbuildProgram;
    bzip2 = program "bzip2" "$(type -P bzip2)";
    xz = program "xz" "$(type -P xz)";

    writeText = name: text: build name { inherit text; } ''printf %s "$text" > $out'';
    mkShellNoCC =
      {
        inputsFrom ? [ ],
        shellHook ? "",
      }:
      # Without a PATH of its own: nix-shell would take that for the user's.
      derivation {
        name = "nix-shell";
        inherit system;
        builder = bash;
        args = [
          "-c"
          "echo shell > $out"
        ];
        stdenv = setup;
        outputs = [ "out" ]; # nix develop asks for it
        shellHook = builtins.concatStringsSep "\n" (map (input: input.shellHook) inputsFrom ++ [ shellHook ]);
      };
    mkShell = mkShellNoCC;
    coreutils = build "coreutils" { } ''
      mkdir -p $out/bin
      for tool in date ln mkdir mv readlink; do ln -s "$(type -P $tool)" $out/bin/; done
    '';
    words = build "words-1.0" {
      pname = "words";
      outputs = [
        "out"
        "doc"
      ];
    } "echo words > $out; echo doc > $doc";
    greet = build "greet-1.0" { inherit words; } "echo $words > $out";
    hello = build "hello-2.12" { } "echo hello > $out";
    diary = build "diary-1.0" { } "echo nobody picked this > $out";
  };
in
pkgs
