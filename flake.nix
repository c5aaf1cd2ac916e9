{
  description = "Declare which packages your Nix binary cache holds; handpick keeps it so";

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
    in
    {
      packages = forSystems (
        { handpick, ... }:
        {
          inherit handpick;
          default = handpick;
        }
      );
      # With the packages of the input; for others import ./nix/lib.nix with your own `pkgs`.
      lib = forSystems ({ lib, ... }: lib);
      overlays.default = final: _previous: { inherit (import ./. { pkgs = final; }) handpick; };
    };
}
