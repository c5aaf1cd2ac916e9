import { type Failure, toFailure } from "../error.ts";
import { writeText } from "../report/output.ts";
import { painter } from "../report/painter.ts";
import { pushLines } from "../report/push-lines.ts";
import type { Gathered } from "../run/gather.ts";
import type { Io } from "./io.ts";

/** Prints the inputs that cannot be selected, which a run leaves out. */
export function printRejected(
  rejected: Gathered["rejected"],
  { stderr }: Pick<Io, "stderr">,
): void {
  const paint = painter(stderr);
  for (const { input, error } of rejected) {
    const event = { event: "rejected", input, error: toFailure(error) } as const;
    for (const line of pushLines(event, paint)) writeText(stderr, line);
  }
}

/** The key of JSON that tells of them; nothing where there are none. */
export function rejectedJson(rejected: Gathered["rejected"]): {
  readonly rejected?: readonly { readonly input: string; readonly error: Failure }[];
} {
  if (rejected.length === 0) return {};
  return { rejected: rejected.map(({ input, error }) => ({ input, error: toFailure(error) })) };
}
