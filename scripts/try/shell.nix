# Three small packages that need neither nixpkgs nor a network, and a shell that has them.
# Two of them are picked. Builders use shell built-ins only, so that they work in Nix's sandbox.
let
  build =
    name: attributes: script:
    derivation (
      {
        inherit name;
        system = builtins.currentSystem;
        builder = "/bin/sh";
        PATH = "/bin:/usr/bin";
        args = [
          "-c"
          script
        ];
      }
      // attributes
    );

  # Two outputs: the words, and a note about them.
  words =
    build "words-1.0"
      {
        outputs = [
          "out"
          "doc"
        ];
      }
      ''
        echo "Hello from a machine that built nothing." > $out
        echo "What greet says." > $doc
      '';

  # A program that needs `words` to run, and finds it beside itself in any store.
  greet = build "greet-1.0" { inherit words; } ''
    echo 'while read -r line; do echo "$line"; done < "''${0%/*}/'"''${words##*/}"'"' > $out
  '';

  # Built like the others, but nobody picks it.
  diary = build "diary-1.0" { } ''
    echo "Nobody else should read this." > $out
  '';

  # What handpick reads: which paths the cache should hold.
  picks =
    build "picks.json"
      {
        manifest = builtins.toJSON {
          version = 1;
          name = "try";
          picks = [
            {
              name = "greet";
              paths = [ greet ];
            }
            {
              name = "words";
              paths = [
                words.out
                words.doc
              ];
            }
          ];
        };
      }
      ''
        echo "$manifest" > $out
      '';
in
build "shell" { inherit greet diary picks; } "echo > $out" // { inherit build greet; }
