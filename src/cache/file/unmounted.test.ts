import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { findUnmounted } from "./unmounted.ts";

const FSTAB = `# <file system> <mount point> <type> <options>
UUID=1 / ext4 defaults 0 1
UUID=2 /mnt/usb vfat noauto 0 0
UUID=3 /mnt/my\\040disk ext4 noauto 0 0
nas:/export   /srv/nas\tnfs4  _netdev 0 0
UUID=4 none swap sw 0 0
`;
const MOUNTS = `22 1 8:1 / / rw - ext4 /dev/sda1 rw
40 22 0:30 / /srv/nas rw - nfs4 nas:/export rw
`;

describe("findUnmounted()", () => {
  it("finds a place of a disk that nothing is mounted on", () => {
    const cases: Readonly<Record<string, string | undefined>> = {
      "/mnt/usb/cache": "/mnt/usb",
      "/mnt/usb": "/mnt/usb",
      "/mnt/my disk/a/b": "/mnt/my disk",
      "/mnt/usbstick/cache": undefined,
      "/srv/nas/cache": undefined,
      "/srv/cache": undefined,
      "/mnt/other/cache": undefined,
    };
    for (const [dir, place] of Object.entries(cases)) {
      assert.equal(findUnmounted(dir, { fstab: FSTAB, mountinfo: MOUNTS }), place, dir);
    }
  });

  it("finds none once the disk is there, or without a table", () => {
    const mountinfo = `${MOUNTS}41 22 8:17 / /mnt/usb rw - vfat /dev/sdb1 rw\n`;
    assert.equal(findUnmounted("/mnt/usb/cache", { fstab: FSTAB, mountinfo }), undefined);
    assert.equal(findUnmounted("/mnt/usb/cache", { mountinfo }), undefined);
  });
});
