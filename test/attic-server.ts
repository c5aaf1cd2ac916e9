import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { createHmac, randomBytes } from "node:crypto";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { accepting, freePort } from "./listening.ts";
import { type TempDir, tempDir } from "./temp.ts";

/** What a token may do with the caches whose names fit its pattern. */
export interface AtticRights {
  readonly caches: string;
  readonly push: boolean;
  /** @default {an hour from now} */
  readonly expires?: Date;
}

/** The program of a real Attic server, or why tests have to do without it. */
export function atticd(): { readonly program: string } | { readonly skip: string } {
  const { HANDPICK_TEST_ATTICD: program, HANDPICK_TEST_REQUIRE: isRequired } = process.env;
  if (program) return { program };
  assert.equal(isRequired, undefined, "expected HANDPICK_TEST_ATTICD where tests are required");
  return { skip: "name the program of an Attic server, atticd, in HANDPICK_TEST_ATTICD" };
}

/** A real Attic server with a database and a storage of its own. */
export class AtticServer implements AsyncDisposable {
  readonly url: string;
  readonly #temp: TempDir;
  readonly #secret: Buffer;
  readonly #child: ChildProcess;

  private constructor(url: string, temp: TempDir, { secret, child }: Started) {
    this.url = url;
    this.#temp = temp;
    this.#secret = secret;
    this.#child = child;
  }

  /** @param disk A folder for what is stored; one of its own by default. */
  static async start(program: string, disk?: string): Promise<AtticServer> {
    const temp = await tempDir();
    const port = await freePort();
    const secret = randomBytes(64);
    const file = join(temp.dir, "server.toml");
    await writeFile(
      file,
      configuration({ dir: temp.dir, port, secret, disk: disk ?? join(temp.dir, "storage") }),
    );
    const child = spawn(program, ["--config", file], {
      env: { HOME: temp.dir },
      stdio: ["ignore", "ignore", "pipe"],
    });
    const { stderr } = child;
    const lines: string[] = [];
    for await (const line of createInterface({ input: stderr })) {
      lines.push(line);
      if (line.startsWith("Listening on")) break;
    }
    stderr.resume();
    assert.match(lines.at(-1) ?? "", /^Listening on/, lines.join("\n"));
    // It says so a moment before it does.
    await accepting({ at: port, ended: once(child, "exit") });
    return new AtticServer(`http://127.0.0.1:${port}`, temp, { secret, child });
  }

  /** Makes a token, as its operator does. */
  token({ caches, push, expires = new Date(Date.now() + 3_600_000) }: AtticRights): string {
    const rights = { r: 1, ...(push ? { w: 1 } : {}), cc: 1 };
    const claims = {
      sub: "tester",
      exp: Math.floor(expires.getTime() / 1000),
      "https://jwt.attic.rs/v1": { caches: { [caches]: rights } },
    };
    const parts = [{ alg: "HS256", typ: "JWT" }, claims].map((part) =>
      Buffer.from(JSON.stringify(part)).toString("base64url"),
    );
    const text = parts.join(".");
    const signature = createHmac("sha256", this.#secret).update(text).digest("base64url");
    return `${text}.${signature}`;
  }

  async createCache(
    name: string,
    { isPublic = true }: { readonly isPublic?: boolean } = {},
  ): Promise<void> {
    const response = await fetch(`${this.url}/_api/v1/cache-config/${name}`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${this.token({ caches: name, push: true })}`,
        "content-type": "application/json",
      },
      body: JSON.stringify({
        keypair: "Generate",
        is_public: isPublic,
        store_dir: "/nix/store",
        priority: 40,
        upstream_cache_key_names: [],
      }),
    });
    assert.equal(response.status, 200, await response.text());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const exited = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await exited;
    await this.#temp[Symbol.asyncDispose]();
  }
}

interface Started {
  readonly secret: Buffer;
  readonly child: ChildProcess;
}

function configuration({
  dir,
  port,
  secret,
  disk,
}: {
  readonly dir: string;
  readonly disk: string;
  readonly port: number;
  readonly secret: Buffer;
}): string {
  return `
listen = "127.0.0.1:${port}"
allowed-hosts = []
[database]
url = "sqlite://${dir}/server.db?mode=rwc"
[storage]
type = "local"
path = "${disk}"
[chunking]
nar-size-threshold = 65536
min-size = 16384
avg-size = 65536
max-size = 262144
[compression]
type = "zstd"
[garbage-collection]
interval = "12 hours"
[jwt.signing]
token-hs256-secret-base64 = "${secret.toString("base64")}"
`;
}
