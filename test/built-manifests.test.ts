import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { parseConfig } from "../src/config/config.ts";
import { parseStorePath, type StorePath } from "../src/nix/store-path.ts";
import { openStore } from "../src/store/open-store.ts";
import type { Store } from "../src/store/store.ts";
import { builtPicksBy } from "../src/run/built-picks.ts";
import { readProject, sections, tableRows } from "./markdown.ts";
import { createTestNix, type TestNix } from "./nix.ts";

const document = sections(await readProject("docs/trust.md"), 2);
const rows = tableRows(document.get("What is built") ?? "");
const CACHE = '[caches.mine]\nurl = "cachix://mycache"\n';
const ON = "[builds]\nmanifests = true\n";

interface Case {
  readonly pick: object;
  readonly toml?: string;
  /** The text in the note for the word in capitals. */
  readonly named?: string;
  /** The members of the pick that are left; undefined if none is. */
  readonly left: object | undefined;
}

describe("what docs/trust.md says of a manifest that was built", { timeout: 60_000 }, () => {
  let nix: TestNix;
  let store: Store;
  let app: StorePath;
  let secret: StorePath;
  before(async () => {
    nix = await createTestNix();
    store = await openStore({ env: nix.env });
    app = parseStorePath(await nix.add("app-1", "app"), nix.storeDir);
    secret = parseStorePath(await nix.add("secret-1", "secret"), nix.storeDir);
  });
  after(async () => {
    await store[Symbol.asyncDispose]();
    await nix[Symbol.asyncDispose]();
  });

  /** Makes a manifest that refers to `app` and not to `secret`. */
  async function build(pick: object): Promise<StorePath> {
    const picks = [{ name: "pick", paths: [app], ...pick }];
    const text = JSON.stringify(JSON.stringify({ version: 1, name: "m", picks }));
    const expression = `let app = builtins.storePath ${app}; in
      builtins.toFile "handpick-m.json" ${text.replaceAll(app, "${app}")}`;
    const args = ["--eval", "--json", "--read-write-mode", "-E", expression];
    return parseStorePath(
      JSON.parse((await nix.run("nix-instantiate", args)).stdout) as string,
      nix.storeDir,
    );
  }

  const cases = (): Readonly<Record<string, Case>> => ({
    "anything, without manifests = true": { pick: {}, toml: "", named: "", left: undefined },
    "a path that the output refers to": { pick: {}, left: { paths: [app] } },
    "another path": {
      pick: { paths: [app, secret] },
      named: secret,
      left: { paths: [app] },
    },
    "a cache of the configuration": {
      pick: { caches: ["cachix://mycache"] },
      left: { caches: ["mine"] },
    },
    "another cache, cachix://NAME too": {
      pick: { caches: ["cachix://mine"] },
      named: '"cachix://mine"',
      left: undefined,
    },
    pin: { pick: { pin: "release" }, named: '"release"', left: { pin: undefined } },
    'closure = "build"': {
      pick: { closure: "build" },
      named: '"pick"',
      left: { closure: "runtime" },
    },
  });

  it("has a case for each row of the table", () => {
    assert.deepEqual(
      Object.keys(cases()),
      rows.map(([what]) => what),
    );
  });

  for (const [what = "", becomes = "", words = ""] of rows) {
    it(`${what}: ${becomes}`, async () => {
      const { pick, toml = ON, named = "", left } = cases()[what] ?? assert.fail();
      const config = parseConfig(`${CACHE}${toml}`, "/handpick.toml");
      const built = await build(pick);
      const { picks, notes } = await builtPicksBy({ config, store })(built);
      assert.equal(notes.length, words === "" ? 0 : 1, notes.join("\n"));
      assert.ok(notes.join("").includes(words.replace(/[A-Z]{3,}$/, named)), notes.join("\n"));
      if (left === undefined) assert.deepEqual(picks, []);
      else assert.deepEqual({ ...picks[0], ...left }, picks[0]);
      assert.ok(!JSON.stringify(picks).includes(secret));
    });
  }
});
