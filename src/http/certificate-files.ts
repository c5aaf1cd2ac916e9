import { HandpickError } from "../error.ts";
import { readRegularSync } from "../files/open-file.ts";
import { systemCode } from "../files/system-code.ts";
import { quote } from "../nix/format-error.ts";

/** The environment variables that name files of certificates, the first before the second. */
const VARIABLES = ["NIX_SSL_CERT_FILE", "SSL_CERT_FILE"] as const;
/** A file of all authorities there are has about 0.2 MiB. */
const MOST_BYTES = 16 << 20;
const PEM = /-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----[^-]*(?:-----END [A-Z0-9 ]+-----)?/g;

/**
 * Reads the certificates that are trusted besides those of Node, as options of an agent.
 *
 * @throws {HandpickError} `FILE_UNUSABLE` if a file is there and cannot be read.
 */
export function readAuthorities(env: NodeJS.ProcessEnv): { ca?: string[] } {
  const files = new Set(VARIABLES.map((variable) => env[variable] ?? ""));
  const extra = [...files].flatMap((file) => (file === "" ? [] : (readText(file) ?? [])));
  if (extra.length === 0) return {};
  const { getCACertificates } = process.getBuiltinModule("node:tls");
  return { ca: [...getCACertificates("default"), ...extra] };
}

/** Undefined where there is no file: Nix shells set the variable to `/no-cert-file.crt` on purpose. */
function readText(file: string): string | undefined {
  try {
    return readRegularSync(file, MOST_BYTES);
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined;
    throw new HandpickError("FILE_UNUSABLE", `Cannot read the certificates in ${quote(file)}`, {
      cause: error,
      hint: "Correct NIX_SSL_CERT_FILE or SSL_CERT_FILE, or unset it.",
    });
  }
}

/**
 * Says what to do about a certificate that is not trusted. A file that is of no use is only told
 * here: OpenSSL passes over it in silence, and Node's own authorities may be enough.
 */
export function authorityHint(env: NodeJS.ProcessEnv): string {
  const named = VARIABLES.map((variable) => ({ variable, file: env[variable] ?? "" }));
  const given = named.filter(({ file }) => file !== "");
  for (const { variable, file } of given) {
    const fault = faultOf(file);
    if (fault === undefined) continue;
    return `Correct ${variable}: the file ${quote(file)} ${fault}.`;
  }
  const [first] = given;
  return first === undefined
    ? "Set NIX_SSL_CERT_FILE to a file that holds the authority of this certificate."
    : `Add the authority of this certificate to the file ${quote(first.file)} (${first.variable}).`;
}

function faultOf(file: string): string | undefined {
  let text: string | undefined;
  try {
    text = readText(file);
  } catch {
    return "cannot be read";
  }
  if (text === undefined) return "does not exist";
  if (text.trim() === "") return "is empty";
  const found = text.match(PEM) ?? [];
  if (found.length === 0) return "holds no certificate in PEM (-----BEGIN CERTIFICATE-----)";
  const damaged = found.findIndex((pem) => !isCertificate(pem));
  return damaged === -1 ? undefined : `is damaged: its certificate ${damaged + 1} cannot be read`;
}

function isCertificate(pem: string): boolean {
  const { X509Certificate } = process.getBuiltinModule("node:crypto");
  try {
    return new X509Certificate(pem.replace(/(?:TRUSTED|X509) /g, "")).raw.length > 0;
  } catch {
    return false; // OpenSSL's words tell nothing that a user could act on
  }
}
