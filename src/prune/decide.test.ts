import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { toyPath } from "../../test/toy-paths.ts";
import { narInfoName } from "../cache/binary-cache.ts";
import { baseNameOf, hashPartOf } from "../nix/store-path.ts";
import { decide, type Decision, type Needs } from "./decide.ts";
import type { Entry } from "./entry.ts";

const CUTOFF = 1000;

interface Node {
  /** Numbers of lower nodes, so that there is no circle; and of paths that the cache lacks. */
  readonly needs: readonly number[];
  readonly modifiedMs: number;
  readonly isFaulty: boolean;
  readonly isWanted: boolean;
}

const graphs = fc.array(
  fc.record({
    needs: fc.array(fc.nat({ max: 40 }), { maxLength: 4 }),
    modifiedMs: fc.constantFrom(0, 1, 2, 3, CUTOFF, CUTOFF + 1, Number.NaN),
    isFaulty: fc.nat({ max: 9 }).map((number) => number === 0),
    isWanted: fc.nat({ max: 4 }).map((number) => number === 0),
  }),
  { maxLength: 30 },
);

const nameOf = (number: number): string => narInfoName(hashPartOf(toyPath(`n${number}`)));

function entriesOf(nodes: readonly Node[]): Map<string, Entry> {
  return new Map(
    nodes.map(({ needs, modifiedMs, isFaulty }, number) => {
      const name = nameOf(number);
      const lower = needs.filter((need) => need < number || need >= nodes.length);
      const file = { name, sizeBytes: 1, modifiedMs, version: "1" };
      const fault = isFaulty ? "it is none" : undefined;
      return [name, entry({ file, needs: lower.map(nameOf), fault })];
    }),
  );
}

function entry(more: Pick<Entry, "file"> & Partial<Entry>): Entry {
  const nothing = { needs: [], goesWith: undefined, urls: [], derivers: [], fault: undefined };
  return { ...nothing, label: more.file.name, ...more };
}

function entryOf(name: string, more: Partial<Entry> = {}): Entry {
  const file = { name, sizeBytes: 1, modifiedMs: 0, version: "1" };
  return entry({ file, ...more });
}

const toMap = (entries: readonly Entry[]): Map<string, Entry> =>
  new Map(entries.map((one) => [one.file.name, one]));
const wanting = (...names: readonly string[]): Needs => ({
  paths: new Set(names.map((name) => hashPartOf(toyPath(name)))),
  builds: new Set(),
});
const goneOf = ({ steps }: Decision): string[] => steps.flat().map(({ file }) => file.name);

describe("decide()", () => {
  it("removes all that nobody needs, and nothing wanted, young, faulty, or needed by what stays", () => {
    fc.assert(
      fc.property(graphs, (nodes) => {
        const entries = entriesOf(nodes);
        const needs = wanting(
          ...nodes.flatMap(({ isWanted }, number) => (isWanted ? [`n${number}`] : [])),
        );
        const gone = new Set(goneOf(decide(entries, { needs, cutoffMs: CUTOFF })));
        // Another way to the same: what stays is found from the top, since nodes need lower ones only.
        const stays = new Set<string>();
        for (const [number, node] of [...nodes.entries()].toReversed()) {
          const name = nameOf(number);
          const isRoot = node.isWanted || node.isFaulty || !(node.modifiedMs <= CUTOFF);
          if (!isRoot && !stays.has(name)) continue;
          stays.add(name);
          for (const need of entries.get(name)?.needs ?? []) stays.add(need);
        }
        for (const name of entries.keys()) assert.equal(gone.has(name), !stays.has(name), name);
      }),
    );
  });

  it("puts what needs an entry into an earlier step", () => {
    fc.assert(
      fc.property(graphs, (nodes) => {
        const entries = entriesOf(nodes);
        const { steps } = decide(entries, { needs: wanting(), cutoffMs: CUTOFF });
        const stepOf = new Map(
          steps.flatMap((step, number) => step.map(({ file }) => [file.name, number] as const)),
        );
        for (const [name, step] of stepOf) {
          for (const need of entries.get(name)?.needs ?? []) {
            assert.ok(step < (stepOf.get(need) ?? Infinity), `${name} after ${need}`);
          }
        }
      }),
    );
  });

  it("keeps what came meanwhile, and all that it needs", () => {
    const entries = toMap([entryOf(nameOf(0)), entryOf(nameOf(1), { needs: [nameOf(0)] })]);
    const fresh = new Set([nameOf(1)]);
    const decided = decide(entries, { needs: wanting(), cutoffMs: CUTOFF, fresh });
    assert.deepEqual(goneOf(decided), []);
  });

  it("keeps the realisations of a path that stays, with those that they were built with", () => {
    const [path, built, other] = [nameOf(0), nameOf(1), nameOf(2)];
    const entries = toMap([
      entryOf(path),
      entryOf(built),
      entryOf(other),
      entryOf("realisations/a!out.doi", {
        goesWith: path,
        needs: [path, "realisations/b!out.doi", built],
      }),
      entryOf("realisations/b!out.doi", { goesWith: built, needs: [built] }),
      entryOf("realisations/c!out.doi", { goesWith: other, needs: [other] }),
    ]);
    const decided = decide(entries, { needs: wanting("n0"), cutoffMs: CUTOFF });
    // What leads to a path goes before it.
    assert.deepEqual(goneOf(decided), ["realisations/c!out.doi", other]);
  });

  it("keeps of a build closure the derivations and what they made, and of others not", () => {
    const [app, appDrv, libDrv, lib] = [0, 1, 2, 3].map(nameOf);
    assert.ok(app && appDrv && libDrv && lib);
    const drv = (number: number): string => baseNameOf(toyPath(`n${number}`));
    const entries = toMap([
      entryOf(app, { derivers: [drv(1)] }),
      entryOf(appDrv, { needs: [libDrv] }),
      entryOf(libDrv),
      entryOf(lib, { derivers: [drv(2)] }),
      entryOf(nameOf(4)),
    ]);
    const runtime = decide(entries, { needs: wanting("n0"), cutoffMs: CUTOFF });
    assert.deepEqual(new Set(goneOf(runtime)), new Set([appDrv, libDrv, lib, nameOf(4)]));
    const needs = { paths: new Set<never>(), builds: wanting("n0").paths };
    assert.deepEqual(goneOf(decide(entries, { needs, cutoffMs: CUTOFF })), [nameOf(4)]);
  });

  it("leaves a circle alone, and what it needs", () => {
    const entries = toMap([
      entryOf(nameOf(0), { needs: [nameOf(1), nameOf(2)] }),
      entryOf(nameOf(1), { needs: [nameOf(0)] }),
      entryOf(nameOf(2)),
    ]);
    assert.deepEqual(goneOf(decide(entries, { needs: wanting(), cutoffMs: CUTOFF })), []);
  });
});
