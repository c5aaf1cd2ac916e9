import type { Streams } from "../report/push-report.ts";

/** The world around one run of the program. */
export interface Io extends Streams {
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  readonly uid: number;
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean; readonly fd?: number };
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
  /**
   * Lets a command deal with signals until the result is disposed: those that `handler` returns
   * true for do nothing else.
   */
  readonly intercept?: (handler: (signal: NodeJS.Signals) => boolean) => Disposable;
}
