import { join } from "node:path";
import { HandpickError } from "../../error.ts";
import { quote } from "../../nix/format-error.ts";
import { serverUrlFault } from "../server-url.ts";
import { type DhallRecord, type DhallValue, readDhall } from "./dhall-reader.ts";
import { userConfigDir } from "../../home-directory.ts";
import { Secret } from "../../secret.ts";

/** The configuration of Cachix's own client. */
export interface CachixDhall {
  readonly authToken: Secret | undefined;
  /** Base URL of the server; undefined for the default one. */
  readonly hostname: string | undefined;
  readonly binaryCaches: readonly CachixKey[];
  readonly warnings: readonly string[];
}

/** A signing key by the name of its cache at the service. */
export interface CachixKey {
  readonly name: string;
  readonly secretKey: Secret;
}

/** Where Cachix's client keeps its configuration. */
export function cachixDhallPath(env: NodeJS.ProcessEnv): string {
  return join(userConfigDir(env), "cachix", "cachix.dhall");
}

/**
 * Reads the text of a `cachix.dhall`. Empty text values count as absent; an empty file, unknown
 * keys and incomplete keys only give warnings.
 *
 * @param options.env Undefined if the file may take no variables.
 * @throws {HandpickError} `CONFIG_INVALID` if it is beyond the subset of Dhall that is read, or a
 *   value has the wrong type; `CONFIG_UNTRUSTED` if it takes a variable and may not. No message quotes a
 *   value.
 */
export function parseCachixDhall(
  text: string,
  options: { readonly file: string; readonly env: NodeJS.ProcessEnv | undefined },
): CachixDhall {
  const { file } = options;
  const value = readDhall(text, options);
  const warnings: string[] = [];
  if (value === undefined) warnings.push(`${file} is empty`);
  const record = value ?? new Map<string, DhallValue>();
  if (!(record instanceof Map)) throw invalid(file, "the file must be a record");
  warnings.push(...unknownKeys(record, ["authToken", "hostname", "binaryCaches"], file));
  const token = textAt(record, "authToken", file);
  return {
    authToken: token === undefined ? undefined : new Secret(token),
    hostname: hostnameOf(record, file),
    binaryCaches: keysOf(record, { file, warnings }),
    warnings,
  };
}

function hostnameOf(record: DhallRecord, file: string): string | undefined {
  const hostname = textAt(record, "hostname", file);
  const fault = hostname === undefined ? undefined : serverUrlFault(hostname);
  if (fault !== undefined) throw invalid(file, `hostname ${fault}`);
  return hostname;
}

function keysOf(
  record: DhallRecord,
  { file, warnings }: { readonly file: string; readonly warnings: string[] },
): CachixKey[] {
  const list = record.get("binaryCaches") ?? [];
  if (!Array.isArray(list)) throw invalid(file, "binaryCaches must be a list");
  return list.flatMap((entry: DhallValue, index): CachixKey[] => {
    const at = `binaryCaches[${index}]`;
    if (!(entry instanceof Map)) throw invalid(file, `${at} must be a record`);
    warnings.push(...unknownKeys(entry, ["name", "secretKey"], `${at} of ${file}`));
    const name = textAt(entry, "name", file);
    const key = textAt(entry, "secretKey", file);
    if (name !== undefined && key !== undefined) return [{ name, secretKey: new Secret(key) }];
    warnings.push(`${at} of ${file} is ignored: it needs name and secretKey`);
    return [];
  });
}

function textAt(record: DhallRecord, key: string, file: string): string | undefined {
  const value = record.get(key) ?? "";
  if (typeof value !== "string") throw invalid(file, `${key} must be text`);
  return value.trim() === "" ? undefined : value;
}

function unknownKeys(record: DhallRecord, known: readonly string[], where: string): string[] {
  const unknown = [...record.keys()].filter((key) => !known.includes(key));
  return unknown.map((key) => `${where} has an unknown key ${quote(key)}`);
}

function invalid(file: string, rule: string): HandpickError {
  return new HandpickError("CONFIG_INVALID", `Cannot use ${file}: ${rule}`, {
    hint: "Correct the file, or let cachix write it again with cachix authtoken.",
  });
}
