import assert from "node:assert/strict";

import * as fc from "fast-check";

/** How many cases a fuzzing test tries; raise it with `HANDPICK_FUZZ_RUNS` to search longer. */
export const FUZZ_RUNS: number = Number(process.env["HANDPICK_FUZZ_RUNS"] ?? 1000);

/** The same for tests whose every case takes a connection or a process. */
export const SLOW_FUZZ_RUNS: number = Math.ceil(FUZZ_RUNS / 10);

/** The seed that fast-check printed with a failure makes the same cases again. */
const seed = process.env["HANDPICK_FUZZ_SEED"];
if (seed !== undefined) fc.configureGlobal({ seed: Number(seed) });

/** Pieces of text that have broken parsers elsewhere. */
const DICTIONARY = [
  "\0",
  "\r\n",
  "\u2028",
  "\ufeff",
  "\ud800",
  "..",
  "//",
  "\\",
  '"',
  "''",
  "-1",
  "1e999",
  "9007199254740993",
  "__proto__",
  "constructor",
  "toString",
  '{"__proto__":{"polluted":1}}',
  "[[[[[[[[",
  "{{{{{{{{",
];

/** One change of a list: some items go, others come, from elsewhere in the samples perhaps. */
interface Edit<T> {
  readonly at: number;
  readonly removed: number;
  readonly inserted: readonly T[];
  readonly copied: { readonly sample: readonly T[]; readonly from: number; readonly size: number };
}

/**
 * One of `samples` after a few changes: items removed, replaced, added, repeated, brought from
 * another place or another sample, or cut off at the end.
 */
export function edited<T>(
  samples: readonly (readonly T[])[],
  item: fc.Arbitrary<T>,
): fc.Arbitrary<readonly T[]> {
  const place = fc.double({ min: 0, max: 1, noNaN: true });
  const sample = fc.constantFrom(...samples);
  const edit: fc.Arbitrary<Edit<T>> = fc.record({
    at: place,
    removed: fc.oneof(fc.nat(2), fc.nat(64), fc.constant(Infinity)),
    inserted: fc.array(item, { maxLength: 4 }),
    copied: fc.record({ sample, from: place, size: fc.oneof(fc.constant(0), fc.nat(32)) }),
  });
  return fc
    .tuple(sample, fc.array(edit, { maxLength: 4 }))
    .map(([start, edits]) => edits.reduce<readonly T[]>(applyEdit, start));
}

/** Any bytes, or one of `samples` after a few changes, single bits among them. */
export function hostileBytes(samples: readonly Uint8Array[]): fc.Arbitrary<Uint8Array> {
  const piece = fc.oneof(
    { weight: 4, arbitrary: fc.uint8Array({ maxLength: 3 }) },
    { weight: 1, arbitrary: fc.constantFrom(...DICTIONARY).map((word) => Buffer.from(word)) },
  );
  const flips = fc.array(fc.tuple(fc.nat(), fc.nat(7)), { maxLength: 2 });
  const changed = fc
    .tuple(edited(samples.map(pieces), piece), flips)
    .map(([list, at]) => flipBits(Buffer.concat(list), at));
  return fc.oneof({ weight: 1, arbitrary: fc.uint8Array() }, { weight: 6, arbitrary: changed });
}

/** {@link hostileBytes} as text, where what is not UTF-8 has become U+FFFD. */
export function hostileText(samples: readonly string[]): fc.Arbitrary<string> {
  const bytes = hostileBytes(samples.map((sample) => Buffer.from(sample)));
  const decoded = bytes.map((text) => Buffer.from(text).toString());
  return fc.oneof(
    { weight: 1, arbitrary: fc.string({ unit: "binary" }) },
    { weight: 6, arbitrary: decoded },
  );
}

/**
 * The value that `parse` gives, or undefined if it refuses with the error of that name.
 *
 * @throws Any other error: the parser is not to throw it.
 */
export function valueOrRefusal<T>(errorName: string, parse: () => T): T | undefined {
  try {
    return parse();
  } catch (error) {
    if (error instanceof Error && error.name === errorName) return undefined;
    throw error;
  }
}

/** @throws {AssertionError} If `act` takes more than four seconds of processor time. */
export function assertQuick(what: string, act: () => unknown): void {
  const before = process.cpuUsage();
  act();
  const { user, system } = process.cpuUsage(before);
  const tookMs = (user + system) / 1000;
  assert.ok(tookMs < SLOWEST_MS, `${Math.round(tookMs)} ms for ${what}`);
}

const LONGEST = 1 << 20;
/** Half a second of work takes up to three where coverage is measured. */
const SLOWEST_MS = 4000;

/**
 * Feeds `parse` texts of up to 1 MiB that invite it to look back: one character or word
 * again and again, alone, behind a sample and in the middle of one.
 *
 * @throws {AssertionError} If one takes more than four seconds: what takes a time that grows faster
 *   than the text does so before the longest text is reached.
 */
export function assertLinear(samples: readonly string[], parse: (text: string) => unknown): void {
  const characters = Array.from("\0 \t\n\r0aZ/\\.-_:;,@%?*#+=\"'`|&<>()[]{}é\u{1f4a9}");
  const units = new Set([...characters, ...DICTIONARY, "a/", "//", "\\\\", "a=1\n"]);
  for (const unit of units) {
    const places = samples.flatMap((sample) => [
      [sample, ""],
      [sample.slice(0, sample.length / 2), sample.slice(sample.length / 2)],
    ]);
    for (const [before = "", after = ""] of [["", ""], ...places]) {
      for (let size = 1 << 14; size <= LONGEST; size *= 8) {
        const text = before + unit.repeat(Math.ceil(size / unit.length)) + after;
        const what = `${JSON.stringify(before)}, then ${JSON.stringify(unit)} for ${size} characters`;
        assertQuick(what, () => parse(text));
      }
    }
  }
}

/** Bytes as single ones, so that every place can be edited. */
function pieces(bytes: Uint8Array): Uint8Array[] {
  return Array.from(bytes, (_, index) => bytes.subarray(index, index + 1));
}

function flipBits(bytes: Buffer, flips: readonly (readonly [number, number])[]): Buffer {
  for (const [at, bit] of flips) {
    const index = at % Math.max(1, bytes.length);
    const byte = bytes[index];
    if (byte !== undefined) bytes[index] = byte ^ (1 << bit);
  }
  return bytes;
}

function applyEdit<T>(
  list: readonly T[],
  { at, removed, inserted, copied }: Edit<T>,
): readonly T[] {
  const start = Math.floor(at * list.length);
  const from = Math.floor(copied.from * copied.sample.length);
  const brought = copied.sample.slice(from, from + copied.size);
  return [...list.slice(0, start), ...inserted, ...brought, ...list.slice(start + removed)];
}
