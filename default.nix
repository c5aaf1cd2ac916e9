# handpick without flakes: `handpick = import ./handpick { inherit pkgs; };`
{ pkgs ? import <nixpkgs> { } }:
let
  # `nix flake check` of Nix 2.8 takes a set or a function for a module, but no path.
  only =
    file:
    let
      module.imports = [ file ];
    in
    {
      handpick = module;
      default = module;
    };
in
rec {
  handpick = pkgs.callPackage ./nix/package.nix { };
  lib = import ./nix/lib.nix { inherit pkgs; };
  # Of these names, for Nix 2.8.
  overlay = final: prev: { handpick = final.callPackage ./nix/package.nix { }; };
  homeModules = only ./nix/modules/home-manager.nix;
  homeManagerModules = homeModules;
  nixosModules = only ./nix/modules/nixos.nix;
  darwinModules = only ./nix/modules/nix-darwin.nix;
}
