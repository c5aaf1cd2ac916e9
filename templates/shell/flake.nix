{
  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixpkgs-unstable";
    handpick.url = "github:OWNER/handpick";
    handpick.inputs.nixpkgs.follows = "nixpkgs";
  };

  outputs =
    { nixpkgs, handpick, ... }:
    let
      system = "x86_64-linux";
      pkgs = nixpkgs.legacyPackages.${system};
    in
    {
      devShells.${system}.default = pkgs.mkShell {
        packages = [ pkgs.hello ];
        shellHook = handpick.lib.${system}.shellHook {
          name = "my-project";
          cache = "cachix://mycache";
          packages = [ pkgs.hello ];
        };
      };
    };
}
