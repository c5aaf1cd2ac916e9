{
  description = "Declare which packages your Nix binary cache holds; handpick keeps it so";

  # flake.lock has the revision and hash that home-manager was locked to in August 2026.
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixpkgs-unstable";

  outputs =
    { nixpkgs, ... }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
        "x86_64-darwin"
        "aarch64-darwin"
      ];
      forSystems =
        f:
        builtins.listToAttrs (
          map (name: {
            inherit name;
            value = f (import ./. { pkgs = nixpkgs.legacyPackages.${name}; });
          }) systems
        );
      # What does not depend on packages.
      common = import ./. { pkgs = throw "handpick: these outputs need no packages"; };
    in
    {
      packages = forSystems (
        { handpick, ... }:
        {
          inherit handpick;
          default = handpick;
        }
      );
      checks = forSystems ({ handpick, ... }: { inherit handpick; });
      # With the packages of the input; for others import ./nix/lib.nix with your own `pkgs`.
      lib = forSystems ({ lib, ... }: lib);
      overlays.default = common.overlay;
      inherit (common)
        darwinModules
        homeManagerModules
        homeModules
        nixosModules
        ;
      templates = rec {
        default = home-manager;
        home-manager = {
          path = ./templates/home-manager;
          description = "A home-manager configuration whose packages a cache holds";
        };
        nixos = {
          path = ./templates/nixos;
          description = "A NixOS configuration whose packages a cache holds";
        };
        shell = {
          path = ./templates/shell;
          description = "A shell whose packages a cache holds";
        };
      };
    };
}
