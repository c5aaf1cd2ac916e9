import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";

import { sha256FromHex } from "../src/nix/hash.ts";
import { parseStorePath } from "../src/nix/store-path.ts";
import { NarSource } from "../src/push/nar-source.ts";
import type { PushTask } from "../src/push/push-paths.ts";

/** Makes real files with true hashes; `graph` maps a name to its references, in reference order. */
export function makeTasks(
  dir: string,
  graph: Readonly<Record<string, readonly string[]>>,
  contents: Uint8Array = Buffer.from("contents"),
): PushTask[] {
  const pathOf = (name: string): ReturnType<typeof parseStorePath> =>
    parseStorePath(
      `/nix/store/${createHash("md5").update(name).digest("hex").replaceAll("e", "z")}-${name}`,
    );
  return Object.entries(graph).map(([name, references]) => {
    const physicalPath = `${dir}/${name}`;
    writeFileSync(physicalPath, Buffer.concat([contents, Buffer.from(` of ${name}`)]));
    using source = new NarSource(physicalPath);
    const nar = Buffer.alloc(contents.length + 4096);
    const narBytes = nar.subarray(0, source.read(nar));
    return {
      physicalPath,
      info: {
        path: pathOf(name),
        narHash: sha256FromHex(createHash("sha256").update(narBytes).digest("hex")),
        narSize: narBytes.length,
        references: references.map(pathOf),
        deriver: undefined,
        registrationTime: 0,
        ultimate: true,
        signatures: [],
        contentAddress: undefined,
      },
    };
  });
}
