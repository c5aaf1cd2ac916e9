{
  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixpkgs-unstable";
    handpick.url = "github:OWNER/handpick";
    handpick.inputs.nixpkgs.follows = "nixpkgs";
  };

  outputs =
    { nixpkgs, handpick, ... }:
    {
      nixosConfigurations.machine = nixpkgs.lib.nixosSystem {
        modules = [
          handpick.nixosModules.default
          # ./configuration.nix
          (
            { pkgs, ... }:
            {
              nixpkgs.hostPlatform = "x86_64-linux";
              system.stateVersion = "26.05";
              services.handpick = {
                enable = true;
                caches.mine = {
                  url = "cachix://mycache";
                  tokenFile = "/run/secrets/cachix";
                };
                packages = [ pkgs.hello ];
              };
            }
          )
        ];
      };
    };
}
