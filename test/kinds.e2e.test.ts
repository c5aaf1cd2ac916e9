import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { chmod, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it, type TestContext } from "node:test";

import { hashPartOf, parseStorePath } from "../src/nix/store-path.ts";
import { ROUNDS, SEED } from "./crash/crash-rig.ts";
import { type NixRecord, nixRecords } from "./crash/cache-check.ts";
import { SeededRandom } from "./crash/random.ts";
import { type Result, resultOf } from "./handpick.ts";
import { createKiller, type Killer, type Length } from "./kind-killer.ts";
import { KindReader, type Place, startPush } from "./kind-push.ts";
import { KIND_ROWS, type KindRig, type KindRow } from "./kind-rig.ts";
import { IS_LONG } from "./long.ts";
import { createTestNix, type TestNix } from "./nix.ts";

const KILLS = IS_LONG ? 50 : Math.min(3, ROUNDS);
/** Kills in a row before a push is let through. */
const KILLS_IN_A_ROW = Math.min(4, KILLS);
const CHAIN_LENGTH = 12;
/** Two parts at every kind of cache. */
const LARGE_BYTES = 9 << 20;

/** Two closures that have most of their paths in common, among them a large one. */
interface Corpus extends AsyncDisposable {
  readonly nix: TestNix;
  readonly tops: readonly [string, string];
  readonly records: readonly NixRecord[];
}

async function createCorpus(): Promise<Corpus> {
  const nix = await createTestNix({ root: true });
  const file = join(nix.dir, "large");
  await writeFile(file, randomBytes(LARGE_BYTES));
  const expression = `
    let
      link = n: if n == 0 then builtins.toFile "link" "the first"
        else builtins.toFile "link" "number \${toString n}, after \${link (n - 1)}";
      one = builtins.toFile "one" "\${link ${CHAIN_LENGTH}} \${${file}}";
      other = builtins.toFile "other" "\${link ${CHAIN_LENGTH - 3}} \${${file}} and more";
    in toString [ one other ]`;
  const evaluate = ["--eval", "--read-write-mode", "-E", expression];
  const { stdout } = await nix.run("nix-instantiate", evaluate);
  const [one = "", other = ""] = (JSON.parse(stdout) as string).split(" ");
  const records = await nixRecords(nix);
  return {
    nix,
    tops: [one, other],
    records,
    [Symbol.asyncDispose]: () => nix[Symbol.asyncDispose](),
  };
}

async function pushed(place: Place, paths: readonly string[]): Promise<Result> {
  return await resultOf(await startPush(place, paths));
}

async function done(place: Place, paths: readonly string[]): Promise<Result> {
  const result = await pushed(place, paths);
  assert.equal(result.status, 0, result.stderr);
  return result;
}

/** True where this Nix writes to the cache: some builds know no `s3://`. */
async function canWrite(nix: TestNix, { nixUrl, env }: KindRig): Promise<boolean> {
  if (nixUrl === undefined) return false;
  const asked = ["path-info", "--store", nixUrl, "--all"];
  const { stderr } = await nix.run("nix", asked, { env, allowFailure: true });
  return !stderr.includes("don't know how to open Nix store");
}

describe("handpick push", { timeout: 3_600_000 }, () => {
  let corpus: Corpus;
  before(async () => {
    corpus = await createCorpus();
  });
  after(() => corpus[Symbol.asyncDispose]());

  for (const row of KIND_ROWS) {
    describe(`to ${row.name}`, { skip: row.skip }, () => {
      it("shows every path after its references, and sends nothing twice", async () => {
        const { nix, tops, records } = corpus;
        await using rig = await row.start();
        const reader = new KindReader(rig, records);
        assert.equal((await reader.look()).size, 0);
        await reader.during(done({ nix, rig }, tops));
        assert.equal((await reader.look()).size, records.length);
        const { stderr } = await done({ nix, rig }, tops);
        assert.match(stderr, new RegExp(`nothing to push, ${records.length} already there`));
      });

      const isKilled = row.isKilledElsewhere !== true || IS_LONG;
      const skip = !isKilled && "tests in test/crash/ kill pushes to it: set HANDPICK_TEST_LONG";
      it("leaves no hole when it is killed, which the next completes", { skip }, async (t) => {
        await killOften(t, row, corpus);
      });

      it("takes overlapping closures from several writers at once", async (t) => {
        await writeAtOnce(t, row, corpus);
      });

      it("takes nothing of a path that is not what its record says, and the rest", async () => {
        const { nix } = corpus;
        const paths = [await nix.add("damaged", "as it was"), await nix.add("sound", "as it is")];
        const [damaged = ""] = paths;
        await using rig = await row.start();
        const file = join(nix.dir, "root", damaged);
        const text = await readFile(file, "utf8");
        await chmod(file, 0o644);
        await writeFile(file, text.toUpperCase());
        const failed = await pushed({ nix, rig }, paths);
        assert.equal(failed.status, 1, failed.stderr);
        assert.match(failed.stderr, /STORE_PATH_CORRUPT/);
        const records = (await nixRecords(nix)).filter(({ path }) => paths.includes(path));
        const reader = new KindReader(rig, records);
        assert.deepEqual([...(await reader.look())], paths.slice(1));
        await writeFile(file, text);
        await done({ nix, rig }, paths);
        assert.equal((await reader.look()).size, paths.length);
      });
    });
  }
});

