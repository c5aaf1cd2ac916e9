import { createHash } from "node:crypto";
import { zstdCompressSync } from "node:zlib";

import type { NarInfoFields, UploadPart } from "../src/cache/contract.ts";
import { encodeBase32 } from "../src/nix/base32.ts";
import { sha256FromDigest } from "../src/nix/hash.ts";
import { NAR_MAGIC, narFileHead, narFileTail } from "../src/nix/nar-encode.ts";
import { fromBaseName } from "../src/nix/store-path.ts";
import type { StorePath } from "../src/nix/store-path.ts";

/** A NAR that is ready to be uploaded. */
export interface SampleUpload {
  readonly storePath: StorePath;
  readonly fields: NarInfoFields;
  readonly parts: readonly UploadPart[];
  /** The compressed NAR. */
  readonly file: Buffer;
}

export interface SampleOptions {
  /** Becomes the name, the contents and, hashed, the hash part. */
  readonly name: string;
  readonly references?: readonly StorePath[];
  /** How many parts of about equal size. @default {1} */
  readonly parts?: number;
  readonly fields?: Partial<NarInfoFields>;
}

/** Makes the NAR of one small file, its narinfo and its parts. */
export function sampleUpload({
  name,
  references = [],
  parts = 1,
  fields = {},
}: SampleOptions): SampleUpload {
  const contents = Buffer.from(`The contents of ${name}\n`);
  const head = narFileHead(contents.length, false);
  const nar = Buffer.concat([NAR_MAGIC, head, contents, narFileTail(contents.length)]);
  const file = zstdCompressSync(nar);
  const hashPart = encodeBase32(sha256(name).subarray(0, 20));
  const storePath = fromBaseName(`${hashPart}-${name}`);
  const partSize = Math.ceil(file.length / parts);
  return {
    storePath,
    file,
    parts: Array.from({ length: parts }, (_, index) =>
      samplePart(index + 1, file.subarray(index * partSize, (index + 1) * partSize)),
    ),
    fields: {
      storePath,
      narHash: sha256FromDigest(sha256(nar)),
      narSize: nar.length,
      references,
      deriver: undefined,
      contentAddress: undefined,
      fileHash: sha256FromDigest(sha256(file)),
      fileSize: file.length,
      signature: undefined,
      ...fields,
    },
  };
}

/** A part of these bytes. */
export function samplePart(number: number, bytes: Uint8Array): UploadPart {
  return {
    number,
    bytes: new Uint8Array(bytes),
    md5: createHash("md5").update(bytes).digest("base64"),
  };
}

function sha256(data: string | Uint8Array): Buffer {
  return createHash("sha256").update(data).digest();
}
