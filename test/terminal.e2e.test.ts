import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { describe, it } from "node:test";

import { BUNDLE, startServe } from "./handpick.ts";
import { createTestNix } from "./nix.ts";
import type { TestNix } from "./nix.ts";

interface TerminalOptions {
  readonly columns?: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs handpick on a terminal of its own, as util-linux's script(1) makes it. */
async function onTerminal(
  nix: TestNix,
  args: readonly string[],
  { columns = 100, env = {} }: TerminalOptions = {},
): Promise<{ readonly status: number | null; readonly screen: string }> {
  const words = [process.execPath, BUNDLE, ...args].map((word) => `'${word}'`);
  const line = `stty rows 24 cols ${columns}; exec ${words.join(" ")}`;
  const child = spawn("script", ["--quiet", "--return", "--command", line, "/dev/null"], {
    cwd: nix.dir,
    env: {
      ...nix.env,
      HANDPICK_CONFIG: join(nix.dir, "handpick.toml"),
      TERM: "xterm",
      SHELL: "/bin/sh",
      ...env,
    },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [screen, [status]] = await Promise.all([
    text(child.stdout),
    once(child, "exit") as Promise<[number | null]>,
  ]);
  return { status, screen };
}

const ESCAPE = "\u001b[";

describe("handpick on a terminal", { timeout: 60_000 }, () => {
  it("redraws a status in colour, and obeys NO_COLOR and CI", async () => {
    await using nix = await createTestNix({ root: true });
    await using _serve = await startServe(nix);
    const first = await nix.add("first", randomBytes(24 << 20).toString("base64"));
    const coloured = await onTerminal(nix, ["push", first]);
    assert.equal(coloured.status, 0, coloured.screen);
    assert.ok(coloured.screen.includes(`${ESCAPE}32m✓${ESCAPE}39m first`), coloured.screen);
    assert.match(coloured.screen, /[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] +\d+% \[0\/1\] 1 uploading/);
    assert.match(coloured.screen, /1 pushed \(/);

    const plain = await onTerminal(nix, ["push", await nix.add("second", "2")], {
      env: { NO_COLOR: "1" },
    });
    assert.ok(plain.screen.includes("✓ second"), plain.screen);

    const ci = await onTerminal(nix, ["push", await nix.add("third", "3")], {
      env: { CI: "true", NO_COLOR: "1" },
    });
    assert.ok(!ci.screen.includes("\u001b"), "no escape sequences for a log");
    assert.match(ci.screen, /^mine: 1 selected, 1 to push/);

    const sizeless = await onTerminal(nix, ["push", await nix.add("fourth", "4")], { columns: 0 });
    assert.match(sizeless.screen, /\n.*✓.* fourth  .*\r\n/, "lines stay whole");
  });
});
