import { atticKind } from "./attic/attic-kind.ts";
import { cachixKind } from "./cachix/cachix-kind.ts";
import { fileKind } from "./file/file-kind.ts";
import { httpKind, httpsKind } from "./http/http-kind.ts";
import type { CacheKind } from "./kind.ts";
import { s3Kind } from "./s3/s3-kind.ts";

/** Every kind of cache that this version pushes to; a new one is its folder and a row here. */
export const KINDS: readonly CacheKind[] = [
  cachixKind,
  fileKind,
  httpsKind,
  httpKind,
  s3Kind,
  atticKind,
];

/** Returns the kind of a cache by the scheme of its URL; undefined for a scheme of no kind. */
export function kindOf(url: string): CacheKind | undefined {
  return KINDS.find(({ scheme }) => url.startsWith(`${scheme}://`));
}

/** One kind of each form: some have two schemes. */
const FORMS = KINDS.filter(
  ({ form }, index) => KINDS.findIndex((kind) => kind.form === form) === index,
);

/** Says which URLs there are, such as `cachix://NAME or file:///DIR`. */
export function urlForms(): string {
  return FORMS.map(({ form }) => form).join(" or ");
}

/** Gives a whole URL of each form, such as `cachix://mycache or file:///srv/cache`. */
export function urlExamples(): string {
  return FORMS.map(({ example }) => example).join(" or ");
}