/** Kills pushes into one cache after the other, until there were enough kills. */
async function killOften(t: TestContext, row: KindRow, corpus: Corpus): Promise<void> {
  const random = new SeededRandom(SEED + KIND_ROWS.indexOf(row));
  const whole = await lengthOf(row, corpus);
  const moments: string[] = [];
  const kills = { count: 0 };
  try {
    while (kills.count < KILLS) {
      assert.ok(moments.length < 10 * KILLS, "the moments do not come");
      await using rig = await row.start();
      await using killer = await createKiller(rig);
      await killInARow({ ...corpus, rig, killer, random, whole, moments, kills });
    }
  } catch (cause) {
    const replay = `HANDPICK_CRASH_SEED=${SEED}`;
    throw new Error(`${replay}: killed at ${moments.join("; ")}`, { cause });
  }
  t.diagnostic(`seed ${SEED}: ${kills.count} kills: ${moments.join("; ")}`);
}

/** How long a push of everything is. */
async function lengthOf(row: KindRow, { nix, tops }: Corpus): Promise<Length> {
  await using rig = await row.start();
  await using killer = await createKiller(rig);
  await done({ nix, rig, ...addressOf(killer) }, tops);
  return killer.length();
}

interface Killing extends Corpus {
  readonly rig: KindRig;
  readonly killer: Killer;
  readonly random: SeededRandom;
  readonly whole: Length;
  readonly moments: string[];
  readonly kills: { count: number };
}

async function killInARow(killing: Killing): Promise<void> {
  const { nix, tops, records, rig, killer, random, whole, moments, kills } = killing;
  const reader = new KindReader(rig, records);
  const place = { nix, rig, ...addressOf(killer) };
  let missing = records.length;
  for (let turn = 0; turn < KILLS_IN_A_ROW && missing > 0; turn += 1) {
    const push = await startPush(place, tops);
    const left = whole.map((length) => (length * missing) / records.length);
    const armed = killer.arm(random, left, () => void push.kill("SIGKILL"));
    moments.push(armed.moment);
    const { status, stderr } = await reader.during(resultOf(push));
    armed.disarm();
    // The moment of one that is shorter than was thought may not come.
    assert.ok(status === -1 || status === 0, stderr);
    if (status === -1) kills.count += 1;
    missing = records.length - (await reader.look()).size;
  }
  await reader.during(done(place, tops));
  assert.equal((await reader.look()).size, records.length);
}

function addressOf({ address }: Killer): Pick<Place, "address"> {
  return address === undefined ? {} : { address };
}

/** Three pushes, and Nix beside them where it can write, while a reader watches. */
async function writeAtOnce(t: TestContext, row: KindRow, corpus: Corpus): Promise<void> {
  const { nix, tops, records } = corpus;
  await using rig = await row.start();
  const { nixUrl, env } = rig;
  const pushes = [tops, [tops[1]], [tops[0]]].map((paths) => done({ nix, rig }, paths));
  const writers: Promise<unknown>[] = [...pushes];
  if (await canWrite(nix, rig)) {
    const args = ["copy", "--no-check-sigs", "--to", nixUrl ?? "", ...tops];
    writers.push(nix.run("nix", args, { env }));
  } else t.diagnostic("Nix does not write to this kind here");
  const reader = new KindReader(rig, records);
  await reader.during(Promise.all(writers));
  for (const { path } of records) {
    assert.ok(await rig.find(hashPartOf(parseStorePath(path))), path);
  }
}
