import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";

import { type Graph, toyInfo, toyInfos, toyPath } from "../../test/toy-paths.ts";
import type { PathInfo } from "../nix/path-info.ts";
import { hashPartOf, type StorePath } from "../nix/store-path.ts";
import { makePlan, type PlanCache, type PlanInput, queryPaths } from "./make-plan.ts";
import type { PlanPick, PlanRules } from "./needs.ts";
import type { Action, Decision, Plan, Reason } from "./plan.ts";

const UPSTREAM = "https://upstream.example";
const RULES: PlanRules = { exclude: [], maxNarSize: undefined, onHole: "hold" };

function pick(
  name: string,
  members: readonly string[],
  options: Partial<Pick<PlanPick, "caches" | "exclude">> = {},
): PlanPick {
  const set = new Set(members.map(toyPath));
  return { name, members: set, caches: undefined, exclude: [], ...options };
}

function cache(
  name: string,
  missing: readonly string[],
  ...[upstream = [], unknown = []]: (readonly string[])[]
): PlanCache {
  const hashes = (names: readonly string[]): PlanCache["missing"] =>
    new Set(names.map((n) => hashPartOf(toyPath(n))));
  const served = new Map([...hashes(upstream)].map((hash) => [hash, UPSTREAM] as const));
  return { name, missing: hashes(missing), upstream: served, unknown: hashes(unknown) };
}

function namesOf({ picks }: Decision): string[] {
  return picks.map(({ name }) => name);
}

/** `action code` by name, of one cache. */
function decided({ paths }: Plan, cacheName = "c"): Record<string, string> {
  const own = paths.filter((decision) => decision.cache === cacheName);
  return Object.fromEntries(
    own.map(({ path, action, reason }) => [path.slice(44), `${action} ${reason.code}`]),
  );
}

// app -> lib -> libc, app -> data
const APP: Graph = { app: ["data", "lib"], lib: ["lib", "libc"], libc: [], data: [] };
const ALL = Object.keys(APP);

function planApp(change: Partial<PlanInput>): Plan {
  const closed = [pick("app", ALL)];
  return makePlan({
    closed,
    infos: toyInfos(APP),
    rules: RULES,
    caches: [cache("c", ALL)],
    ...change,
  });
}

