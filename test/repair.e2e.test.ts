import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { appendFile, mkdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, describe, it } from "node:test";

import { generateSecretKey } from "../src/nix/key.ts";
import { type NarInfo, parseNarInfo, printNarInfo } from "../src/nix/narinfo.ts";
import { fingerprint, signFingerprint } from "../src/nix/signature.ts";
import { handpick, type Result } from "./handpick.ts";
import { nginxSkip, startNginx } from "./nginx.ts";
import { createTestNix } from "./nix.ts";
import { SyncRig } from "./sync/sync-rig.ts";
import { S3_ENV, startVersitygw, whyNoVersitygw } from "./versitygw.ts";

/** A cache whose files are in a folder, wherever it is reached. */
interface Layout extends AsyncDisposable {
  readonly url: string;
  /** Where Nix reads it. */
  readonly readUrl: string;
  readonly dir: string;
}

interface LayoutKind {
  readonly name: string;
  readonly skip?: string | false;
  /** True if a recheck reads the NARs. */
  readonly isOnDisk: boolean;
  open(rig: SyncRig): Promise<Layout>;
}

const LAYOUTS: readonly LayoutKind[] = [
  {
    name: "a folder",
    isOnDisk: true,
    async open({ nix }) {
      const dir = join(nix.dir, "cache");
      const url = `file://${dir}`;
      await mkdir(dir);
      return { url, readUrl: url, dir, [Symbol.asyncDispose]: async () => undefined };
    },
  },
  {
    name: "a web server",
    skip: nginxSkip(),
    isOnDisk: false,
    async open() {
      const nginx = await startNginx();
      const { url, dir } = nginx;
      return { url, readUrl: url, dir, [Symbol.asyncDispose]: () => nginx[Symbol.asyncDispose]() };
    },
  },
  {
    name: "a bucket",
    skip: whyNoVersitygw,
    isOnDisk: false,
    async open() {
      const server = await startVersitygw();
      const url = await server.bucket("mine", { everybody: "read" });
      const [readUrl, dir] = [`${server.url}/mine`, join(server.dir, "mine")];
      return { url, readUrl, dir, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
    },
  },
];

/** The files of a path. */
interface Stored {
  readonly narInfoFile: string;
  readonly narFile: string;
  readonly narInfo: NarInfo;
  /** A path without damage. */
  readonly sound: NarInfo;
}

interface Damage {
  readonly harm: (stored: Stored) => Promise<void>;
  /** True if Nix takes the path all the same, with the right content. @default {false} */
  readonly isHarmless?: boolean;
  /** True if only a look at all bytes finds it. @default {false} */
  readonly isHidden?: boolean;
}

const NAMESAKE = generateSecretKey("mine-1");
const STRANGER = generateSecretKey("stranger-1");

/** Changes a narinfo so that it can be read as before. */
function edited(change: (stored: Stored) => Partial<NarInfo>): Damage {
  return {
    harm: (stored) =>
      writeFile(stored.narInfoFile, printNarInfo({ ...stored.narInfo, ...change(stored) })),
  };
}

const DAMAGES: Readonly<Record<string, Damage>> = {
  "narinfo-empty": { harm: ({ narInfoFile }) => truncate(narInfoFile) },
  "narinfo-a-page": { harm: ({ narInfoFile }) => writeFile(narInfoFile, "<html></html>\n") },
  "narinfo-gone": { harm: ({ narInfoFile }) => rm(narInfoFile) },
  "narinfo-of-another": edited(({ sound }) => sound),
  "edited-name": edited(({ narInfo, sound }) => ({
    storePath: `${narInfo.storePath}-x` as typeof sound.storePath,
  })),
  "edited-nar-hash": edited(({ sound: { narHash } }) => ({ narHash })),
  "edited-nar-size": edited(({ narInfo: { narSize } }) => ({ narSize: narSize + 8 })),
  "edited-references": edited(() => ({ references: [] })),
  "edited-url": edited(({ sound: { url } }) => ({ url })),
  "edited-compression": edited(() => ({ compression: "none" })),
  "edited-file-hash": {
    ...edited(({ sound: { fileHash } }) => ({ fileHash })),
    isHarmless: true,
  },
  "edited-file-size": {
    ...edited(({ narInfo: { fileSize = 0 } }) => ({ fileSize: fileSize + 1 })),
    isHarmless: true,
  },
  unsigned: edited(() => ({ signatures: [] })),
  "signed-for-another": edited(({ sound: { signatures } }) => ({ signatures })),
  "signed-by-a-namesake": edited(({ narInfo }) => ({
    signatures: [signFingerprint(fingerprint(narInfo), NAMESAKE)],
  })),
  "signed-by-a-stranger": edited(({ narInfo }) => ({
    signatures: [signFingerprint(fingerprint(narInfo), STRANGER)],
  })),
  "nar-gone": { harm: ({ narFile }) => rm(narFile) },
  "nar-cut": { harm: ({ narFile }) => truncate(narFile, 40) },
  "nar-longer": { harm: ({ narFile }) => appendFile(narFile, "more") },
  "nar-replaced": { harm: replaceNar, isHidden: true },
  "nar-replaced-large": { harm: replaceNar, isHidden: true },
};
const NAMES = Object.keys(DAMAGES);
/** Its NAR has several parts. */
const LARGE = "nar-replaced-large";
const LARGE_BYTES = 9 << 20;

async function replaceNar({ narFile }: Stored): Promise<void> {
  const { size } = await stat(narFile);
  await writeFile(narFile, randomBytes(size));
}

describe("a cache that was damaged", { timeout: 180_000 }, () => {
  let rig: SyncRig;
  let key: string;
  let publicKey: string;
  /** By the name of the damage; and one without. */
  let paths: Readonly<Record<string, string>>;

  before(async () => {
    rig = await SyncRig.create();
    key = join(rig.nix.dir, "key");
    publicKey = (await run("keygen", "--out", key, "mine-1")).stdout.trim();
    paths = await makePaths(rig);
    await rig.want("home", paths["manifest"] ?? "");
  });
  after(() => rig[Symbol.asyncDispose]());

  const run = (...args: readonly string[]): Promise<Result> =>
    handpick(rig.nix, args, { env: { ...rig.env, ...S3_ENV } });
  /** Runs a push or a sync, and returns the names of what it pushed. */
  async function pushed(...args: readonly string[]): Promise<string[]> {
    const { status, stdout, stderr } = await run(...args, "--json");
    assert.equal(status, 0, stdout + stderr);
    const events = stdout
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line) as PushEvent);
    return events
      .flatMap(({ event, path = "" }) => (event === "pushed" ? [path.slice(44)] : []))
      .toSorted();
  }

  for (const { skip = false, isOnDisk, ...layouts } of LAYOUTS) {
    it(
      `never gives Nix wrong content, and is repaired by a push: ${layouts.name}`,
      { skip },
      async () => {
        await using layout = await layouts.open(rig);
        const table = `[caches.mine]\nurl = "${layout.url}"\nsigning-key-file = "${key}"\n`;
        const more = `upstreams = []\npublic-keys = ["${publicKey}"]\n`;
        await writeFile(join(rig.nix.dir, "handpick.toml"), table + more);
        assert.deepEqual(await pushed("push", "--wanted"), [...NAMES, "sound"].toSorted());
        assert.deepEqual(await substituted(layout), NAMES);

        for (const [damage, { harm }] of Object.entries(DAMAGES)) {
          await harm(await stored(layout, paths[damage] ?? "", paths["sound"] ?? ""));
        }
        const harmless = NAMES.filter((damage) => DAMAGES[damage]?.isHarmless === true);
        assert.deepEqual(await substituted(layout), harmless);

        const isHidden = (damage: string): boolean => DAMAGES[damage]?.isHidden === true;
        const visible = NAMES.filter((damage) => !isHidden(damage));
        assert.deepEqual(await pushed("push", "--wanted"), visible.toSorted());
        assert.deepEqual(await substituted(layout), visible);

        const hidden = NAMES.filter(isHidden);
        if (!isOnDisk) {
          assert.deepEqual(await pushed("sync", "--recheck"), []);
          const { status, stdout, stderr } = await run("verify", "--deep", "--repair");
          assert.equal(status, 0, stdout + stderr);
        } else assert.deepEqual(await pushed("sync", "--recheck"), hidden);
        assert.deepEqual(await substituted(layout), NAMES);
        assert.deepEqual(await pushed("sync", "--recheck"), []);
      },
    );
  }

  /** Fetches all paths into an empty store, and returns the names of those that Nix took, after a look at their content. */
  async function substituted({ readUrl }: Layout): Promise<string[]> {
    await using nix = await createTestNix({ root: true });
    const lines = ["require-sigs = true", `substituters = ${readUrl}`];
    const env = { NIX_CONFIG: [...lines, `trusted-public-keys = ${publicKey}`].join("\n") };
    const wanted = NAMES.map((name) => paths[name] ?? "");
    // One narinfo that it cannot read is the end of a whole run.
    const each = `for path; do [ -e "${nix.dir}/root$path" ] || nix-store --realise "$path"; done`;
    const all = `nix-store --realise --keep-going "$@" || { ${each}; }`;
    await nix.run("sh", ["-c", all, "sh", ...wanted], { env, allowFailure: true });
    const asked = ["--check-validity", "--print-invalid", ...wanted];
    const { stdout } = await nix.run("nix-store", asked, { allowFailure: true });
    const invalid = new Set(stdout.split("\n"));
    const taken = NAMES.filter((name) => !invalid.has(paths[name] ?? ""));
    await nix.run("nix-store", ["--verify", "--check-contents"]);
    for (const name of taken) {
      const path = paths[name] ?? "";
      const [found, expected] = await Promise.all(
        [nix, rig.nix].map(({ dir }) => readFile(join(dir, "root", path), "utf8")),
      );
      assert.equal(found, expected, name);
    }
    return taken;
  }
});

