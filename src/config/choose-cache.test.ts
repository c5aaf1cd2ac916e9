import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { urlForms } from "../cache/kinds.ts";
import { cacheNames, chooseCache, wantedCache } from "./choose-cache.ts";
import { parseConfig } from "./config.ts";

const EMPTY = parseConfig("", "/c.toml");
const TWO = parseConfig(
  '[caches.mine]\nurl = "cachix://my-tools"\ntoken-env = "T"\n[caches.other]\nurl = "cachix://b"',
  "/c.toml",
);

describe("chooseCache()", () => {
  it("takes the first configured cache by default", () => {
    assert.equal(chooseCache(TWO).name, "mine");
  });

  it("finds a cache by name and by its URL", () => {
    assert.equal(chooseCache(TWO, "other").url, "cachix://b");
    assert.equal(chooseCache(TWO, "cachix://my-tools").tokenEnv, "T");
  });

  it("makes a cache of a URL that is not configured", () => {
    assert.deepEqual(chooseCache(EMPTY, "cachix://My.cache"), {
      name: "cachix://My.cache",
      url: "cachix://My.cache",
      host: undefined,
      tokenFile: undefined,
      tokenEnv: undefined,
      clientFile: undefined,
      signingKeyFile: undefined,
      sign: "all",
      upstreams: undefined,
      compression: undefined,
      compressionLevel: undefined,
      readUrl: undefined,
      publicKeys: undefined,
      isPublic: undefined,
      optional: false,
      companions: new Set(),
      foundFile: undefined,
    });
    assert.equal(chooseCache(EMPTY, "file:///srv/cache").name, "file:///srv/cache");
  });

  it("suggests the nearest name, else lists them", () => {
    assert.throws(() => chooseCache(TWO, "mien"), {
      code: "CACHE_UNKNOWN",
      message: 'Cannot find cache "mien" in the configuration',
      hint: 'Did you mean "mine"?',
    });
    assert.throws(() => chooseCache(TWO, "quite-different"), { hint: /^Name one of mine, other/ });
    assert.throws(() => chooseCache(EMPTY, "x"), { hint: "Did you mean cachix://x?" });
    for (const spelling of ["x.cachix.org", "cachix:x"]) {
      assert.throws(() => chooseCache(EMPTY, spelling), { hint: "Did you mean cachix://x?" });
    }
    assert.throws(() => chooseCache(TWO, "mine.cachix.org"), { hint: 'Did you mean "mine"?' });
  });

  it("suggests the URL of a folder that is named as a path", () => {
    assert.throws(() => chooseCache(EMPTY, "/mnt/usb/cache"), {
      code: "CACHE_UNKNOWN",
      hint: "Did you mean file:///mnt/usb/cache?",
    });
    const usb = parseConfig('[caches.usb]\nurl = "file:///mnt/usb"', "/c.toml");
    assert.throws(() => chooseCache(usb, "/mnt/usb"), { hint: 'Did you mean "usb"?' });
    assert.equal(chooseCache(usb, "file:////mnt/usb/").name, "usb");
  });

  it("says where a configuration was looked for, and why that of the project was not taken", () => {
    const none = { ...EMPTY, file: undefined };
    const looked = ["/w/handpick.toml", "/u/config.toml", "/etc/c.toml"];
    const search = { serves: "arguments", looked, skipped: undefined } as const;
    assert.throws(() => chooseCache({ ...none, search }, "mine"), {
      hint: "Did you mean cachix://mine? No configuration is at /w/handpick.toml (this folder only) or /u/config.toml or /etc/c.toml.",
    });
    const wanted = { serves: "wanted", looked: ["/u/config.toml"] } as const;
    assert.throws(() => chooseCache({ ...none, search: { ...wanted, skipped: undefined } }), {
      hint: /^Add \[caches\.NAME\].* at \/u\/config\.toml\. The handpick\.toml of a project does not serve what is wanted\.$/,
    });
    const skipped = "/my project/handpick.toml";
    assert.throws(
      () => chooseCache({ ...TWO, search: { ...wanted, skipped } }, "quite-different"),
      {
        hint: /^Name one of mine, other in \/c\.toml, .* \/my project\/handpick\.toml was found, not named, .* --config '\/my project\/handpick\.toml'\.$/,
      },
    );
  });

  it("says what to do where no cache is configured", () => {
    assert.throws(() => chooseCache(EMPTY), {
      code: "CACHE_UNKNOWN",
      hint: /--to cachix:\/\/NAME/,
    });
  });

  it("tells the name of a cache of which it is given the address", () => {
    assert.throws(() => chooseCache(EMPTY, "https://office.cachix.org"), {
      code: "CACHE_URL_UNSUPPORTED",
      message: /it must be cachix:\/\/office, /,
    });
    assert.equal(chooseCache(EMPTY, "https://cachix.org").url, "https://cachix.org");
  });

  it("refuses a URL with a password without repeating it", () => {
    assert.throws(() => chooseCache(EMPTY, "https://u:SECRET@example.org"), {
      code: "CACHE_URL_UNSUPPORTED",
      message:
        /^Cannot use the URL of the cache: it must not contain a user name or password; name a/,
      hint: /; tokens come from files or the environment\.$/,
    });
    assert.throws(() => chooseCache(EMPTY, "cachix://a/b"), { hint: /; tokens come from / });
    assert.throws(() => chooseCache(EMPTY, "file:///a b"), {
      message: /%20 in place of a space$/,
      hint: `Pass a URL such as ${urlForms()}.`,
    });
  });
});

