import { inspect } from "node:util";

const SHOWN = "<secret>";

/** Text that must not be shown: every accidental way of printing it gives `<secret>`. */
export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  /** The text itself, for the one place that sends it. */
  reveal(): string {
    return this.#text;
  }

  toString(): string {
    return SHOWN;
  }

  toJSON(): string {
    return SHOWN;
  }
}

// Outside of the class, where --isolatedDeclarations refuses this computed name.
Object.defineProperty(Secret.prototype, inspect.custom, { value: () => SHOWN });
