import { HandpickError } from "../error.ts";
import { Secret } from "../secret.ts";
import type { Found } from "./credential-sources.ts";

/** Forms of secrets that stand in files in place of a bare token; none is what a service takes. */
const FORMS: readonly (readonly [form: RegExp, name: string])[] = [
  [/^-----BEGIN /, "a PEM block"],
  [/^age-encryption\.org\/|^AGE-SECRET-KEY-/i, "a file of age"],
  [/^\$ANSIBLE_VAULT;/, "a file of Ansible Vault"],
  [/ENC\[AES256/, "what sops encrypted"],
  [/^[{[]/, "JSON"],
  [/^(?:machine|default)\s/, "a line of netrc"],
  [/^Bearer\s/i, "a header"],
  [/^(?:export\s+)?[A-Za-z_]\w*\s*=(?!=*$)/, "an assignment"],
  [/^[A-Za-z_]\w*:\s/, "YAML"],
  [/^(?:"[^]*"|'[^]*'|`[^]*`)$/, "quotes around it"],
  [/^\$\{?\w+\}?$/, "a variable that was not filled in"],
  [/^<[^>]*>$/, "a placeholder"],
  [/^[a-z]+:\/\//, "an address"],
  [/[\r\n]/, "several lines"],
];

/**
 * Checks that a text may be a token.
 *
 * @throws {HandpickError} `CONFIG_INVALID` if it is none, without repeating it.
 */
export function parseToken({ text, source }: Found): Secret {
  const fault = tokenFault(text);
  if (fault === undefined) return new Secret(text);
  const message = `Cannot use the token from ${source}: it must be one word of visible ASCII${fault}`;
  throw new HandpickError("CONFIG_INVALID", message, {
    hint: "Put the token alone there, as the service showed it.",
  });
}

/** Returns the fault that makes `text` no token, to be said after a rule; undefined if it may be one. */
function tokenFault(text: string): string | undefined {
  const form = FORMS.find(([form]) => form.test(text))?.[1];
  if (form !== undefined) return `, found ${form}`;
  return /^[\u0021-\u007e]+$/.test(text) ? undefined : "";
}