describe("wantedCache()", () => {
  it("takes a folder only by a table, and a cachix:// without one", () => {
    assert.equal(wantedCache(EMPTY, "cachix://mine").url, "cachix://mine");
    assert.throws(() => wantedCache(TWO, "file:///srv/./cache/"), {
      code: "CACHE_UNKNOWN",
      message:
        'Cannot use cache "file:///srv/cache", which a selection names: it is not in the configuration',
      hint: 'If you want it there, add [caches.NAME] with url = "file:///srv/cache" to /c.toml.',
    });
    assert.throws(() => wantedCache(TWO, "file:///srv?compression=xz"), {
      code: "CACHE_URL_UNSUPPORTED",
      message: /found "compression"; set compression in \[caches\.NAME\]/,
    });
    const usb = parseConfig('[caches.usb]\nurl = "file:///srv/cache"', "/c.toml");
    assert.equal(wantedCache(usb, "file:///srv/cache/").name, "usb");
    assert.equal(wantedCache(usb, "usb").name, "usb");
    assert.throws(() => wantedCache(TWO, "https://h/nix/"), {
      code: "CACHE_UNKNOWN",
      hint: /url = "https:\/\/h\/nix" to/,
    });
    assert.throws(() => wantedCache(TWO, "s3://bucket/"), {
      code: "CACHE_UNKNOWN",
      hint: /url = "s3:\/\/bucket" to/,
    });
  });
});

describe("cacheNames()", () => {
  it("tells a table from a URL that has its name, and takes a table's URL for it", () => {
    const config = parseConfig('[caches.mine]\nurl = "cachix://company/"', "/c.toml");
    const named = ["mine", "cachix://mine", "cachix://company", "cachix://company/"];
    assert.deepEqual(cacheNames(named, config), ["mine", "cachix://mine"]);
    assert.equal(chooseCache(config, "cachix://mine").url, "cachix://mine");
    assert.equal(chooseCache(config, "cachix://company").name, "mine");
  });

  it("are all tables where none is named, and leave what is unknown to whoever opens it", () => {
    assert.deepEqual(cacheNames(undefined, TWO), ["mine", "other"]);
    assert.deepEqual(cacheNames(["no-such"], TWO), ["no-such"]);
    assert.throws(() => cacheNames(undefined, EMPTY), { code: "CACHE_UNKNOWN" });
  });
});
