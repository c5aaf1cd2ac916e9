import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { toyInfo, toyPath } from "../../test/toy-paths.ts";
import { HandpickError } from "../error.ts";
import type { PathInfo } from "../nix/path-info.ts";
import type { StorePath } from "../nix/store-path.ts";
import type { Store } from "../store/store.ts";
import { signedByAny } from "./built-here.ts";
import { recentBuilds } from "./recent-builds.ts";

const NOW = 1_796_000_000_000;
const DAY_MS = 24 * 3600_000;
const isFromUpstream = signedByAny(["https://cache.nixos.org"]);
const OPTIONS = { known: new Map(), isFromUpstream, now: NOW };

/** A store to which these paths came of late. */
function storeOf(infos: readonly PathInfo[]): Pick<Store, "newPaths" | "pathInfos"> {
  const paths = infos.map(({ path }) => path);
  return {
    newPaths: async (mark) => ({ mark: 60_000, paths: mark === 10_000 ? paths : [] }),
    pathInfos: async (asked) => {
      const chosen = new Set<StorePath>(asked);
      return new Map(infos.filter(({ path }) => chosen.has(path)).map((one) => [one.path, one]));
    },
  };
}

function made(name: string, days: number, change: Partial<PathInfo> = {}): PathInfo {
  const registrationTime = (NOW - days * DAY_MS) / 1000;
  return { ...toyInfo(name, []), registrationTime, ...change };
}

describe("recentBuilds()", () => {
  it("finds what was came in the last 30 days, and not from an upstream", async () => {
    const store = storeOf([
      made("built", 29),
      made("remote", 1, { ultimate: false, signatures: ["builder-1:AA"] }),
      made("fetched", 1, { ultimate: false, signatures: ["cache.nixos.org-1:AA"] }),
      made("long-ago", 31),
      made("made.drv", 1),
      made("known", 1),
    ]);
    const known = new Map([[toyPath("known"), made("known", 1)]]);
    assert.deepEqual(await recentBuilds(store, { ...OPTIONS, known }), {
      paths: [toyPath("built"), toyPath("remote")],
    });
  });

  it("says that nobody knows where there is no database", async () => {
    const message = "Cannot list new store paths";
    const newPaths = async (): Promise<never> => {
      throw new HandpickError("STORE_UNSUPPORTED", message);
    };
    const store = { ...storeOf([]), newPaths };
    assert.deepEqual(await recentBuilds(store, OPTIONS), { fault: message });
  });
});
