# The options of all modules as data, for scripts/options.ts. Needs nothing of nixpkgs but its `lib`,
# as the defaults of options that need packages are told as text.
{ lib }:
let
  # Old Nix lacks what newer libraries only pass on.
  evaluate =
    class: module:
    (lib.evalModules {
      inherit class;
      modules = [
        module
        {
          _module.check = false;
          _module.args.pkgs = throw "handpick: the default of an option needs a defaultText";
        }
      ];
    }).options;
  listed =
    options:
    map
      (option: {
        inherit (option) name description type;
        default = option.default.text or null;
        example = option.example.text or null;
      })
      (
        lib.filter (option: option.visible && !option.internal && option.name != "_module.args") (
          lib.optionAttrSetToDocList options
        )
      );
  system = class: file: listed (evaluate class file).services.handpick;
in
{
  home-manager = system "homeManager" ./home-manager.nix;
  NixOS = system "nixos" ./nixos.nix;
  nix-darwin = system "darwin" ./nix-darwin.nix;
}
