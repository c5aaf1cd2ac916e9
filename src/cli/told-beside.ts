import { type Failure, toFailure } from "../error.ts";
import { writeText } from "../report/output.ts";
import { painter } from "../report/painter.ts";
import { pushLines } from "../report/push-lines.ts";
import type { RejectedInput } from "../select/select.ts";
import type { Io } from "./io.ts";

/** Prints on stderr which inputs cannot be selected, and why. */
export function printRejected(rejected: readonly RejectedInput[], { stderr }: Io): void {
  const paint = painter(stderr);
  for (const { input, error } of rejected) {
    const event = { event: "rejected", input, error: toFailure(error) } as const;
    for (const line of pushLines(event, paint)) writeText(stderr, line);
  }
}

/** The member `rejected` of a JSON answer; none where every input can be selected. */
export function rejectedMember(rejected: readonly RejectedInput[]): {
  readonly rejected?: readonly { readonly input: string; readonly error: Failure }[];
} {
  if (rejected.length === 0) return {};
  return { rejected: rejected.map(({ input, error }) => ({ input, error: toFailure(error) })) };
}

/** The member `errors` of a JSON answer: why it is not whole; none where nothing failed. */
export function errorsMember(failures: readonly unknown[]): {
  readonly errors?: readonly Failure[];
} {
  return failures.length > 0 ? { errors: failures.map(toFailure) } : {};
}
