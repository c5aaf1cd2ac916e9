{
  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixpkgs-unstable";
    home-manager.url = "github:nix-community/home-manager";
    home-manager.inputs.nixpkgs.follows = "nixpkgs";
    handpick.url = "github:OWNER/handpick";
    handpick.inputs.nixpkgs.follows = "nixpkgs";
  };

  outputs =
    {
      nixpkgs,
      home-manager,
      handpick,
      ...
    }:
    {
      homeConfigurations.me = home-manager.lib.homeManagerConfiguration {
        pkgs = nixpkgs.legacyPackages.x86_64-linux;
        modules = [
          handpick.homeModules.default
          (
            { pkgs, ... }:
            {
              home = {
                username = "me";
                homeDirectory = "/home/me";
                stateVersion = "26.05";
              };
              services.handpick = {
                enable = true;
                caches.mine = {
                  url = "cachix://mycache";
                  tokenFile = "/home/me/.config/handpick/token";
                };
                packages = [ pkgs.hello ];
              };
            }
          )
        ];
      };
    };
}
