# A shell that declares what a cache is to hold: the packages of shell.nix and one more. Nix's
# nixpkgs would give `writeText` and `coreutils`; here they need no network.
{ coreutils }:
let
  packages = import ./shell.nix;
  pkgs = {
    inherit coreutils;
    writeText = name: text: packages.build name { inherit text; } ''printf %s "$text" > $out'';
  };
  handpick = import ../../nix/lib.nix { inherit pkgs; };

  letter = packages.build "letter-1.0" { } ''
    echo "Written while the cache was down." > $out
  '';
in
packages.build "project" {
  inherit letter;
  stdenv = ./stdenv;
  shellHook = handpick.shellHook {
    name = "project";
    cache = "try";
    packages = [
      packages.greet
      letter
    ];
    # What it starts in the background would be seen by nobody here.
    trigger = "none";
  };
} "echo > $out"