describe("makePlan()", () => {
  it("pushes what is missing, references first, ties by path", () => {
    const plan = planApp({});
    assert.deepEqual(
      plan.paths.map(({ path, action }) => [path.slice(44), action]),
      [
        ["data", "push"],
        ["libc", "push"],
        ["lib", "push"],
        ["app", "push"],
      ],
    );
    assert.deepEqual(plan.totals.push, { paths: 4, narSize: 400 });
  });

  it("tells picks of one name apart by their selections", () => {
    const twice = ["work", "home"].map((selection) => ({ ...pick("tool", ["data"]), selection }));
    const closed = [...twice, pick("tool", ["data"])];
    assert.deepEqual(planApp({ closed }).paths[0]?.picks, [
      { name: "tool" },
      { name: "tool", selection: "home" },
      { name: "tool", selection: "work" },
    ]);
  });

  it("leaves what the cache or an upstream has", () => {
    const plan = planApp({ caches: [cache("c", ["app", "lib", "libc"], ["libc"])] });
    assert.deepEqual(decided(plan), {
      data: "present in-cache",
      libc: "upstream in-upstream",
      lib: "push missing",
      app: "push missing",
    });
  });

  it("holds what needs an excluded path, however far above, and names the hole", () => {
    const plan = planApp({ rules: { ...RULES, exclude: ["x*", "libc"] } });
    assert.deepEqual(decided(plan), {
      data: "push missing",
      libc: "excluded exclude-rule",
      lib: "held reference-excluded",
      app: "held reference-held",
    });
    const reasonOf = (name: string): Reason | undefined =>
      plan.paths.find(({ path }) => path === toyPath(name))?.reason;
    const reason = { code: "exclude-rule", rule: "libc" };
    const because = { path: toyPath("libc"), state: "excluded", reason };
    assert.deepEqual(reasonOf("libc"), reason);
    assert.deepEqual(reasonOf("lib"), { code: "reference-excluded", because });
    const through = toyPath("lib");
    assert.deepEqual(reasonOf("app"), { code: "reference-held", because, through });
  });

  it("excludes nothing that readers have already", () => {
    const plan = planApp({
      rules: { ...RULES, exclude: ["*"] },
      caches: [cache("c", ["app", "libc"], ["libc"])],
    });
    assert.deepEqual(decided(plan), {
      data: "present in-cache",
      libc: "upstream in-upstream",
      lib: "present in-cache",
      app: "excluded exclude-rule",
    });
  });

  it("excludes what is larger than max-nar-size", () => {
    const infos = toyInfos(APP).set(toyPath("data"), toyInfo("data", [], { narSize: 2049 }));
    const plan = planApp({ infos, rules: { ...RULES, maxNarSize: 1536 } });
    assert.equal(decided(plan)["data"], "excluded max-nar-size");
    assert.equal(decided(plan)["app"], "held reference-excluded");
    assert.deepEqual(plan.totals.excluded, { paths: 1, narSize: 2049 });
    assert.deepEqual(
      plan.paths.filter(({ action }) => action === "excluded").map(({ reason }) => reason),
      [{ code: "max-nar-size", rule: "max-nar-size", narSize: 2049, limit: 1536 }],
    );
  });

  it("excludes by the globs of picks only what no other pick of that cache wants", () => {
    const closed = [
      pick("b", ["data"], { exclude: ["data"], caches: ["c", "d"] }),
      pick("a", ["data"], { exclude: ["d*"] }),
      pick("keeps", ["data"], { caches: ["d", "e"] }),
    ];
    const caches = ["e", "d", "c"].map((name) => cache(name, ["data"]));
    const plan = planApp({ closed, caches });
    assert.deepEqual(
      plan.paths.map((decision) => [decision.cache, decision.action, namesOf(decision)]),
      [
        ["c", "excluded", ["a", "b"]],
        ["d", "push", ["a", "b", "keeps"]],
        ["e", "push", ["a", "keeps"]],
      ],
    );
    assert.deepEqual(plan.paths[0]?.reason, {
      code: "exclude-pick",
      rule: "d*",
      pick: { name: "a" },
    });
  });

  it("says nothing about a cache that no pick is for", () => {
    assert.deepEqual(planApp({ closed: [pick("a", ["data"], { caches: ["other"] })] }).paths, []);
  });

  it("holds a path whose reference is neither selected nor available", () => {
    const closed = [pick("app", ["app"])];
    const plan = planApp({ closed });
    assert.deepEqual(decided(plan), { app: "held reference-outside" });
    const because = { path: toyPath("data"), state: "outside" };
    assert.deepEqual(plan.paths[0]?.reason, { code: "reference-outside", because });
    const available = planApp({ closed, caches: [cache("c", ["app", "lib"], ["lib"])] });
    assert.deepEqual(decided(available), { app: "push missing" });
  });

  it("counts a path selected for another cache as outside", () => {
    const closed = [pick("app", ["app"]), pick("rest", ["data", "lib", "libc"], { caches: ["d"] })];
    assert.deepEqual(decided(planApp({ closed })), { app: "held reference-outside" });
  });

  it("pushes over a hole if told so, and holds nothing above it", () => {
    const plan = planApp({
      rules: { exclude: ["libc"], maxNarSize: undefined, onHole: "push-anyway" },
    });
    assert.deepEqual(decided(plan), {
      data: "push missing",
      libc: "excluded exclude-rule",
      lib: "push missing-hole-allowed",
      app: "push missing",
    });
  });

  it("holds every path of a cycle, which no order can publish", () => {
    const graph = { a: ["b"], b: ["c"], c: ["a"], user: ["a"] };
    const names = Object.keys(graph);
    const input = { closed: [pick("p", names)], infos: toyInfos(graph), rules: RULES };
    const plan = makePlan({ ...input, caches: [cache("c", names)] });
    assert.deepEqual(new Set(Object.values(decided(plan))), new Set(["held reference-held"]));
  });

  it("refuses members without path info and globs that are none", () => {
    assert.throws(() => planApp({ infos: new Map() }), RangeError);
    assert.throws(() => planApp({ rules: { ...RULES, exclude: ["["] } }), RangeError);
  });

  it("plans 50 000 paths in one chain and in one fan", () => {
    const count = 25_000;
    const chain = Array.from({ length: count }, (_, i): [string, string[]] => [
      `c${i}`,
      i === 0 ? [] : [`c${i - 1}`],
    ]);
    const leaves = Array.from({ length: count - 1 }, (_, i) => `l${i}`);
    const graph = Object.fromEntries([
      ...chain,
      ...leaves.map((leaf): [string, string[]] => [leaf, []]),
      ["fan", leaves],
    ]);
    const names = Object.keys(graph);
    const plan = makePlan({
      closed: [pick("p", names)],
      infos: toyInfos(graph),
      rules: { ...RULES, exclude: ["c0", "*-source"] },
      caches: [cache("c", names)],
    });
    assert.deepEqual(plan.totals.held, { paths: count - 1, narSize: (count - 1) * 100 });
    assert.equal(plan.totals.push.paths, count);
  });
});

