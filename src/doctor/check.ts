import { HandpickError } from "../error.ts";

/** One thing looked at. */
export interface Check {
  readonly name: string;
  readonly status: "ok" | "warning" | "failed";
  readonly text: string;
  readonly hint: string | undefined;
  /** The error that made it fail. */
  readonly error: unknown;
}

export type Outcome = Omit<Check, "name">;

export function ok(text: string): Outcome {
  return { status: "ok", text, hint: undefined, error: undefined };
}

export function warning(text: string, hint: string): Outcome {
  return { status: "warning", text, hint, error: undefined };
}

/** Looks at something; an error that `look` throws is what fails. */
export async function check(name: string, look: () => Outcome | Promise<Outcome>): Promise<Check> {
  try {
    return { name, ...(await look()) };
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    const hint = error instanceof HandpickError ? error.hint : undefined;
    return { name, status: "failed", text, hint, error };
  }
}
