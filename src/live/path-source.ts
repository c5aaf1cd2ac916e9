import type { StorePath } from "../nix/store-path.ts";

/** Paths that came to be, oldest first. */
export interface Taken {
  readonly paths: readonly StorePath[];
  /** Says that they were dealt with; what is not comes again. */
  readonly done: () => Promise<void>;
}

/** Tells which paths come to be in the store. */
export interface PathSource extends AsyncDisposable {
  /** By which way, for people. */
  readonly description: string;
  /** Where something changes when there may be more to take. */
  readonly folder: string;
  /** Variables that a command needs in order to be seen. */
  readonly env: Readonly<Record<string, string>>;
  /** Paths that came to be and were not dealt with. */
  take(): Promise<Taken>;
}