describe("makePlan() where an upstream did not answer", () => {
  /** All of {@link APP}, of which only `built` was built here. */
  const builtHere = (built: readonly string[]): Map<StorePath, PathInfo> => {
    const names = new Set(built.map(toyPath));
    const infos = [...toyInfos(APP).values()];
    return new Map(infos.map((one) => [one.path, { ...one, ultimate: names.has(one.path) }]));
  };

  it("pushes what was built here and holds the rest, with what needs it", () => {
    const change = { caches: [cache("c", ALL, [], ["libc", "data", "lib", "app"])] };
    assert.deepEqual(decided(planApp({ ...change, infos: builtHere(ALL) })), {
      data: "push missing",
      libc: "push missing",
      lib: "push missing",
      app: "push missing",
    });
    const plan = planApp({ ...change, infos: builtHere(["app", "lib", "data"]) });
    assert.deepEqual(decided(plan), {
      data: "push missing",
      libc: "held upstream-unreachable",
      lib: "held upstream-unreachable",
      app: "held upstream-unreachable",
    });
    const causes = plan.paths.flatMap(({ reason }) => reason.because?.path ?? []);
    assert.deepEqual(causes, [toyPath("libc"), toyPath("libc")]);
  });

  it("takes what was added here for made here, and what came with a signature not", () => {
    const contentAddress = "fixed:r:sha256:0000000000000000000000000000000000000000000000000000";
    const infos = new Map(
      [...builtHere([])].map(([path, one]) => [path, { ...one, contentAddress }]),
    );
    const signed = toyPath("libc");
    const libc = infos.get(signed);
    assert.ok(libc !== undefined);
    infos.set(signed, { ...libc, signatures: ["cache.nixos.org-1:AAAA"] });
    const closed = [pick("all", ["libc", "data"])];
    const plan = planApp({ closed, infos, caches: [cache("c", ALL, [], ["libc", "data"])] });
    assert.deepEqual(decided(plan), { data: "push missing", libc: "held upstream-unreachable" });
  });

  it("takes the answer of another upstream, the cache and a rule for what they are", () => {
    const rest = { infos: builtHere([]), rules: { ...RULES, exclude: ["libc"] } };
    const answers = cache("c", ["app", "lib", "libc"], ["lib"], ["app", "libc"]);
    assert.deepEqual(decided(planApp({ ...rest, caches: [answers] })), {
      data: "present in-cache",
      libc: "excluded exclude-rule",
      lib: "upstream in-upstream",
      app: "held upstream-unreachable",
    });
  });

  it("holds what needs a path outside the selection that it may have", () => {
    const closed = [pick("lib", ["lib"])];
    const plan = planApp({ closed, caches: [cache("c", ["lib", "libc"], [], ["libc"])] });
    assert.deepEqual(decided(plan), { lib: "held upstream-unreachable" });
  });

  it("pushes what needs such a path where holes are allowed", () => {
    const rules = { ...RULES, onHole: "push-anyway" } as const;
    const infos = builtHere(["app", "lib", "data"]);
    const plan = planApp({ rules, infos, caches: [cache("c", ALL, [], ["libc"])] });
    assert.deepEqual(decided(plan), {
      data: "push missing",
      libc: "held upstream-unreachable",
      lib: "push missing-hole-allowed",
      app: "push missing",
    });
  });
});

describe("queryPaths()", () => {
  it("asks for members and their direct references, nothing else", () => {
    const closed = [pick("app", ["app"]), pick("data", ["data"])];
    const expected = ["app", "data", "lib"].map(toyPath);
    const paths = queryPaths({ closed, infos: toyInfos(APP) });
    assert.deepEqual([...paths].toSorted(), expected.toSorted());
  });
});

