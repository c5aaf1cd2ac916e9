import { atticKind } from "./attic.ts";
import { cachixKind } from "./cachix.ts";
import { fileKind, memoryKind } from "./file.ts";
import { httpKind } from "./http.ts";
import type { CampaignKind, KindName } from "./kind.ts";
import { s3Kind } from "./s3.ts";
import { serveKind } from "./serve.ts";

/** Every kind of cache that a round may have; a new one is its file and a row here. */
export const KINDS: Readonly<Record<KindName, CampaignKind>> = {
  cachix: cachixKind,
  file: fileKind,
  s3: s3Kind,
  attic: atticKind,
  http: httpKind,
  serve: serveKind,
  memory: memoryKind,
};

export const KIND_NAMES: readonly KindName[] = Object.values(KINDS).map(({ name }) => name);
