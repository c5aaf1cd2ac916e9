# handpick without flakes: `handpick = import ./handpick { inherit pkgs; };`
{ pkgs ? import <nixpkgs> { } }:
let
  only = module: {
    handpick = module;
    default = module;
  };
in
rec {
  handpick = pkgs.callPackage ./nix/package.nix { };
  lib = import ./nix/lib.nix { inherit pkgs; };
  overlay = final: _previous: { handpick = final.callPackage ./nix/package.nix { }; };
  homeModules = only ./nix/modules/home-manager.nix;
  homeManagerModules = homeModules;
  nixosModules = only ./nix/modules/nixos.nix;
  darwinModules = only ./nix/modules/nix-darwin.nix;
}
