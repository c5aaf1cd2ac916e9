import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { appendFile, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { accepting, freePort } from "./listening.ts";
import { tempDir } from "./temp.ts";

/** Debian has it where an ordinary user does not look. */
const PROGRAMS = ["nginx", "/usr/sbin/nginx"];
const program = PROGRAMS.find((name) => {
  const { status, stderr } = spawnSync(name, ["-V"], { encoding: "utf8" });
  return status === 0 && stderr.includes("http_dav_module");
});

/**
 * Says why tests with nginx are skipped, false where they run.
 *
 * @throws Where they have to run and there is none.
 */
export function nginxSkip(): string | false {
  if (program !== undefined) return false;
  const reason = "there is no nginx with WebDAV: install nginx-light";
  if (process.env["HANDPICK_TEST_REQUIRE"] === undefined) return reason;
  throw new Error(`Cannot run a test that must run here: ${reason}`);
}

export interface NginxOptions {
  /** Directives of the place that holds the cache. @default {those of docs/http.md} */
  readonly location?: readonly string[];
  /** Directives of the server. */
  readonly server?: readonly string[];
  /** Lines `USER:PASSWORD`, for `auth_basic_user_file users`. */
  readonly users?: readonly string[];
  /** A folder for the cache and for bodies on their way. @default {one of its own} */
  readonly disk?: string | undefined;
}

/** A real nginx. */
export interface Nginx extends AsyncDisposable {
  /** The address of the cache, without a slash at its end. */
  readonly url: string;
  readonly port: number;
  /** The folder of the cache. */
  readonly dir: string;
  /** The lines of its log, `METHOD PATH STATUS`, from the start or from the last call on. */
  requests(): Promise<string[]>;
  /** Changes who may log in, from the next request on. */
  setUsers(users: readonly string[]): Promise<void>;
  /** Writes a file where the server finds it by its name. */
  write(name: string, text: string): Promise<void>;
}

export const DAV: readonly string[] = [
  "dav_methods PUT;",
  "create_full_put_path on;",
  "client_max_body_size 0;",
];

/** Starts nginx with a folder that it shows at `/cache/`. */
export async function startNginx(options: NginxOptions = {}): Promise<Nginx> {
  const temp = await tempDir();
  const port = await freePort();
  const conf = join(temp.dir, "nginx.conf");
  const log = join(temp.dir, "access.log");
  const dir = join(temp.dir, "www/cache");
  await mkdir(join(temp.dir, "www"));
  if (options.disk !== undefined) await symlink(join(options.disk, "cache"), dir);
  await mkdir(options.disk === undefined ? dir : join(options.disk, "cache"));
  const setUsers = (users: readonly string[]): Promise<void> =>
    writeFile(join(temp.dir, "users"), users.map(plainUser).join(""));
  await setUsers(options.users ?? []);
  await writeFile(conf, configuration(temp.dir, port, options));
  await appendFile(log, "");
  if (program === undefined) throw new Error("Cannot start nginx: there is none");
  const args = ["-p", temp.dir, "-c", conf, "-e", "stderr"];
  const child = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"] });
  const errors: Buffer[] = [];
  child.stderr.on("data", (data: Buffer) => void errors.push(data));
  const ended = once(child, "exit");
  await accepting({ at: port, ended, words: () => Buffer.concat(errors).toString() });
  let seen = 0;
  return {
    url: `http://127.0.0.1:${port}/cache`,
    port,
    dir,
    async requests() {
      const lines = (await readFile(log, "utf8")).split("\n").slice(seen, -1);
      seen += lines.length;
      return lines;
    },
    setUsers,
    write: (name, text) => writeFile(join(dir, name), text),
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await ended;
      await temp[Symbol.asyncDispose]();
    },
  };
}

/** nginx takes passwords as they are only if they say so. */
function plainUser(line: string): string {
  return `${line.replace(":", ":{PLAIN}")}\n`;
}

function configuration(
  dir: string,
  port: number,
  { location = DAV, server = [], disk = dir }: NginxOptions,
): string {
  const temporary = ["proxy", "fastcgi", "uwsgi", "scgi"];
  return `
    daemon off;
    master_process off;
    pid ${dir}/pid;
    error_log stderr;
    events { worker_connections 512; }
    http {
      # Moved to its name from another disk, a body that has no room there would leave a part of it.
      client_body_temp_path ${disk}/client_body;
      ${temporary.map((name) => `${name}_temp_path ${dir}/${name};`).join("\n")}
      log_format short "$request_method $request_uri $status";
      access_log ${dir}/access.log short;
      keepalive_requests 100000;
      server {
        listen 127.0.0.1:${port};
        root ${dir}/www;
        ${server.join("\n")}
        location /cache/ {
          ${location.join("\n")}
        }
      }
    }
  `;
}
