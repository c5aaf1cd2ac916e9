import assert from "node:assert/strict";
import { resolve } from "node:path";
import { describe, it } from "node:test";
import { HandpickError } from "../error.ts";
import { isOwnSocket, parseStoreUri, type StoreChoice } from "./store-uri.ts";

const SOCKET = "/nix/var/nix/daemon-socket/socket";

function layout(storeDir: string, realStoreDir: string, stateDir: string): StoreChoice["layout"] {
  return { storeDir, realStoreDir, stateDir, logDir: "/nix/var/log/nix" };
}

const USUAL = layout("/nix/store", "/nix/store", "/nix/var/nix");
const CHROOT = {
  ...layout("/nix/store", "/r/nix/store", "/r/nix/var/nix"),
  logDir: "/r/nix/var/log/nix",
};

describe("parseStoreUri()", () => {
  const cases: readonly [string, Record<string, string>, StoreChoice][] = [
    ["", {}, { layout: USUAL, way: "auto", socketPath: SOCKET }],
    ["auto", {}, { layout: USUAL, way: "auto", socketPath: SOCKET }],
    ["daemon", {}, { layout: USUAL, way: "daemon", socketPath: SOCKET }],
    ["local", {}, { layout: USUAL, way: "database", socketPath: "" }],
    ["unix://", {}, { layout: USUAL, way: "daemon", socketPath: SOCKET }],
    ["unix:///run/s", {}, { layout: USUAL, way: "daemon", socketPath: "/run/s" }],
    ["unix:///run/s?root=/r", {}, { layout: CHROOT, way: "daemon", socketPath: "/run/s" }],
    ["/r", {}, { layout: CHROOT, way: "database", socketPath: "" }],
    ["/r/", {}, { layout: CHROOT, way: "database", socketPath: "" }],
    [
      "local?root=/r&log=/l",
      {},
      { layout: { ...CHROOT, logDir: "/l" }, way: "database", socketPath: "" },
    ],
    ["local?root=%2Fr", {}, { layout: CHROOT, way: "database", socketPath: "" }],
    ["local:///r", {}, { layout: CHROOT, way: "database", socketPath: "" }],
    [
      "local?store=/a+b&state=/s",
      {},
      { layout: layout("/a+b", "/a+b", "/s"), way: "database", socketPath: "" },
    ],
    [
      "local?root=/r&real=/x/y",
      {},
      { layout: { ...CHROOT, realStoreDir: "/x/y" }, way: "database", socketPath: "" },
    ],
    [
      "auto",
      { NIX_STORE: "/a", NIX_STATE_DIR: "/s/" },
      { layout: layout("/a", "/a", "/s"), way: "auto", socketPath: "/s/daemon-socket/socket" },
    ],
    [
      "auto",
      { NIX_STORE: "/a", NIX_STORE_DIR: "/b", NIX_DAEMON_SOCKET_PATH: "/d" },
      { layout: layout("/b", "/b", "/nix/var/nix"), way: "auto", socketPath: "/d" },
    ],
    [
      "daemon",
      { LIX_DAEMON_SOCKET_DIR: "/lix", NIX_DAEMON_SOCKET_PATH: "/d" },
      { layout: USUAL, way: "daemon", socketPath: "/lix/socket" },
    ],
    [
      "auto",
      { NIX_LOG_DIR: "/l/" },
      { layout: { ...USUAL, logDir: "/l" }, way: "auto", socketPath: SOCKET },
    ],
    [
      "local?root=/r",
      { NIX_STATE_DIR: "/s", NIX_LOG_DIR: "/l" },
      { layout: CHROOT, way: "database", socketPath: "" },
    ],
  ];
  for (const [uri, env, expected] of cases) {
    it(`reads ${JSON.stringify(uri)} with ${JSON.stringify(env)}`, () => {
      assert.deepEqual(parseStoreUri(uri, env), expected);
    });
  }

  it("takes a relative folder from the current one, as Nix does", () => {
    const root = resolve("some/folder");
    assert.equal(parseStoreUri("some/folder", {}).layout.stateDir, `${root}/nix/var/nix`);
  });

  it("refuses binary caches and stores of other machines", () => {
    for (const uri of ["https://cache.nixos.org", "s3://b", "file:///c", "ssh-ng://h", "dummy"]) {
      assert.throws(() => parseStoreUri(uri, {}), { code: "STORE_UNSUPPORTED", hint: /unix:/ });
    }
  });

  it("repeats no credentials of an address", () => {
    const uri = "https://user:sesame@host/?secret-key=sesame";
    assert.throws(
      () => parseStoreUri(uri, {}),
      (error) => error instanceof HandpickError && !error.message.includes("sesame"),
    );
  });

  it("refuses folders that are not absolute", () => {
    const bad: readonly [string, Record<string, string>][] = [
      ["local?root=r", {}],
      ["unix://socket", {}],
      ["auto", { NIX_STATE_DIR: "var" }],
      ["auto", { NIX_STORE_DIR: "/a\0b" }],
    ];
    for (const [uri, env] of bad) {
      assert.throws(() => parseStoreUri(uri, env), { code: "CONFIG_INVALID" });
    }
  });
});

describe("isOwnSocket()", () => {
  it("holds for the default socket only", () => {
    assert.equal(isOwnSocket(parseStoreUri("daemon", {})), true);
    assert.equal(isOwnSocket(parseStoreUri(`unix://${SOCKET}`, {})), true);
    assert.equal(isOwnSocket(parseStoreUri("unix:///run/s", {})), false);
  });
});
