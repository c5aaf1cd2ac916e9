import assert from "node:assert/strict";
import { homedir } from "node:os";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { HandpickError } from "../error.ts";
import { parseConfig } from "./config.ts";

const FILE = "/home/u/project/handpick.toml";

function failure(text: string): HandpickError {
  try {
    parseConfig(text, FILE);
  } catch (error) {
    assert.ok(error instanceof HandpickError);
    assert.equal(error.code, "CONFIG_INVALID");
    assert.notEqual(error.hint, undefined);
    return error;
  }
  assert.fail(`accepted ${text}`);
}

describe("parseConfig()", () => {
  it("reads every key", () => {
    const text = `
      [caches.mine]
      url = "cachix://mycache"
      host = "http://127.0.0.1:8080"
      token-file = "/run/secrets/cachix"
      token-env = "MY_TOKEN"
      dhall-file = "/run/secrets/cachix.dhall"
      signing-key-file = "/run/secrets/key"
      sign = "own"
      upstreams = ["https://cache.nixos.org"]
      compression = "xz"
      compression-level = 9
      optional = true
      [rules]
      exclude = ["*-source", "nixos-system-*", "/nix/store/*-secret"]
      max-nar-size = "2GiB"
      on-hole = "push-anyway"
      [builds]
      include = ["rustowl*", "my-[a-z]?"]
      caches = ["mine"]
      manifests = true
      [projects]
      trusted = ["/home/u/project", "~/other"]`;
    assert.deepEqual(parseConfig(text, FILE), {
      file: FILE,
      isFound: false,
      search: undefined,
      trustedProjects: ["/home/u/project", `${homedir()}/other`],
      caches: [
        {
          name: "mine",
          url: "cachix://mycache",
          host: "http://127.0.0.1:8080",
          tokenFile: "/run/secrets/cachix",
          tokenEnv: "MY_TOKEN",
          clientFile: "/run/secrets/cachix.dhall",
          signingKeyFile: "/run/secrets/key",
          sign: "own",
          upstreams: ["https://cache.nixos.org"],
          compression: "xz",
          compressionLevel: 9,
          readUrl: undefined,
          publicKeys: undefined,
          isPublic: undefined,
          optional: true,
          companions: new Set(),
          foundFile: undefined,
        },
      ],
      rules: {
        exclude: ["*-source", "nixos-system-*", "/nix/store/*-secret"],
        maxNarSize: 2 * 1024 ** 3,
        onHole: "push-anyway",
      },
      builds: { include: ["rustowl*", "my-[a-z]?"], caches: ["mine"], manifests: true },
    });
  });

  it("fills in defaults for an empty text", () => {
    assert.deepEqual(parseConfig("", FILE), {
      file: FILE,
      isFound: false,
      search: undefined,
      trustedProjects: [],
      caches: [],
      rules: { exclude: [], maxNarSize: undefined, onHole: "hold" },
      builds: { include: [], caches: [], manifests: false },
    });
  });

  it("keeps the caches in the order of the file", () => {
    const text = ["zoo", "10a", "alpha"].map((n) => `[caches.${n}]\nurl="cachix://x"`).join("\n");
    assert.deepEqual(
      parseConfig(text, FILE).caches.map(({ name }) => name),
      ["zoo", "10a", "alpha"],
    );
  });

  it("takes file names from the folder of the configuration and from home", () => {
    const text = `[caches.a]\nurl="cachix://a"\ntoken-file="../t"\nsigning-key-file="~/k"`;
    const [cache] = parseConfig(text, FILE).caches;
    assert.equal(cache?.tokenFile, "/home/u/t");
    assert.equal(cache?.signingKeyFile, `${homedir()}/k`);
  });

  it("names line and column of a syntax error and quotes nothing of the line", () => {
    const error = failure('[caches.a]\ntoken-file = "tok-SECRET\n');
    assert.match(error.message, /handpick\.toml:2:\d+: /);
    assert.doesNotMatch(JSON.stringify([error.message, error.hint, error.cause]), /SECRET/);
  });

  it("names an unknown key, its place and the nearest known one", () => {
    const table = '[rules]\n[caches.mine]\nurl = "cachix://a"\n';
    const cases = [
      [`${table}\ntoken-fiel = "x"`, ":5:1: caches.mine.token-fiel", '"token-file"'],
      ["[rule]\n", ":1:2: rule ", '"rules"'],
      ["\n[rules]\nexcludes = []", ":3:1: rules.excludes ", '"exclude"'],
      ["[builds]\ninclud = []", ":2:1: builds.includ ", '"include"'],
      ["[builds]\nmanifest = true", ":2:1: builds.manifest ", '"manifests"'],
      ['[caches.mine]\nulr = "cachix://a"', ":2:1: caches.mine.ulr ", '"url"'],
      ['caches = { mine = { hst = "mine" } }', ":1:21: caches.mine.hst ", '"host"'],
    ] as const;
    for (const [text, place, suggestion] of cases) {
      const { message } = failure(text);
      assert.ok(message.includes(place), message);
      assert.ok(message.endsWith(`; did you mean ${suggestion}?`), message);
    }
  });

  it("tells keys of later versions from mistakes", () => {
    const cases = [
      ["[guard]\n", "guard"],
      ["rules.unfree = true", "rules.unfree"],
    ] as const;
    for (const [text, key] of cases) {
      assert.ok(
        failure(text).message.endsWith(`: ${key} is a key of a newer handpick than this one`),
      );
    }
  });

  it("names a key that makes no sense for the kind of the cache", () => {
    for (const line of [
      'token-file = "t"',
      'token-env = "T"',
      'host = "http://h"',
      'dhall-file = "d"',
      'netrc-file = "n"',
    ]) {
      const key = line.split(" ", 1)[0] ?? "";
      const { code, message } = failure(`[caches.usb]\nurl = "file:///srv/cache"\n${line}`);
      assert.equal(code, "CONFIG_INVALID");
      assert.match(
        message,
        new RegExp(`:3:1: caches\\.usb\\.${key} is no key for a cache of file://$`),
      );
    }
    const found = failure('[caches.a]\nurl = "cachix://a"\nlistings = false');
    assert.match(found.message, /:3:1: caches\.a\.listings is no key for a cache of cachix:\/\/$/);
    const text =
      '[caches.usb]\nurl = "file:////srv/a%20b/"\nsigning-key-file = "/k"\noptional = true\nlistings = true\nbuild-logs = true\nrealisations = true';
    const [usb] = parseConfig(text, FILE, {}).caches;
    assert.deepEqual([usb?.url, usb?.signingKeyFile], ["file:///srv/a%20b", "/k"]);
    assert.deepEqual(usb?.companions, new Set(["listings", "build-logs", "realisations"]));
  });

  it("refuses a URL that its kind cannot read, by its own rule", () => {
    for (const [url, rule] of [
      ["file://srv/cache", /caches\.usb\.url must have three slashes/],
      [
        "file:///srv?compression=xz",
        /url must not have parameters, found "compression"; set compr/,
      ],
      ["file:///a b", /caches\.usb\.url must have %20/],
      ["/tmp/x", /caches\.usb\.url must be file:\/\/\/tmp\/x, the URL of that folder$/],
      ["./cache", /caches\.usb\.url must have three slashes/],
      ["cachix://a/b", /url must be cachix:\/\/NAME/],
    ] as const) {
      assert.match(failure(`[caches.usb]\nurl = "${url}"`).message, rule);
    }
  });

  it("tells the name that a table has now", () => {
    assert.match(failure("[events]\n").message, /: events is called builds now$/);
  });

  it("takes only full names for the folders of trusted projects", () => {
    assert.match(failure('projects.trusted = ["p"]').message, /trusted\[0\] must be the full name/);
  });

  it("suggests nothing for a key that resembles none, and bounds it", () => {
    const { message } = failure(`"${"q".repeat(5000)}" = 1`);
    assert.ok(message.length < 400);
    assert.doesNotMatch(message, /did you mean/);
  });

  it("says where a literal token belongs without repeating it", () => {
    const { message } = failure('[caches.a]\nurl = "cachix://a"\ntoken = "tok-SECRET"');
    assert.match(message, /:3:1: caches\.a\.token is not allowed: .* token-file$/);
    assert.doesNotMatch(message, /SECRET/);
  });

  it("never repeats the value of a key that could hold a token by mistake", () => {
    const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJkYXRhIjoiU0VDUkVUIn0.c2ln";
    for (const key of ["token-file", "signing-key-file", "token-env", "url", "host"]) {
      const url = key === "url" ? "" : 'url = "cachix://a"\n';
      assert.doesNotMatch(failure(`[caches.a]\n${url}${key} = "${jwt}"`).message, /eyJ/);
    }
    const url = "https://user:SECRET@example.org";
    for (const text of [
      `[caches.a]\nurl="${url}"`,
      `[caches.a]\nurl="cachix://a"\nupstreams=["${url}"]`,
    ]) {
      const { message } = failure(text);
      assert.match(message, /must not contain a user name or password(?:$|; name)/);
      assert.doesNotMatch(message, /SECRET/);
    }
  });

  it("refuses values of the wrong type or range, naming key and line", () => {
    const cache = '[caches.a]\nurl = "cachix://a"\n';
    const cases = [
      ["caches = 1", "caches must be a table, found a number"],
      ["caches.a = true", "caches.a must be a table, found a boolean"],
      ["[caches.a]", ':1:9: caches.a needs the key "url"'],
      ['[caches.a]\nurl = "mycache"', ":2:1: caches.a.url must be a URL such as cachix://mycache"],
      [
        '[caches.a]\nurl = "https://office.cachix.org"',
        "caches.a.url must be cachix://office, the",
      ],
      [
        '[caches.a]\nurl = "https://app.cachix.org/cache/office#x"',
        "url must be cachix://office, ",
      ],
      [`${cache}host = "127.0.0.1:8080"`, "host must be a URL such as http://127.0.0.1:8080"],
      [`${cache}upstreams = ["x"]`, "upstreams[0] must be a URL such as http://127.0.0.1:8080"],
      ['[caches."a/b"]\nurl = "cachix://a"', ':1:9: caches."a/b" must be 1 to 64 of'],
      ['[caches.7]\nurl = "cachix://a"', ":1:9: caches.7 must not be a number only"],
      [`${cache}token-file = 5`, ":3:1: caches.a.token-file must be a string, found a number"],
      [`${cache}token-file = ""`, ":3:1: caches.a.token-file must be the name of a file"],
      [`${cache}token-env = "A B"`, ":3:1: caches.a.token-env must be the name of an env"],
      [`${cache}host = "ftp://x"`, ":3:1: caches.a.host must start with http:// or https://"],
      [`${cache}host = "http://["`, ":3:1: caches.a.host is not a valid URL"],
      [
        `${cache}upstreams = "x"`,
        ":3:1: caches.a.upstreams must be a list of strings, found a str",
      ],
      [`${cache}upstreams = [1979-05-27]`, "caches.a.upstreams[0] must be a string, found a date"],
      [`${cache}compression = "gzip"`, 'must be one of "zstd", "xz", "none", found "gzip"'],
      [`${cache}compression = []`, 'must be one of "zstd", "xz", "none", found a list'],
      [`${cache}compression-level = 20`, "compression-level must be 1 to 19 for zstd, found 20"],
      [`${cache}compression-level = 1.5`, "compression-level must be 1 to 19 for zstd, found 1.5"],
      [`${cache}compression-level = nan`, "compression-level must be a number, found nan"],
      [`${cache}compression = "xz"\ncompression-level = 10`, "must be 0 to 9 for xz, found 10"],
      [
        `${cache}compression = "none"\ncompression-level = 1`,
        ":4:1: caches.a.compression-level has",
      ],
      ['[rules]\nexclude = ["a{b,c}"]', ':2:1: rules.exclude[0] must be a glob such as "*-source"'],
      ['[rules]\nexclude = [\n"ok",\n"a["]', ":2:1: rules.exclude[1] must be a glob"],
      ['[rules]\nmax-nar-size = "big"', ":2:1: rules.max-nar-size must be a size such as"],
      ["[rules]\nmax-nar-size = -1", ":2:1: rules.max-nar-size must be a size such as"],
      ['[builds]\nmanifests = "yes"', ":2:1: builds.manifests must be true or false, found a str"],
      [`${cache}optional = 1`, "caches.a.optional must be true or false, found a number"],
      ["[rules]\nmax-nar-size = 1.5", ":2:1: rules.max-nar-size must be a size such as"],
      ['[rules]\nmax-nar-size = "0.5"', ":2:1: rules.max-nar-size must be a size such as"],
      ['[rules]\nmax-nar-size = "2.5 B"', ":2:1: rules.max-nar-size must be a size such as"],
      ["[rules]\nmax-nar-size = true", ":2:1: rules.max-nar-size must be a size such as"],
      ['[rules]\non-hole = "ignore"', ':2:1: rules.on-hole must be one of "hold", "fail", "push-'],
      [
        `${cache}[builds]\ncaches = ["a", "mnie"]\n[caches.mine]\nurl = "cachix://a"`,
        ':4:1: builds.caches[1] must name a cache of this file, found "mnie"; did you mean "mine"?',
      ],
    ] as const;
    for (const [text, expected] of cases) {
      const { message } = failure(text);
      assert.ok(message.includes(expected), `${message}\nlacks ${expected}`);
    }
  });

  it("reads sizes as numbers, in decimal and in binary units", () => {
    const cases = [
      ["1048576", 1048576],
      ['"500 MB"', 500e6],
      ['"1.5GiB"', 1.5 * 1024 ** 3],
      ['"7b"', 7],
      ["2048.0", 2048],
      ['"0.5 KB"', 500],
    ] as const;
    for (const [size, bytes] of cases) {
      assert.equal(parseConfig(`rules.max-nar-size = ${size}`, FILE).rules.maxNarSize, bytes);
    }
  });

  it("answers any text with a configuration or CONFIG_INVALID", () => {
    const words = fc.constantFrom("[caches.a]\n", 'url="cachix://x"\n', "[rules]\n", "=", '"', "[");
    const text = fc.array(fc.oneof(words, fc.string())).map((parts) => parts.join(""));
    fc.assert(
      fc.property(text, (input) => {
        try {
          assert.equal(parseConfig(input, FILE).file, FILE);
        } catch (error) {
          assert.ok(error instanceof HandpickError && error.code === "CONFIG_INVALID");
        }
      }),
    );
  });
});
