import { spawn } from "node:child_process";
import { once } from "node:events";
import { chown, mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { userInfo } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { text } from "node:stream/consumers";

import { NOBODY } from "../test/ordinary-user.ts";
import { ROOT } from "./command.ts";

/** The user who runs tests; the present one without `uid`. */
export interface User {
  readonly name: string;
  readonly uid?: number;
}

export interface SuiteResult {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly seconds: number;
  /** The words of the test runner about failures; empty if there are none. */
  readonly failures: string;
  /** Why tests were left out. */
  readonly skips: readonly string[];
}

/** Root can be somebody else too. */
export function users(): readonly User[] {
  const { username: name } = userInfo();
  return process.getuid?.() === 0 ? [{ name }, { name: "nobody", uid: NOBODY }] : [{ name }];
}

export interface Suite {
  /** The folder of Nix's programs. */
  readonly bin: string;
  readonly user: User;
  readonly files: readonly string[];
  readonly signal: AbortSignal;
}

/** Runs test files, with a home and a temporary folder of their own; ends them when told to. */
export async function runSuite({ bin, user, files, signal }: Suite): Promise<SuiteResult> {
  const started = performance.now();
  const dir = await mkdtemp("/tmp/hpm-");
  try {
    const tmp = join(dir, "tmp");
    for (const folder of [dir, tmp]) {
      await mkdir(folder, { recursive: true });
      if (user.uid !== undefined) await chown(folder, user.uid, user.uid);
    }
    const env = { ...suiteEnv(bin), HOME: dir, TMPDIR: tmp };
    const { output, status } = await runAs(user, [...TEST, ...files], { env, signal });
    const seconds = (performance.now() - started) / 1000;
    return readReport(output, { status, left: await readdir(tmp), seconds });
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Why a user cannot run tests, such as a checkout in somebody's private folder. */
export async function whyNot(bin: string, user: User): Promise<string | undefined> {
  const bundle = join(ROOT, "dist/handpick.js");
  for (const command of [
    [process.execPath, "--check", bundle],
    [join(bin, "nix-hash"), "--version"],
  ] as const) {
    const env = { ...suiteEnv(bin), HOME: "/tmp" };
    const { status } = await runAs(user, command, { env }).catch(() => ({
      status: 1,
    }));
    if (status !== 0) return `${user.name} may not run ${command.join(" ")}`;
  }
  return undefined;
}

const TEST = [
  process.execPath,
  "--test",
  "--test-concurrency=2",
  "--test-reporter=spec",
  "--test-timeout=300000",
] as const;

/** Few random cases: `npm test` searches them at length, and here the versions matter. */
const SHORT = { HANDPICK_CRASH_ROUNDS: "1", HANDPICK_FAULT_RUNS: "1", HANDPICK_FUZZ_RUNS: "100" };

function suiteEnv(bin: string): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(?:NIX_|XDG_|CACHIX_|ATTIC_|FORCE_COLOR$)/.test(name),
  );
  const path = [bin, dirname(process.execPath), process.env["PATH"] ?? ""].join(delimiter);
  return { ...SHORT, ...Object.fromEntries(kept), PATH: path, HANDPICK_TEST_MATRIX: "1" };
}

async function runAs(
  user: User,
  [program, ...args]: readonly [string, ...string[]],
  options: { readonly env: NodeJS.ProcessEnv; readonly signal?: AbortSignal },
): Promise<{ output: string; status: number }> {
  const child = spawn(program, args, {
    ...options,
    cwd: ROOT,
    stdio: ["ignore", "pipe", "pipe"],
    ...(user.uid === undefined ? {} : { uid: user.uid, gid: user.uid }),
  });
  const [output, complaints, [status]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "close") as Promise<[number | null]>,
  ]);
  return { output: output + complaints, status: status ?? 1 };
}

interface Ending {
  readonly status: number;
  readonly left: readonly string[];
  readonly seconds: number;
}

function readReport(output: string, { status, left, seconds }: Ending): SuiteResult {
  const count = (name: string): number =>
    Number(new RegExp(String.raw`^ℹ ${name} (\d+)$`, "m").exec(output)?.[1] ?? 0);
  const passed = count("pass");
  const failed = count("fail") + count("cancelled");
  const complaints: string[] = [];
  if (failed > 0) complaints.push(output.slice(output.indexOf("✖ failing tests:")));
  else if (status !== 0 || passed === 0) complaints.push(`It ended with ${status}:\n${output}`);
  if (left.length > 0) complaints.push(`It left in its temporary folder: ${left.join(", ")}`);
  return {
    passed,
    failed: failed === 0 && complaints.length > 0 ? 1 : failed,
    skipped: count("skipped"),
    seconds,
    failures: complaints.join("\n"),
    skips: Array.from(
      output.matchAll(/^\s*﹣ (.*?)(?: \([\d.]+ms\))?(?: # (.*))?$/gm),
      (match) => `${match[1] ?? ""}: ${match[2] ?? ""}`,
    ),
  };
}
