/** Outputs that are chosen of a derivation or an installable. */
export interface OutputChoice {
  /** The text before the `^` or `!`. */
  readonly base: string;
  readonly outputs: "all" | readonly string[];
}

/** Names of outputs, as Nix takes them. */
const CHOICE = /^(.+)([\^!])(\*|[\w+.?=-]+(?:,[\w+.?=-]+)*)$/;

/**
 * Reads `x.drv^out`, `x.drv^out,dev`, `x.drv^*`, the older `x.drv!out`, and `.#foo^dev`; undefined if
 * the input chooses no outputs.
 */
export function parseOutputChoice(input: string): OutputChoice | undefined {
  const [, base = "", mark, names = ""] = CHOICE.exec(input) ?? [];
  if (base === "" || (mark === "!" && !base.endsWith(".drv"))) return undefined;
  return { base, outputs: names === "*" ? "all" : names.split(",") };
}
