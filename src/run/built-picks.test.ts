import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { createTestNix, type TestNix } from "../../test/nix.ts";
import { parseConfig } from "../config/config.ts";
import { parseStorePath, type StorePath } from "../nix/store-path.ts";
import { openStore } from "../store/open-store.ts";
import type { Store } from "../store/store.ts";
import { acceptedByRules, type BuiltPicks, builtPicksBy, type BuildRules } from "./built-picks.ts";

const CACHES = `
[caches.mine]
url = "cachix://mycache"
[caches.office]
url = "cachix://work"
`;

describe("builtPicksBy()", { timeout: 60_000 }, () => {
  let nix: TestNix;
  let store: Store;
  let app: StorePath;
  let secret: StorePath;
  before(async () => {
    nix = await createTestNix();
    store = await openStore({ env: nix.env });
    app = parseStorePath(await nix.add("app-1", "app"), nix.storeDir);
    secret = parseStorePath(await nix.add("unpicked-secret", "secret"), nix.storeDir);
  });
  after(async () => {
    await store[Symbol.asyncDispose]();
    await nix[Symbol.asyncDispose]();
  });

  /** Makes a manifest that refers to `app` and nothing else, whatever its text says. */
  async function manifest(picks: readonly object[], version = 1): Promise<StorePath> {
    const text = JSON.stringify(JSON.stringify({ version, name: "m", picks }));
    const named = text.replaceAll(app, "${app}");
    const expression = `let app = builtins.storePath ${app}; in
      builtins.toFile "handpick-m.json" ${named}`;
    const args = ["--eval", "--json", "--read-write-mode", "-E", expression];
    const { stdout } = await nix.run("nix-instantiate", args);
    return parseStorePath(JSON.parse(stdout) as string, nix.storeDir);
  }

  async function judge(
    path: StorePath,
    toml: string,
    more: Partial<BuildRules> = {},
  ): Promise<BuiltPicks> {
    const config = parseConfig(`${CACHES}${toml}`, "/handpick.toml");
    return builtPicksBy({ config, store, ...more })(path);
  }

  const ON = "[builds]\nmanifests = true\n";
  const own = { closure: "runtime", caches: undefined, exclude: [], pin: undefined } as const;

  it("takes a manifest for a manifest only where that is asked for", async () => {
    const built = await manifest([{ name: "a", paths: [app], pin: "release" }]);
    const off = await judge(built, "");
    assert.deepEqual(off.picks, []);
    assert.match(off.notes.join(), /handpick-m\.json is a manifest, .* manifests = true/);
    const asPath = await judge(built, '[builds]\ninclude = ["handpick-*.json"]\n');
    assert.deepEqual(asPath, {
      picks: [{ ...own, name: "handpick-m.json", paths: [built] }],
      notes: [],
    });
    const on = await judge(built, ON);
    assert.deepEqual(on.picks, [{ ...own, name: "a", selection: "m", paths: [app] }]);
  });

  it("refuses paths that the output does not refer to, and names them", async () => {
    const built = await manifest([
      { name: "a", paths: [app, secret] },
      { name: "b", paths: [secret] },
    ]);
    const { picks, notes } = await judge(built, ON);
    assert.deepEqual(picks, [{ ...own, name: "a", selection: "m", paths: [app] }]);
    assert.deepEqual(notes, [
      `built manifest ${built}: refused, since it does not refer to them: ${secret}`,
    ]);
  });

  it("sends nothing to caches that are not configured, and no pin", async () => {
    const built = await manifest([
      { name: "both", paths: [app], caches: ["cachix://other", "cachix://work"], pin: "release" },
      { name: "stray", paths: [app], caches: ["cachix://other", "cachix://mine"] },
      { name: "named", paths: [app], caches: ["mine"] },
    ]);
    const { picks, notes } = await judge(built, ON);
    assert.deepEqual(
      picks.map(({ name, caches, pin }) => ({ name, caches, pin })),
      [
        { name: "both", caches: ["office"], pin: undefined },
        { name: "named", caches: ["mine"], pin: undefined },
      ],
    );
    assert.deepEqual(notes, [
      `built manifest ${built}: caches ignored, since they are not configured: "cachix://other", "cachix://mine"`,
      `built manifest ${built}: pins ignored: "release"`,
    ]);
  });

  it("lets the command line decide about the cache of all", async () => {
    const built = await manifest([{ name: "a", paths: [app], caches: ["cachix://other"] }]);
    const { picks, notes } = await judge(built, ON, { to: ["cachix://given"] });
    assert.deepEqual([picks, notes], [[{ ...own, name: "a", selection: "m", paths: [app] }], []]);
  });

  it("gives picks that name no cache to those of [builds], and takes no build closure", async () => {
    const built = await manifest([{ name: "a", paths: [app], closure: "build" }]);
    const { picks, notes } = await judge(built, `${ON}caches = ["office"]\n`);
    assert.deepEqual(picks, [
      { ...own, name: "a", selection: "m", paths: [app], caches: ["office"] },
    ]);
    assert.match(notes.join(), /: build closures taken as runtime closures: "a"$/);
  });

  it("tells what is meant as a manifest and is none, and takes it as another output", async () => {
    const newer = await manifest([{ name: "a", paths: [app] }], 2);
    const { picks, notes } = await judge(newer, ON);
    assert.deepEqual(picks, []);
    assert.match(notes.join(), /version: expected 1, found 2\n {2}It needs a newer handpick/);
    const named = await judge(newer, `${ON}include = ["handpick-*"]\n`);
    assert.deepEqual(named.picks, [{ ...own, name: "handpick-m.json", paths: [newer] }]);
    assert.deepEqual(await judge(newer, ""), { picks: [], notes: [] });
  });

  it("keeps what was recorded by another glob, but no manifest that counts no more", async () => {
    const isRecorded = true;
    assert.deepEqual((await judge(app, "")).picks, []);
    assert.deepEqual((await judge(app, "", { isRecorded })).picks, [
      { ...own, name: "app", paths: [app] },
    ]);
    const built = await manifest([{ name: "a", paths: [app] }]);
    const { picks, notes } = await judge(built, "", { isRecorded });
    assert.deepEqual([picks, notes.length], [[], 1]);
  });

  it("accepts what leaves picks, and tells of the rest", async () => {
    const useless = await manifest([{ name: "a", paths: [secret] }]);
    const useful = await manifest([{ name: "a", paths: [app] }]);
    const config = parseConfig(`${CACHES}${ON}`, "/handpick.toml");
    const notes: string[] = [];
    const accepted = await acceptedByRules([app, useless, useful], { config, store }, (text) =>
      notes.push(text),
    );
    assert.deepEqual(accepted, [useful]);
    assert.equal(notes.length, 1);
  });
});
