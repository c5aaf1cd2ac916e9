// Runs a task of this project (test, try, check, build) on a machine that may have nothing but
// Node 20 and npm: installs the npm dependencies, among them a Node that is new enough, and Nix
// where there is none; then starts the task with this Node if it is new enough, else with that one.
// Plain JavaScript, since Node 20 runs it.
import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, readFileSync, statSync } from "node:fs";
import { userInfo } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const node = isNewEnough() ? process.execPath : join(root, "node_modules", ".bin", "node");
const lockFile = join(root, "package-lock.json");
/** npm writes this file last, so a newer lock file means dependencies that are out of date. */
const installed = join(root, "node_modules", ".package-lock.json");
const needsNix = new Set(["test", "try", "bench", "campaign"]);
const needsPrograms = new Set([...needsNix, "nix-matrix"]);

const [task, ...args] = process.argv.slice(2);
const file = join(root, "scripts", `${task}.ts`);
if (task === undefined || !existsSync(file)) {
  fail(`There is no task ${JSON.stringify(task ?? "")}; see "scripts" in package.json`);
}
if (!existsSync(installed) || statSync(installed).mtimeMs < statSync(lockFile).mtimeMs) {
  step("Installing npm dependencies");
  // Quiet, for npm itself may run under an older Node than the project asks for, and says so.
  execute("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"]);
}
if (needsPrograms.has(task)) installPrograms();
const asMember = needsNix.has(task) ? daemonGroup() : [];
const [program, ...words] = [...asMember, node, file, ...args];
process.exit(execute(program, words, { mayFail: true }));

/** Compares the Node that runs this with the oldest that the project works with. */
function isNewEnough() {
  const { engines } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const [major, minor] = process.versions.node.split(".").map(Number);
  const [leastMajor, leastMinor] = engines.node.replace(">=", "").split(".").map(Number);
  return major > leastMajor || (major === leastMajor && minor >= leastMinor);
}

/**
 * On Debian only members of a group may talk to the Nix daemon, and somebody who has just installed
 * Nix is not yet one. With sudo the task runs as the same user with that group.
 */
function daemonGroup() {
  const socketFolder = "/nix/var/nix/daemon-socket";
  if (process.getuid?.() === 0 || !existsSync(socketFolder) || !has("sudo")) return [];
  try {
    accessSync(socketFolder, constants.X_OK);
    return [];
  } catch {
    const { gid } = statSync(socketFolder);
    const { username } = userInfo();
    step("Using the Nix daemon as a member of its group, by sudo");
    const keep = ["PATH", "HOME", "CI"].filter((name) => process.env[name] !== undefined);
    const env = keep.map((name) => `${name}=${process.env[name]}`);
    return ["sudo", "-u", username, "-g", `#${gid}`, "env", ...env];
  }
}

/** Installs what is missing of Nix and xz, by apt as root or with sudo. */
function installPrograms() {
  const packages = [];
  if (!has("nix-store")) packages.push("nix-bin");
  if (!has("xz")) packages.push("xz-utils");
  if (task === "bench" && !has("zstd")) packages.push("zstd");
  if (packages.length === 0) return;
  const names = packages.join(" and ");
  if (!has("apt-get")) fail(`Please install ${names}: there is no apt-get here to do it with`);
  const isRoot = process.getuid?.() === 0;
  if (!isRoot && !has("sudo")) fail(`Please install ${names}, or run this as root or with sudo`);
  step(`Installing ${names}`);
  const apt = isRoot ? ["apt-get"] : ["sudo", "apt-get"];
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  execute(apt[0], [...apt.slice(1), "-qq", "update"], { env });
  const install = ["-qq", "-y", "--no-install-recommends", "install", ...packages];
  execute(apt[0], [...apt.slice(1), ...install], { env, quiet: true });
}

function has(program) {
  return (process.env.PATH ?? "")
    .split(":")
    .some((dir) => dir !== "" && existsSync(join(dir, program)));
}

function execute(command, commandArgs, { env = process.env, mayFail = false, quiet = false } = {}) {
  const stdio = quiet ? ["ignore", "ignore", "inherit"] : "inherit";
  const { error, status, signal } = spawnSync(command, commandArgs, { cwd: root, env, stdio });
  if (error) fail(`Cannot run ${command}: ${error.message}`);
  const exitCode = signal === null ? status : 130;
  if (exitCode !== 0 && !mayFail)
    fail(`${command} ${commandArgs.join(" ")} ended with ${exitCode}`);
  return exitCode;
}

function step(text) {
  process.stderr.write(`-- ${text}\n`);
}

function fail(text) {
  process.stderr.write(`${text}\n`);
  process.exit(1);
}
