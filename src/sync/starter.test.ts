import assert from "node:assert/strict";
import { chmod, mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { once } from "node:events";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";

import { type TempDir, tempDir } from "../../test/temp.ts";
import { makeStateFolder, stateFolder, type StateFolder } from "../state/state-folder.ts";
import { findStarter, type Starter } from "./starter.ts";

describe("findStarter()", () => {
  let temp: TempDir;
  let folder: StateFolder;
  beforeEach(async () => {
    temp = await tempDir();
    folder = stateFolder(join(temp.dir, "state/handpick"));
    await makeStateFolder(folder);
  });
  afterEach(() => temp[Symbol.asyncDispose]());

  const place = async (name: string, text: string): Promise<string> => {
    const file = join(temp.dir, name);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text);
    return file;
  };
  const find = (): Promise<Starter> =>
    findStarter(folder, {
      root: temp.dir,
      env: { HOME: join(temp.dir, "home"), XDG_RUNTIME_DIR: join(temp.dir, "run"), PATH: temp.dir },
    });
  /** Makes what shows that the manager of a user runs. */
  const listen = async (): Promise<AsyncDisposable> => {
    const server = createServer();
    await mkdir(join(temp.dir, "run/systemd"), { recursive: true });
    server.listen(join(temp.dir, "run/systemd/private"));
    await once(server, "listening");
    return server;
  };

  it("finds nobody where nothing names the spool", async () => {
    await using _manager = await listen();
    await place(
      "home/.config/systemd/user/handpick.path",
      "[Path]\nDirectoryNotEmpty=/elsewhere\n",
    );
    await place(
      "etc/crontab",
      "# * * * * * root handpick sync\n*/5 * * * * root handpick status\n",
    );
    await place("Library/LaunchDaemons/org.handpick.plist", "<string>/elsewhere</string>");
    assert.deepEqual(await find(), { by: "nobody" });
  });

  it("finds a unit of the user, and how often its timer runs, if the manager does", async () => {
    const spool = `[Path]\nDirectoryNotEmpty=${folder.spool}`; // no line feed at the end
    const file = await place("home/.config/systemd/user/handpick.path", spool);
    await place("home/.config/systemd/user/handpick.timer", "[Timer]\nOnUnitInactiveSec=15min\n");
    assert.deepEqual(await find(), { by: "nobody" });
    await using _manager = await listen();
    assert.deepEqual(await find(), { by: "systemd-user", file, every: "15min" });
  });

  it("gives a number alone its unit, as in the timers of the modules", async () => {
    await using _manager = await listen();
    await place("home/.config/systemd/user/handpick.path", `DirectoryNotEmpty=${folder.spool}\n`);
    await place("home/.config/systemd/user/handpick.timer", "OnUnitInactiveSec=1800\n");
    assert.equal((await find()).every, "1800 s");
  });

  it("finds a unit with a specifier for the folder, as units of all users have", async () => {
    await using _manager = await listen();
    const text = "[Path]\nDirectoryNotEmpty=%h/.local/state/handpick/spool\n";
    const file = await place("etc/systemd/user/handpick.path", text);
    assert.deepEqual(await find(), { by: "systemd-user", file });
  });

  it("finds a unit of the system", async () => {
    const text = `[Path]\nDirectoryNotEmpty=${folder.spool}\n`;
    const file = await place("etc/systemd/system/handpick.path", text);
    await mkdir(join(temp.dir, "run/systemd/system"), { recursive: true });
    assert.deepEqual(await find(), { by: "systemd", file });
  });

  it("finds an agent of launchd", async () => {
    const text = `<array><string>${folder.spool}</string></array>
      <key>StartInterval</key>\n<integer>900</integer>`;
    const file = await place("home/Library/LaunchAgents/org.nix.handpick.plist", text);
    assert.deepEqual(await find(), { by: "launchd", file, every: "900 s" });
  });

  it("finds a line of cron, of the machine and of the user", async () => {
    const crontab = await place("crontab", "#!/bin/sh\necho '@hourly /opt/bin/handpick sync -q'\n");
    await chmod(crontab, 0o755);
    assert.deepEqual(await find(), { by: "cron", file: "crontab -l", every: "@hourly" });
    const file = await place(
      "etc/cron.d/handpick",
      "MAILTO=me\n*/15 * * * * me handpick sync -q\n",
    );
    assert.deepEqual(await find(), { by: "cron", file, every: "*/15 * * * *" });
  });

  it("finds hooks of shells by what they have done", async () => {
    const link = join(folder.dir, "started");
    await symlink("5000", link);
    assert.deepEqual(await find(), { by: "shell", startedAt: 5_000_000 });
    await rm(link);
    await symlink("rubbish", link);
    assert.deepEqual(await find(), { by: "nobody" });
  });
});
