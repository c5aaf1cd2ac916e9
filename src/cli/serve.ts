import { once } from "node:events";
import { join, resolve } from "node:path";
import { setFlagsFromString } from "node:v8";

import { assertConfigFile, ownFiles } from "../config/find-config.ts";
import { stateDirectory } from "../config/state-directory.ts";
import { EXIT, HandpickError } from "../error.ts";
import { quoteUrl } from "../nix/format-error.ts";
import { printable } from "../report/format.ts";
import { type CommonOptions, defineCommand, type NamedCommand } from "./command.ts";
import type { Io } from "./io.ts";

interface ServeCommandOptions extends CommonOptions {
  readonly dir?: string;
  readonly listen?: string;
  readonly name?: string;
  readonly private?: boolean;
  readonly publicUrl?: string;
  readonly upstream?: string[];
}

/**
 * Memory outside of the heap counts as part of it: with the usual factor of growth, uploads had the
 * collector mark all that lives for every 20 MB that came or was unpacked. This takes 10 % of the
 * processor time off, and adds nothing to the peak of memory.
 */
const HEAP_FLAG = "--heap-growing-percent=300";
const DEFAULT_LISTEN = "127.0.0.1:8080";

/** `handpick serve`: the embedded cache, for trying, testing and one machine's network. */
export function serveCommand(io: Io): NamedCommand {
  return defineCommand<ServeCommandOptions>({
    usage: "serve",
    summary: "Run a small cache that speaks Cachix's protocol",
    description:
      "Run a small cache that speaks Cachix's protocol: for trying handpick, for\n" +
      "tests, and for the machines of one network. Ctrl-C stops it.",
    options: [
      ["-d, --dir <dir>", "Where everything is stored (default: <state folder>/serve)"],
      ["-l, --listen <host:port>", `Address; port 0 picks a free one (default: ${DEFAULT_LISTEN})`],
      ["-n, --name <name>", "The cache's name, as in cachix://NAME (default: local)"],
      ["--private", "Let only holders of the token read (default: everybody)"],
      ["--public-url <url>", "URL for clients, such as that of a proxy in front (default: none)"],
      ["--upstream <url...>", "Caches that readers have besides this one (default: none)"],
    ],
    examples: [
      ["handpick serve", "a cache at http://127.0.0.1:8080"],
      ["handpick serve --listen 0.0.0.0:8080 --private", "for the machines of a network"],
    ],
    action: async (_, options) => {
      await assertConfigFile({ file: options.config, cwd: io.cwd });
      return serve(options, io);
    },
  });
}

async function serve(options: ServeCommandOptions, io: Io): Promise<number> {
  const { nixConfLines, startServer } = await import("../serve/server.ts");
  const dir = resolve(io.cwd, options.dir ?? join(stateDirectory(io.env, io.uid), "serve"));
  const name = options.name ?? "local";
  setFlagsFromString(HEAP_FLAG);
  await using server = await startServer({
    ...parseListen(options.listen ?? DEFAULT_LISTEN),
    dir,
    name,
    isPrivate: options.private === true,
    publicUrl: options.publicUrl === undefined ? undefined : parsePublicUrl(options.publicUrl),
    env: io.env,
    upstreams: (options.upstream ?? []).map(parseUpstream),
    log: (line) => {
      if (options.quiet !== true) io.stderr.write(`${printable(line).replaceAll("\n", " ")}\n`);
    },
  });
  const { url, publicKeys, tokenFile } = server;
  const nixConf = nixConfLines(server);
  if (options.json === true) {
    io.stdout.write(
      `${JSON.stringify({ event: "listening", url, name, publicKeys, tokenFile, nixConf })}\n`,
    );
  } else {
    io.stdout.write(`Cache "${name}" at ${url}, stored in ${dir}\n\n`);
    io.stdout.write(
      `To push, in ${ownFiles(io)[0]}:\n  [caches.${name}]\n  url = "cachix://${name}"\n  host = "${url}"\n  token-file = "${tokenFile}"\n\n`,
    );
    io.stdout.write(`To read, in nix.conf:\n${nixConf.map((line) => `  ${line}\n`).join("")}`);
  }
  if (!io.signal.aborted) await once(io.signal, "abort");
  return EXIT.done;
}

function parseUpstream(text: string): string {
  const url = URL.parse(text);
  if (url?.protocol === "https:" || url?.protocol === "http:") return text;
  const message = `Cannot use the upstream ${quoteUrl(text)}: expected a URL of https:// or http://`;
  throw new HandpickError("USAGE", message, { hint: "For example https://cache.nixos.org." });
}

function parsePublicUrl(text: string): string {
  const url = URL.parse(text);
  const isWeb = url?.protocol === "https:" || url?.protocol === "http:";
  if (isWeb && url.username === "" && url.password === "" && url.search + url.hash === "") {
    return `${url.origin}${url.pathname.replace(/\/+$/, "")}`;
  }
  const message = `Cannot be served at ${quoteUrl(text)}: expected a URL of https:// or http://`;
  throw new HandpickError("USAGE", message, { hint: "For example https://cache.example.org." });
}

function parseListen(text: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]/\s]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined || port > 65_535) {
    throw new HandpickError(
      "USAGE",
      `Cannot listen on ${JSON.stringify(text.slice(0, 80))}: expected HOST:PORT`,
      {
        hint: `For example ${DEFAULT_LISTEN}, [::1]:8080 or 127.0.0.1:0.`,
      },
    );
  }
  return { host, port };
}
