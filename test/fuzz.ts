import * as fc from "fast-check";

/** How many cases a fuzzing test tries; raise it with `HANDPICK_FUZZ_RUNS` to search longer. */
export const FUZZ_RUNS: number = Number(process.env["HANDPICK_FUZZ_RUNS"] ?? 300);

interface Edit {
  readonly at: number;
  readonly removed: number;
  readonly inserted: Uint8Array;
}

/** Any bytes, or one of `samples` with a few of its bytes removed, replaced or added. */
export function hostileBytes(samples: readonly Uint8Array[]): fc.Arbitrary<Uint8Array> {
  const edit = fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    removed: fc.oneof(fc.nat(2), fc.nat(64)),
    inserted: fc.uint8Array({ maxLength: 9 }),
  });
  const edited = fc
    .tuple(fc.constantFrom(...samples), fc.array(edit, { maxLength: 4 }))
    .map(([sample, edits]) => edits.reduce(applyEdit, sample));
  return fc.oneof({ weight: 1, arbitrary: fc.uint8Array() }, { weight: 4, arbitrary: edited });
}

/** {@link hostileBytes} as text, where what is not UTF-8 has become U+FFFD. */
export function hostileText(samples: readonly string[]): fc.Arbitrary<string> {
  const bytes = hostileBytes(samples.map((sample) => Buffer.from(sample)));
  const decoded = bytes.map((text) => Buffer.from(text).toString());
  return fc.oneof(
    { weight: 1, arbitrary: fc.string({ unit: "binary" }) },
    { weight: 4, arbitrary: decoded },
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

function applyEdit(bytes: Uint8Array, { at, removed, inserted }: Edit): Uint8Array {
  const start = Math.floor(at * bytes.length);
  return Buffer.concat([bytes.subarray(0, start), inserted, bytes.subarray(start + removed)]);
}
