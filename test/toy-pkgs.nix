# As much of nixpkgs as nix/ and a shell need, from the programs of the machine, and packages: `words`
# with outputs out and doc, `greet`, which refers to words, and `diary`. What nix/package.nix fetches
# comes from `npmPackages`.
{
  system ? builtins.currentSystem,
  bash ? "/bin/bash",
  node ? "",
  npmPackages ? "",
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

  pkgs = rec {
    callPackage =
      file: _overrides:
      let
        function = import file;
      in
      function (builtins.intersectAttrs (builtins.functionArgs function) pkgs);
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
        pname,
        version,
        nativeBuildInputs,
        buildCommand,
        meta ? { },
        outputHash ? "sha512-",
        impureEnvVars ? [ ],
      }:
      assert builtins.match "sha512-.*" outputHash != null;
      build "${pname}-${version}" { inherit nativeBuildInputs; } ''
        set -e
        for input in $nativeBuildInputs; do PATH=$input/bin:$PATH; done
        ${buildCommand}
      '';
    # Packs what npm would, from a folder; its hash is not that of the real package.
    nodejs_24 = build "npm" { } ''
      mkdir -p $out/bin
      cat > $out/bin/npm <<'END'
      #!${bash}
      [ "$1 $2" = "pack --silent" ] || exit 1
      cd ${npmPackages}/''${3%@*} && tar -czf "$OLDPWD/package.tgz" --transform 's,^[.],package,' .
      END
      chmod +x $out/bin/npm
    '';
    esbuild = program "esbuild" "${npmPackages}/esbuild/bin/esbuild";
    nodejs-slim_24 = program "node" node // { meta.platforms = [ system ]; };
    xz = program "xz" "$(type -P xz)";

    writeText = name: text: build name { inherit text; } ''printf %s "$text" > $out'';
    mkShellNoCC =
      {
        inputsFrom ? [ ],
        shellHook ? "",
      }:
      build "nix-shell" {
        stdenv = setup;
        outputs = [ "out" ]; # nix develop asks for it
        shellHook = builtins.concatStringsSep "\n" (map (input: input.shellHook) inputsFrom ++ [ shellHook ]);
      } "echo shell > $out";
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
    diary = build "diary-1.0" { } "echo nobody picked this > $out";
  };
in
pkgs
