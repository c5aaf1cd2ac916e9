# handpick without flakes: `handpick = import ./handpick { inherit pkgs; };`
{ pkgs ? import <nixpkgs> { } }:
{
  handpick = pkgs.callPackage ./nix/package.nix { };
  lib = import ./nix/lib.nix { inherit pkgs; };
}
