import { styleText } from "node:util";

/** Colours a word, or leaves it alone where colours are off. */
export type Paint = (style: "green" | "red" | "yellow" | "dim", text: string) => string;

/** Returns the colours of a stream, as `NO_COLOR`, `FORCE_COLOR` and the terminal say. */
export function painter(stream: NodeJS.WritableStream): Paint {
  return (style, text) => styleText(style, text, { stream });
}

/** Leaves all text as it is. */
export const NO_PAINT: Paint = (_, text) => text;
