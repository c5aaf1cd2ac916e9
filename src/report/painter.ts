import { styleText } from "node:util";

/** Colours a word, or leaves it alone where colours are off. */
export type Paint = (style: "green" | "red" | "yellow" | "dim", text: string) => string;

/** Returns the colours of a stream, as `NO_COLOR`, `FORCE_COLOR` and the terminal say. */
export function painter(stream: NodeJS.WritableStream): Paint {
  // Asked once: the environment is slow to read, and every path has a line.
  const isOn = styleText("dim", "?", { stream }) !== "?";
  return (style, text) => (isOn ? styleText(style, text, { validateStream: false }) : text);
}

/** Leaves all text as it is. */
export const NO_PAINT: Paint = (_, text) => text;
