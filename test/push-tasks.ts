import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";

import { sha256FromHex } from "../src/nix/hash.ts";
import { NarSource } from "../src/push/nar-source.ts";
import type { PushTask } from "../src/push/push-paths.ts";
import { type Graph, toyInfo } from "./toy-paths.ts";

/** Makes real files with true hashes; `graph` is in reference order. */
export function makeTasks(
  dir: string,
  graph: Graph,
  contents: Uint8Array = Buffer.from("contents"),
): PushTask[] {
  return Object.entries(graph).map(([name, references]) => {
    const physicalPath = `${dir}/${name}`;
    writeFileSync(physicalPath, Buffer.concat([contents, Buffer.from(` of ${name}`)]));
    using source = new NarSource(physicalPath);
    const nar = Buffer.alloc(contents.length + 4096);
    const narBytes = nar.subarray(0, source.read(nar));
    const narHash = sha256FromHex(createHash("sha256").update(narBytes).digest("hex"));
    return {
      physicalPath,
      info: toyInfo(name, references, { narHash, narSize: narBytes.length }),
    };
  });
}