interface PushEvent {
  readonly event: string;
  readonly path?: string;
}

/**
 * Makes a path for each damage, and one without, to which the others refer. The database says of none that it has a
 * content address, so readers ask for signatures, as for what was built.
 */
async function makePaths({ nix }: SyncRig): Promise<Readonly<Record<string, string>>> {
  const salt = randomBytes(8).toString("hex");
  const large = await nix.add(LARGE, randomBytes(LARGE_BYTES).toString("base64"));
  const others = NAMES.filter((name) => name !== LARGE).map(
    (name) => `"${name}" = builtins.toFile "${name}" "\${sound} ${name} ${salt}";`,
  );
  const expression = `rec {
    sound = builtins.toFile "sound" "sound ${salt}";
    all = { ${others.join("\n")} };
    manifest = builtins.toFile "handpick-home.json" (builtins.toJSON {
      version = 1; name = "home"; picks = [ { name = "all"; paths = builtins.attrValues all ++ [ "${large}" ]; } ];
    });
  }`;
  const evaluate = ["--eval", "--json", "--strict", "--read-write-mode", "-E", expression];
  const { stdout } = await nix.run("nix-instantiate", evaluate);
  const { all, ...rest } = JSON.parse(stdout) as {
    readonly all: Readonly<Record<string, string>>;
    readonly sound: string;
    readonly manifest: string;
  };
  using db = new DatabaseSync(join(nix.stateDir, "db/db.sqlite"));
  db.exec("UPDATE ValidPaths SET ca = NULL WHERE path NOT LIKE '%.json'");
  return { ...all, ...rest, [LARGE]: large };
}

async function stored({ dir }: Layout, path: string, sound: string): Promise<Stored> {
  const [own, other] = [path, sound].map((each) => join(dir, `${each.slice(11, 43)}.narinfo`));
  const narInfoFile = own ?? "";
  const narInfo = parseNarInfo(await readFile(narInfoFile, "utf8"));
  const narFile = join(dir, narInfo.url);
  return {
    narInfoFile,
    narFile,
    narInfo,
    sound: parseNarInfo(await readFile(other ?? "", "utf8")),
  };
}
