import { stripVTControlCharacters } from "node:util";

import { HandpickError } from "../error.ts";
import { DAEMON_HINT, protocolError, type WireReader } from "./wire.ts";

const LAST = 0x616c7473;
const ERROR = 0x63787470;
const NEXT = 0x6f6c6d67;
const START_ACTIVITY = 0x53545254;
const STOP_ACTIVITY = 0x53544f50;
const RESULT = 0x52534c54;

const MAX_TEXT_BYTES = 1 << 20;
const MAX_MESSAGES = 10_000;
const MAX_FIELDS = 1000;
const MAX_PRINTED = 400;

/**
 * Passes over the log messages that a daemon of protocol `1.<minor>` sends before an answer.
 *
 * @throws {HandpickError} `STORE_FAILED` if an error stands in place of the answer.
 */
export async function skipToAnswer(reader: WireReader, minor: number): Promise<void> {
  for (let left = MAX_MESSAGES; left > 0; left--) {
    const tag = await reader.int();
    if (tag === LAST) return;
    if (tag === ERROR) throw await readError(reader, minor);
    await skipMessage(reader, tag);
  }
  throw protocolError(`expected an answer after at most ${MAX_MESSAGES} messages, found none`);
}

/** Text of the other side made fit for a message: no control characters, bounded. */
export function printable(text: string): string {
  const clean = stripVTControlCharacters(text.slice(0, 2 * MAX_PRINTED))
    .replace(/[\s\p{Cc}\p{Cf}]+/gu, " ")
    .trim();
  return clean.length > MAX_PRINTED ? `${clean.slice(0, MAX_PRINTED)}…` : clean;
}

async function skipMessage(reader: WireReader, tag: number): Promise<void> {
  switch (tag) {
    case NEXT:
      await reader.string(MAX_TEXT_BYTES);
      return;
    case START_ACTIVITY:
      await skipWords(reader, 3);
      await reader.string(MAX_TEXT_BYTES);
      await skipFields(reader);
      await skipWords(reader, 1);
      return;
    case STOP_ACTIVITY:
      await skipWords(reader, 1);
      return;
    case RESULT:
      await skipWords(reader, 2);
      await skipFields(reader);
      return;
    default:
      throw protocolError(`expected a message or an answer, found tag 0x${tag.toString(16)}`);
  }
}

/** Identifiers of activities are 64 bits wide, so they are not read as integers. */
async function skipWords(reader: WireReader, count: number): Promise<void> {
  for (let left = count; left > 0; left--) await reader.skipWord();
}

async function skipFields(reader: WireReader): Promise<void> {
  for (let left = await reader.count(MAX_FIELDS); left > 0; left--) {
    if (await reader.bool()) await reader.string(MAX_TEXT_BYTES);
    else await reader.skipWord();
  }
}

/** Reads an error up to its message; traces may follow, but the connection is given up. */
async function readError(reader: WireReader, minor: number): Promise<HandpickError> {
  if (minor >= 26) {
    await reader.string(MAX_TEXT_BYTES);
    await reader.skipWord();
    await reader.string(MAX_TEXT_BYTES);
  }
  const message = await reader.string(MAX_TEXT_BYTES, "utf8");
  return new HandpickError(
    "STORE_FAILED",
    `Cannot query the Nix daemon: it answered ${JSON.stringify(printable(message))}`,
    { hint: DAEMON_HINT },
  );
}
