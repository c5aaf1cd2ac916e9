import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { glob, mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const execute = promisify(execFile);
const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";
const TIMEOUT_MS = 600_000;

/** Something that this machine lacks, such as a network; its message is one line. */
export class Unavailable extends Error {
  override readonly name = "Unavailable";
}

/**
 * Unpacks a package of a Debian suite, and all it depends on, into `dir/root`. Nothing is configured:
 * what runs from there needs its own loader and libraries. Any user may do this, and the packages are
 * verified: apt is given a state of its own beside the machine's sources, proxies and keys.
 *
 * @throws {Unavailable} If apt, a mirror or the package cannot be had.
 */
export async function unpackDebian(suite: string, name: string, dir: string): Promise<void> {
  const apt = await privateApt(suite, join(dir, "apt"));
  await apt(["update"]);
  await apt(["--yes", "--no-install-recommends", "--download-only", "install", name]);
  const root = join(dir, "root");
  await mkdir(root);
  for await (const file of glob(join(dir, "apt/cache/archives/*.deb"))) {
    await execute("dpkg-deb", ["--extract", file, root]);
  }
  await rm(join(dir, "apt"), { recursive: true });
}

type Apt = (args: readonly string[]) => Promise<void>;

async function privateApt(suite: string, dir: string): Promise<Apt> {
  const sources = join(dir, "sources.list");
  await mkdir(join(dir, "state/lists/partial"), { recursive: true });
  await mkdir(join(dir, "cache/archives/partial"), { recursive: true });
  await writeFile(join(dir, "status"), "");
  const key = existsSync(KEYRING) ? `[signed-by=${KEYRING}] ` : "";
  await writeFile(sources, `deb ${key}${await debianMirror()} ${suite} main\n`);
  const settings = {
    "Dir::Etc::SourceList": sources,
    "Dir::Etc::SourceParts": "/dev/null",
    "Dir::State": join(dir, "state"),
    "Dir::State::status": join(dir, "status"),
    "Dir::Cache": join(dir, "cache"),
    "APT::Sandbox::User": "",
    "APT::Update::Error-Mode": "any",
    "Acquire::Retries": "2",
    "Acquire::http::Timeout": "30",
  };
  const options = Object.entries(settings).flatMap(([key, value]) => ["-o", `${key}=${value}`]);
  return async (args) => void (await aptGet(["--quiet", ...options, ...args]));
}

/** The mirror that this machine's own packages come from. */
async function debianMirror(): Promise<string> {
  const format = "$(REPO_URI) $(LABEL)";
  const rows = (await aptGet(["indextargets", "--format", format])).split("\n");
  // The label is known only where apt has fetched its lists before.
  const mirror = rows.find((row) => row.endsWith(" Debian")) ?? rows.find(isNamedDebian);
  if (mirror === undefined) throw new Unavailable("The sources of apt name no mirror of Debian");
  return mirror.replace(/ .*/, "");
}

function isNamedDebian(row: string): boolean {
  return /\/debian\/? /.test(row);
}

async function aptGet(args: readonly string[]): Promise<string> {
  try {
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C" };
    return (await execute("apt-get", args, { env, timeout: TIMEOUT_MS })).stdout;
  } catch (error) {
    const { code, stderr = "" } = error as { code?: unknown; stderr?: string };
    if (code === "ENOENT") throw new Unavailable("There is no apt-get", { cause: error });
    const complaint = stderr.split("\n").find((line) => line.startsWith("E: "));
    throw new Unavailable(complaint?.slice(3) ?? `apt-get ended with ${String(code)}`, {
      cause: error,
    });
  }
}
