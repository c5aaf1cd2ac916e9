import assert from "node:assert/strict";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import { startFakeCachix } from "../fakes/cachix.ts";
import type { FakeCachix } from "../fakes/cachix.ts";
import type { FakeService, Operation } from "../fakes/cachix-service.ts";
import { handpick, startHandpick } from "../handpick.ts";
import { type Corpus, createCorpus, ROUNDS, SEED } from "./crash-rig.ts";
import { SeededRandom } from "./random.ts";

/** Paths that readers see while something of their closure is missing. */
function holes(service: FakeService): string[] {
  return [...service.published.keys()].filter((hash) => !service.isComplete(hash));
}

interface Kill {
  readonly operation: Operation;
  /** The first such request is 1. */
  readonly nth: number;
  /** Whether the server still does what was asked. */
  readonly takesEffect: boolean;
}

function randomKill(random: SeededRandom, missing: number): Kill {
  const operation = random.pick(["begin", "part-url", "put", "complete", "complete"] as const);
  return { operation, nth: 1 + random.below(missing), takesEffect: random.below(2) === 0 };
}

describe("a server that shows each path at once", { timeout: 300_000 }, () => {
  it("shows none without its closure, however often the push is killed", async (t) => {
    await using corpus = await createCorpus();
    let killed = 0;
    for (let seed = SEED; killed < ROUNDS; seed += 1) {
      const random = new SeededRandom(seed);
      const kills: Kill[] = [];
      await using fake = await startFakeCachix();
      fake.service.hidesIncompleteClosures = false;
      const left = (): number => corpus.records.length - fake.service.published.size;
      try {
        for (let turn = 0; turn < 5 && left() > 0; turn += 1) {
          const kill = randomKill(random, left());
          kills.push(kill);
          await pushAndKill(corpus, fake, kill);
          killed += 1;
          assert.deepEqual(holes(fake.service), []);
        }
        const { status, stderr } = await handpick(corpus.nix, await pushArguments(corpus, fake), {
          env: { T: "fake-token" },
          uncovered: true,
        });
        assert.equal(status, 0, stderr);
        assert.deepEqual([left(), holes(fake.service), fake.violations], [0, [], []]);
      } catch (cause) {
        const replay = `HANDPICK_CRASH_SEED=${seed} HANDPICK_CRASH_ROUNDS=1`;
        throw new Error(`${replay}: killed at ${JSON.stringify(kills)}`, { cause });
      }
    }
    t.diagnostic(`seed ${SEED}: ${killed} kills`);
  });
});

/** Starts a push and kills it at a request. Other requests under way are served. */
async function pushAndKill(corpus: Corpus, fake: FakeCachix, kill: Kill): Promise<void> {
  const child = startHandpick(corpus.nix, await pushArguments(corpus, fake), {
    env: { T: "fake-token" },
    uncovered: true,
  });
  const ended = once(child, "exit");
  child.stdout.resume();
  child.stderr.resume();
  for (let count = 1; count < kill.nth; count += 1) fake.next(kill.operation);
  fake.next(kill.operation).handle(async (_request, serve) => {
    child.kill("SIGKILL");
    await ended;
    return kill.takesEffect ? serve() : { status: 503 };
  });
  const [status, signal] = (await ended) as [number | null, string | null];
  assert.deepEqual([status, signal], [null, "SIGKILL"]);
}

async function pushArguments(corpus: Corpus, fake: FakeCachix): Promise<string[]> {
  const config = join(corpus.nix.dir, `show-all-${new URL(fake.url).port}.toml`);
  const cache = `[caches.crash]\nurl = "cachix://acme"\nhost = "${fake.url}"\ntoken-env = "T"\n`;
  await writeFile(config, cache);
  return ["push", "--config", config, "--to", "crash", corpus.top];
}
