import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, it } from "node:test";

import { CACHE, configuration, modulePath, moduleRig, needsRig } from "./module-rig.ts";

const needsShellcheck =
  needsRig || (spawnSync("shellcheck", ["--version"]).error && "shellcheck is not installed");

describe("the nix-darwin module", { timeout: 120_000 }, () => {
  it(
    "has a daemon that leaves word, pushes, and is started again",
    { skip: needsRig },
    async () => {
      await using rig = await moduleRig();
      const report = await rig.report("darwin", configuration(`${CACHE} interval = 600;`));
      assert.deepEqual([report.warnings, report.failedAssertions], [[], []]);
      const { ProgramArguments, ...daemon } = report.launchd.daemons["handpick"] as Record<
        string,
        unknown
      >;
      assert.match(String(ProgramArguments), /wait4path \/nix\/store && exec \S+-handpick-start/);
      assert.deepEqual(daemon, {
        EnvironmentVariables: {
          HANDPICK_STATE_DIR: "/var/lib/handpick",
          HOME: "/var/root",
          NIX_SSL_CERT_FILE: "/etc/ssl/certs/ca-certificates.crt",
        },
        Label: "org.nixos.handpick",
        LowPriorityIO: true,
        ProcessType: "Background",
        QueueDirectories: ["/var/lib/handpick/spool"],
        RunAtLoad: true,
        StandardErrorPath: "/var/log/handpick.log",
        StandardOutPath: "/var/log/handpick.log",
        StartInterval: 600,
      });
      const made = report.script.indexOf("mkdir -p /var/lib/handpick/spool");
      const loaded = report.script.indexOf("setting up launchd services");
      assert.ok(made > 0 && made < loaded, `${made} is not before ${loaded}`);
      const none = await rig.report("darwin", configuration(`${CACHE} trigger = "none";`));
      assert.doesNotMatch(none.script, /handpick\/spool/);
      assert.equal(none.launchd.daemons["handpick"], undefined);
      const bare = await rig.report("darwin", configuration());
      assert.match(
        bare.failedAssertions.join("\n"),
        /expected a cache in services\.handpick\.caches/,
      );
    },
  );

  it("passes the shellcheck of nix-darwin's builds", { skip: needsShellcheck }, async () => {
    await using rig = await moduleRig();
    const file = await rig.module(configuration(CACHE));
    const { status, stdout, stderr } = await rig.rig(
      "darwin",
      "lint",
      modulePath("nix-darwin"),
      file,
    );
    assert.equal(status, 0, `${stdout}${stderr}`);
  });
});
