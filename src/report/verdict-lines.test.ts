import assert from "node:assert/strict";
import { describe, it } from "node:test";

import type { Status } from "../sync/status.ts";
import { NO_PAINT } from "./painter.ts";
import { verdictLines } from "./verdict-lines.ts";

const NOTHING: Status = {
  stateFolder: "/state",
  lastSync: undefined,
  selections: [],
  builds: [],
  caches: [],
  paths: [],
  notice: undefined,
  idle: [],
  unread: 0,
  unreadCaches: [],
  trouble: undefined,
  risk: undefined,
  starter: { by: "nobody" },
  isInPlace: true,
  toDo: undefined,
};
const SELECTION: Status["selections"][number] = {
  name: "home",
  manifest: "/nix/store/x",
  caches: undefined,
  isEnded: false,
  isUnread: false,
  trouble: undefined,
};

function cache(name: string, paths: object, code?: string): Status["caches"][number] {
  const none = { waiting: 0, failing: 0, pushed: 0, held: 0, excluded: 0, upstream: 0 };
  return {
    name,
    paths: { ...none, ...paths },
    failingSince: undefined,
    trouble: code === undefined ? undefined : { code, message: "m" },
    checkedAt: undefined,
    lastPushedAt: undefined,
    nextTry: 61_000,
  };
}

const linesOf = (status: Partial<Status>): string[] =>
  verdictLines({ ...NOTHING, ...status }, 1_000, NO_PAINT);

describe("verdictLines()", () => {
  it("answers three questions where nothing is wanted", () => {
    assert.deepEqual(linesOf({}), [
      "nothing is wanted in /state",
      "next sync: nothing starts one here; see handpick sync --help",
      "to do: nothing",
    ]);
  });

  it("says that all is there, and what rules leave out", () => {
    const caches = [cache("mine", { pushed: 5, upstream: 2, held: 1, excluded: 1 })];
    const starter = { by: "systemd-user", file: "/u/handpick.path", every: "15min" } as const;
    assert.deepEqual(linesOf({ selections: [SELECTION], caches, starter }), [
      "everything is where it should be: 7 in mine, 2 left out by rules",
      "next sync: systemd starts one at each change and by time (15min), by /u/handpick.path",
      "to do: nothing",
    ]);
  });

  it("says what is missing, when it is tried, and what to do", () => {
    const lines = linesOf({
      isInPlace: false,
      selections: [SELECTION, { ...SELECTION, isUnread: true }],
      unread: 2,
      caches: [cache("mine", { waiting: 3 }, "CACHE_REFUSED"), cache("other", { failing: 1 })],
      starter: { by: "shell", startedAt: 0 },
      toDo: "handpick doctor mine",
    });
    assert.deepEqual(lines, [
      "not everything is where it should be: no sync has looked at 1 selection; " +
        "no sync has looked at 2 builds; mine: 3 wait (CACHE_REFUSED); other: 1 fail",
      "next sync: the hook of a shell or a switch starts one when it runs, as 1.0 s ago; next try in 1 min 0 s at the earliest",
      "to do: handpick doctor mine",
    ]);
  });

  it("promises no try where nobody starts a sync, nor takes a check of what is there for one", () => {
    const caches = [cache("mine", { waiting: 1 }, "NETWORK")];
    const [, nobody] = linesOf({ isInPlace: false, selections: [SELECTION], caches });
    assert.equal(nobody, "next sync: nothing starts one here; see handpick sync --help");
    const selections = [{ ...SELECTION, isUnread: true }];
    const starter = { by: "shell" } as const;
    const there = linesOf({
      isInPlace: false,
      selections,
      caches: [cache("mine", { pushed: 1 })],
      starter,
    });
    assert.equal(there[1], "next sync: the hook of a shell or a switch starts one when it runs");
  });

  it("lets no name steer the terminal", () => {
    const lines = linesOf({
      isInPlace: false,
      caches: [cache("\u001b[2Jx", { waiting: 1 })],
      starter: { by: "cron", file: "/etc/\u001b[2J", every: "@hourly" },
      toDo: "handpick doctor \u001b[2Jx",
    });
    // oxlint-disable-next-line no-control-regex -- finding them is the purpose
    assert.doesNotMatch(lines.join(""), /\u001b/);
  });
});