describe("makePlan() on random graphs", () => {
  const MAX = 12;
  const name = (index: number): string => `n${index}`;
  const subset = fc.uniqueArray(fc.nat(MAX - 1)).map((all) => all.map(name));
  // References point to smaller numbers or to the path itself, so there is no cycle.
  const graph: fc.Arbitrary<Graph> = fc
    .array(fc.uniqueArray(fc.nat(MAX - 1), { maxLength: 4 }), { minLength: MAX, maxLength: MAX })
    .map((rows) =>
      Object.fromEntries(rows.map((row, i) => [name(i), row.filter((ref) => ref <= i).map(name)])),
    );
  const cacheNames = ["c", "d"];
  const aPick = fc
    .record({ members: subset, caches: fc.option(fc.subarray(cacheNames)), exclude: subset })
    .map(({ members, caches, exclude }) => ({ members, caches: caches ?? undefined, exclude }));
  const input: fc.Arbitrary<PlanInput> = fc
    .record({
      graph,
      picks: fc.array(aPick, { maxLength: 4 }),
      exclude: fc.oneof(fc.constant([]), subset),
      onHole: fc.constantFrom("hold", "fail", "push-anyway"),
      fetched: subset,
      caches: fc.tuple(fc.tuple(subset, subset, subset), fc.tuple(subset, subset, subset)),
    })
    .map(({ graph: g, picks, exclude, onHole, caches, fetched }) => ({
      closed: picks.map(({ members, ...rest }, i) => pick(`p${i}`, members, rest)),
      infos: new Map(
        [...toyInfos(g)].map(([path, one]) => [
          path,
          { ...one, ultimate: !fetched.includes(path.slice(44)) },
        ]),
      ),
      rules: { exclude, maxNarSize: undefined, onHole },
      caches: cacheNames.map((n, i) =>
        cache(n, caches[i]?.[0] ?? [], ...(caches[i]?.slice(1) ?? [])),
      ),
    }));
  const check = (property: (given: PlanInput, plan: Plan) => void): void => {
    fc.assert(
      fc.property(input, (given) => property(given, makePlan(given))),
      { numRuns: 300 },
    );
  };

  it("keeps the closure rule unless holes are allowed", () => {
    check(({ infos, caches, rules }, { paths }) => {
      const actions = new Map(paths.map((d) => [`${d.cache} ${d.path}`, d.action]));
      for (const { cache: cacheName, path, action, reason } of paths) {
        if (action !== "push") continue;
        if (reason.code === "missing-hole-allowed") {
          assert.equal(rules.onHole, "push-anyway");
          continue;
        }
        const asked = caches.find((each) => each.name === cacheName);
        for (const reference of infos.get(path)?.references ?? []) {
          const its = actions.get(`${cacheName} ${reference}`);
          const hash = hashPartOf(reference);
          const outside = asked?.upstream.has(hash) === true || asked?.missing.has(hash) === false;
          const fine = its === undefined ? outside : ["push", "present", "upstream"].includes(its);
          assert.ok(fine, `${path} is pushed to ${cacheName} without ${reference}`);
        }
      }
    });
  });

  it("plans exactly the members of the picks of each cache, each once", () => {
    check(({ closed, caches }, { paths }) => {
      for (const { name: cacheName } of caches) {
        const own = closed.filter(({ caches: its }) => its?.includes(cacheName) ?? true);
        const members = new Set(own.flatMap(({ members }) => [...members]));
        const planned = paths.filter((d) => d.cache === cacheName).map(({ path }) => path);
        assert.deepEqual(planned.toSorted(), [...members].toSorted());
      }
    });
  });

  it("never pushes what a rule or every pick excludes", () => {
    check(({ closed, rules }, { paths }) => {
      for (const { path, cache: cacheName, action } of paths) {
        if (action !== "push") continue;
        const short = path.slice(44);
        assert.ok(!rules.exclude.includes(short));
        const wants = closed.some(
          (p) =>
            p.members.has(path) &&
            (p.caches?.includes(cacheName) ?? true) &&
            !p.exclude.includes(short),
        );
        assert.ok(wants);
      }
    });
  });

  it("never pushes what an upstream may have and was not built here", () => {
    check(({ infos, caches }, { paths }) => {
      for (const { path, cache: cacheName, action } of paths) {
        if (action !== "push" || infos.get(path)?.ultimate === true) continue;
        const asked = caches.find((each) => each.name === cacheName);
        assert.ok(asked?.unknown.has(hashPartOf(path)) === false);
      }
    });
  });

  it("does not depend on the order of its input, and puts references first", () => {
    check((given, plan) => {
      const reversed = makePlan({
        ...given,
        closed: given.closed.toReversed(),
        infos: new Map([...given.infos].toReversed()),
        caches: given.caches.toReversed(),
      });
      assert.deepEqual(reversed, plan);
      const place = new Map(plan.paths.map((d, i) => [`${d.cache} ${d.path}`, i]));
      for (const [index, decision] of plan.paths.entries()) {
        for (const reference of given.infos.get(decision.path)?.references ?? []) {
          assert.ok((place.get(`${decision.cache} ${reference}`) ?? -1) <= index);
        }
      }
      assert.deepEqual(
        plan.paths.map((d) => d.cache),
        plan.paths.map((d) => d.cache).toSorted(),
      );
    });
  });

  it("adds the totals up", () => {
    check((_, { paths, totals }) => {
      for (const action of Object.keys(totals) as Action[]) {
        const own = paths.filter((d) => d.action === action);
        const narSize = own.reduce((sum, d) => sum + d.narSize, 0);
        assert.deepEqual(totals[action], { paths: own.length, narSize });
      }
    });
  });
});
