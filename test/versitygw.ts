import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { CreateBucketCommand, PutBucketPolicyCommand, S3Client } from "@aws-sdk/client-s3";

import { accepting, freePort } from "./listening.ts";
import { tempDir } from "./temp.ts";

const VERSION = "v1.8.0";
const PACKAGE = `github.com/versity/versitygw/cmd/versitygw@${VERSION}`;
/** The oldest Go that builds it, as major and minor. */
const GO = [1, 25] as const;

export const ACCESS_KEY = "AKIAHANDPICKTEST";
export const SECRET_KEY = "secret-of-the-test-server";

/** A real S3 server, with an empty folder. */
export interface Versitygw extends AsyncDisposable {
  /** Without trailing slash. */
  readonly url: string;
  /** Host and port, as `endpoint=` takes them. */
  readonly endpoint: string;
  /** Objects are files in it, below a folder for each bucket. */
  readonly dir: string;
  /** For what tests ask besides. */
  readonly sdk: S3Client;
  /** Makes a bucket and returns its `s3://` URL. */
  bucket(name: string, options?: BucketOptions): Promise<string>;
}

export interface BucketOptions {
  /** What everybody may do, without credentials. @default {nothing} */
  readonly everybody?: "read" | "write";
}

/** The variables that give a program the credentials of the server, and no others. */
export const S3_ENV: Readonly<Record<string, string>> = {
  AWS_ACCESS_KEY_ID: ACCESS_KEY,
  AWS_SECRET_ACCESS_KEY: SECRET_KEY,
  AWS_EC2_METADATA_DISABLED: "true",
};

/**
 * Why there is no server to test with, or `false`. A machine with Go builds one, once. Where tests must not be
 * skipped, its absence fails them.
 */
export const whyNoVersitygw: string | false = findVersitygw();

/** Starts the server on a free port; it answers when the promise resolves. */
export async function startVersitygw({
  args = [],
  disk,
}: {
  readonly args?: readonly string[];
  /** A folder for the buckets. @default {one of its own} */
  readonly disk?: string | undefined;
} = {}): Promise<Versitygw> {
  const temp = await tempDir();
  const [dir, meta] = [disk ?? join(temp.dir, "buckets"), join(temp.dir, "meta")];
  await Promise.all([mkdir(dir, { recursive: true }), mkdir(meta)]);
  const port = await freePort();
  const listen = ["--port", `127.0.0.1:${port}`, "--quiet", "--keep-alive"];
  const server = spawn(versitygwFile(), [...listen, ...args, "posix", "--sidecar", meta, dir], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ROOT_ACCESS_KEY: ACCESS_KEY, ROOT_SECRET_KEY: SECRET_KEY },
  });
  const exited = once(server, "exit");
  createInterface({ input: server.stdout }).on("line", () => undefined);
  await accepting({ at: port, ended: exited });
  const url = `http://127.0.0.1:${port}`;
  const credentials = { accessKeyId: ACCESS_KEY, secretAccessKey: SECRET_KEY };
  const sdk = new S3Client({
    region: "us-east-1",
    endpoint: url,
    forcePathStyle: true,
    credentials,
  });
  return {
    url,
    endpoint: `127.0.0.1:${port}`,
    dir,
    sdk,
    async bucket(name, { everybody } = {}) {
      await sdk.send(new CreateBucketCommand({ Bucket: name }));
      if (everybody !== undefined) {
        const Policy = policyFor(name, everybody);
        await sdk.send(new PutBucketPolicyCommand({ Bucket: name, Policy }));
      }
      return `s3://${name}?endpoint=127.0.0.1:${port}&scheme=http`;
    },
    async [Symbol.asyncDispose]() {
      sdk.destroy();
      server.kill("SIGTERM");
      await exited;
      await temp[Symbol.asyncDispose]();
    },
  };
}

function policyFor(bucket: string, everybody: "read" | "write"): string {
  const Resource = [`arn:aws:s3:::${bucket}/*`];
  const Action = ["s3:GetObject", ...(everybody === "write" ? ["s3:PutObject"] : [])];
  const objects = { Effect: "Allow", Principal: "*", Action, Resource };
  // Without it what is missing counts as forbidden.
  const list = { ...objects, Action: ["s3:ListBucket"], Resource: [`arn:aws:s3:::${bucket}`] };
  return JSON.stringify({ Version: "2012-10-17", Statement: [objects, list] });
}

function findVersitygw(): string | false {
  const given = process.env["HANDPICK_TEST_VERSITYGW"];
  if (given !== undefined && existsSync(given)) return false;
  const reason =
    given === undefined ? whyNotBuilt() : `HANDPICK_TEST_VERSITYGW names no file: ${given}`;
  if (reason !== false && process.env["HANDPICK_TEST_REQUIRE"] !== undefined) {
    throw new Error(`versitygw has to be here: ${reason}`);
  }
  return reason;
}

/** The program, which is there unless {@link whyNoVersitygw} says why not. */
export function versitygwFile(): string {
  return process.env["HANDPICK_TEST_VERSITYGW"] ?? built();
}

function built(): string {
  const cache = process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache");
  return join(cache, "handpick-tests", `versitygw-${VERSION}`);
}

function whyNotBuilt(): string | false {
  const file = built();
  if (existsSync(file)) return false;
  const how = `set HANDPICK_TEST_VERSITYGW to a versitygw ${VERSION}, or install Go ${GO.join(".")}`;
  // The matrix has users without a cache of their own, and would build it for each.
  if (process.env["HANDPICK_TEST_MATRIX"] !== undefined) {
    return `versitygw is not here, and not built for a matrix: ${how}`;
  }
  const { error, stdout } = spawnSync("go", ["env", "GOVERSION"], { encoding: "utf8" });
  if (error !== undefined) return `neither versitygw nor Go is here: ${how}`;
  const [, major = 0, minor = 0] = (/^go(\d+)\.(\d+)/.exec(stdout) ?? []).map(Number);
  if (major < GO[0] || (major === GO[0] && minor < GO[1])) {
    return `versitygw is not here, and Go is too old to build it: ${how}`;
  }
  const folder = join(file, "..");
  mkdirSync(folder, { recursive: true });
  const temporary = mkdtempSync(join(folder, "build-"));
  try {
    // Takes two to three minutes, once.
    const env = { ...process.env, GOBIN: temporary, CGO_ENABLED: "0" };
    const { status, stderr } = spawnSync("go", ["install", PACKAGE], { encoding: "utf8", env });
    if (status !== 0) return `versitygw cannot be built: ${stderr.trim().split("\n").at(-1) ?? ""}`;
    renameSync(join(temporary, "versitygw"), file);
    return false;
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}
