import { styleText } from "node:util";

import { printable } from "../report/format.ts";
import { writeText } from "../report/output.ts";
import { diagnose } from "../doctor/diagnose.ts";
import type { Check } from "../doctor/check.ts";
import { type CommonOptions, defineCommand, type NamedCommand } from "./command.ts";
import { EXIT } from "../error.ts";
import { exitCodeOf } from "./exit-code.ts";
import type { Io } from "./io.ts";
import { quietly } from "./prepare-run.ts";

interface DoctorOptions extends CommonOptions {
  readonly store?: string;
}

const COLOURS = { ok: "green", warning: "yellow", failed: "red" } as const;

/** `handpick doctor`: is everything there that a push needs? */
export function doctorCommand(io: Io): NamedCommand {
  return defineCommand<DoctorOptions>({
    usage: "doctor [cache...]",
    summary: "Check store, configuration, credentials and caches",
    description:
      "Check store, configuration, the starter of syncs, credentials and caches; upload\n" +
      "nothing. Without names, all configured caches are asked.",
    options: [["--store <store>", "Nix store to check (default: auto)"]],
    examples: [
      ["handpick doctor", "check all there is"],
      ["handpick doctor cachix://mycache", "check a cache before configuring it"],
      ["handpick doctor file:///srv/cache", "the same for a folder"],
    ],
    action: async (args, options) => {
      const checks: Check[] = [];
      const { env, cwd, uid, signal } = io;
      const run = diagnose({
        env,
        cwd,
        uid,
        signal,
        caches: args,
        notify: quietly({ quiet: options.quiet === true || options.json === true }, io),
        configFile: options.config,
        store: options.store,
      });
      for await (const check of run) {
        signal.throwIfAborted();
        checks.push(check);
        const isShown = options.quiet !== true || check.status === "failed";
        if (options.json !== true && isShown) show(check, io);
      }
      if (options.json === true) printJson(checks, io);
      const failed = checks.find(({ status }) => status === "failed");
      return failed === undefined ? EXIT.done : exitCodeOf(failed.error);
    },
  });
}

function show({ name, status, text, hint }: Check, { stdout }: Io): void {
  const word = styleText(COLOURS[status], status.padEnd(7), { stream: stdout });
  writeText(stdout, `${word} ${printable(name)}: ${printable(text)}`);
  for (const line of hint?.split("\n") ?? []) writeText(stdout, `          ${printable(line)}`);
}

function printJson(checks: readonly Check[], { stdout }: Io): void {
  const plain = checks.map(({ name, status, text, hint }) => ({ name, status, text, hint }));
  stdout.write(`${JSON.stringify({ version: 1, checks: plain })}\n`);
}
