import { createFileCache } from "../src/cache/file/file-cache.ts";
import { type SampleUpload, sampleUpload } from "./sample-upload.ts";

/** Paths that each refer to the one before, in parts. */
export function sampleChain(length: number): SampleUpload[] {
  const chain: SampleUpload[] = [];
  for (let n = 0; n < length; n += 1) {
    const references = chain.slice(-1).map(({ storePath }) => storePath);
    chain.push(sampleUpload({ name: `chain-${n}`, references, parts: 3 }));
  }
  return chain;
}

/**
 * Writes them into a folder, references first, the NARs ahead of the narinfos. Each is written again even
 * if it is there.
 */
export async function writeChain(dir: string, chain: readonly SampleUpload[]): Promise<void> {
  const { signal } = new AbortController();
  await using cache = createFileCache({ name: "shared", dir });
  const begun = chain.map(async (sample) => {
    const upload = await cache.beginUpload(sample.request, signal);
    for (const part of sample.parts) await upload.putPart(part, signal);
    return upload;
  });
  for (const [n, sample] of chain.entries()) await (await begun[n])?.publish(sample.packed, signal);
}

/** As a program: `file-writer.ts DIR LENGTH`; says when it begins and when it is done. */
if (import.meta.main) {
  const [dir = "", length] = process.argv.slice(2);
  const chain = sampleChain(Number(length));
  process.stdout.write("begin\n");
  await writeChain(dir, chain);
  process.stdout.write("done\n");
}
