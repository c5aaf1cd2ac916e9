import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { zstdCompressSync } from "node:zlib";

import type {
  Cache,
  Compression,
  PackedFile,
  Upload,
  UploadPart,
  UploadRequest,
} from "../src/cache/contract.ts";
import { encodeBase32 } from "../src/nix/base32.ts";
import { sha256FromDigest } from "../src/nix/hash.ts";
import { NAR_MAGIC, narFileHead, narFileTail } from "../src/nix/nar-encode.ts";
import { fromBaseName } from "../src/nix/store-path.ts";
import type { PathInfo } from "../src/nix/path-info.ts";
import type { StorePath } from "../src/nix/store-path.ts";

/** A NAR that is ready to be uploaded. */
export interface SampleUpload {
  readonly storePath: StorePath;
  readonly request: UploadRequest;
  readonly packed: PackedFile;
  readonly parts: readonly UploadPart[];
  /** The compressed NAR. */
  readonly file: Buffer;
}

export interface SampleOptions {
  /** Becomes the name and, hashed, the hash part. */
  readonly name: string;
  /** @default {a line with the name} */
  readonly contents?: Buffer;
  readonly references?: readonly StorePath[];
  /** How many parts of about equal size. @default {1} */
  readonly parts?: number;
  /** The least that a part may have, but the last: makes the contents as long as that takes. @default {1} */
  readonly partBytes?: number;
  readonly info?: Partial<PathInfo>;
  readonly signatures?: readonly string[];
  /** @default {"zstd"} */
  readonly compression?: Compression;
}

/** How a NAR is compressed, in one piece. */
export const COMPRESSORS: Readonly<Record<Compression, (nar: Buffer) => Buffer>> = {
  zstd: (nar) => zstdCompressSync(nar),
  xz: (nar) => execFileSync("xz", ["--stdout"], { input: nar }),
  none: (nar) => nar,
};

/** Makes the NAR of one small file, its narinfo and its parts. */
export function sampleUpload({
  name,
  references = [],
  parts = 1,
  partBytes = 1,
  contents = contentsOf(name, parts === 1 || partBytes === 1 ? 0 : parts * partBytes),
  info = {},
  signatures = [],
  compression = "zstd",
}: SampleOptions): SampleUpload {
  const head = narFileHead(contents.length, false);
  const nar = Buffer.concat([NAR_MAGIC, head, contents, narFileTail(contents.length)]);
  const file = COMPRESSORS[compression](nar);
  const hashPart = encodeBase32(sha256(name).subarray(0, 20));
  const storePath = fromBaseName(`${hashPart}-${name}`);
  const partSize = Math.ceil(file.length / parts);
  const fileHash = sha256FromDigest(sha256(file));
  return {
    storePath,
    file,
    parts: Array.from({ length: parts }, (_, index) => ({
      ...samplePart(
        index + 1,
        file.subarray(index * partSize, (index + 1) * partSize),
        index * partSize,
      ),
      fileHash: index === parts - 1 ? fileHash : undefined,
    })),
    request: {
      info: {
        path: storePath,
        narHash: sha256FromDigest(sha256(nar)),
        narSize: nar.length,
        references,
        deriver: undefined,
        registrationTime: 0,
        ultimate: true,
        signatures: [],
        contentAddress: undefined,
        ...info,
      },
      compression,
      signatures,
    },
    packed: { fileHash, fileSize: file.length },
  };
}

/** Uploads a sample as a push does: it gives up what fails. */
export async function publishSample(
  cache: Cache,
  sample: SampleUpload,
  signal: AbortSignal = new AbortController().signal,
): Promise<Upload> {
  const upload = await cache.beginUpload(sample.request, signal);
  try {
    for (const part of sample.parts) await upload.putPart(part, signal);
    await upload.publish(sample.packed, signal);
    return upload;
  } catch (error) {
    await upload.abort();
    throw error;
  }
}

/** A line; or as many bytes as are asked for, the same each time, which no compression makes less. */
function contentsOf(name: string, sizeBytes: number): Buffer {
  const text = `The contents of ${name}\n`;
  if (sizeBytes === 0) return Buffer.from(text);
  return createHash("shake256", { outputLength: sizeBytes }).update(text).digest();
}

/** A part of these bytes, with others after it. */
export function samplePart(number: number, bytes: Uint8Array, offset = 0): UploadPart {
  return {
    number,
    offset,
    bytes: new Uint8Array(bytes),
    md5: createHash("md5").update(bytes).digest("base64"),
    fileHash: undefined,
  };
}

function sha256(data: string | Uint8Array): Buffer {
  return createHash("sha256").update(data).digest();
}
