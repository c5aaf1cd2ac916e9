# As much of nixpkgs as nix/lib.nix and a shell need, from the programs of the machine, and two
# packages: `words` with outputs out and doc, and `greet`, which refers to words.
{
  system ? builtins.currentSystem,
  bash ? "/bin/bash",
}:
let
  build =
    name: attributes: script:
    derivation (
      {
        inherit name system;
        builder = bash;
        PATH = "/usr/bin:/bin:/run/current-system/sw/bin";
        args = [
          "-c"
          script
        ];
      }
      // attributes
    );
  setup = build "setup" { } ''
    mkdir $out
    echo 'runHook() { eval "''${!1-}"; }' > $out/setup
  '';
in
rec {
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
    for tool in date ln mkdir mv; do ln -s "$(type -P $tool)" $out/bin/; done
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
}
