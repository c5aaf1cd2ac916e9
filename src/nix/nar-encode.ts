/**
 * The tokens of the NAR format for writers. A NAR is a stream of strings, each an 8-byte
 * little-endian length, the bytes, and zero bytes up to a multiple of 8:
 *
 *     nar  = "nix-archive-1" node
 *     node = "(" "type" body ")"
 *     body = "regular" [ "executable" "" ] "contents" BYTES
 *          | "symlink" "target" TARGET
 *          | "directory" { "entry" "(" "name" NAME "node" node ")" }
 *
 * Only file contents are not encoded here: between {@link narFileHead} and {@link narFileTail}
 * stand the bytes of the file.
 */

/** One string with its length and padding. */
export function narString(value: string | Uint8Array): Buffer {
  const bytes = typeof value === "string" ? Buffer.from(value) : value;
  const encoded = Buffer.alloc(8 + bytes.length + narPadding(bytes.length));
  encoded.writeBigUInt64LE(BigInt(bytes.length), 0);
  encoded.set(bytes, 8);
  return encoded;
}

/** How many zero bytes follow a string of this many bytes. */
function narPadding(sizeBytes: number): number {
  return (8 - (sizeBytes % 8)) % 8;
}

const strings = (...values: readonly string[]): Buffer => Buffer.concat(values.map(narString));

const PLAIN_FILE = strings("(", "type", "regular", "contents");
const EXECUTABLE_FILE = strings("(", "type", "regular", "executable", "", "contents");
const SYMLINK = strings("(", "type", "symlink", "target");
const ENTRY = strings("entry", "(", "name");
const NODE = narString("node");
const CLOSE = narString(")");
const FILE_TAILS = Array.from({ length: 8 }, (_, padding) =>
  Buffer.concat([Buffer.alloc(padding), CLOSE]),
);

/** The bytes that every NAR begins with. */
export const NAR_MAGIC: Readonly<Buffer> = narString("nix-archive-1");
/** Opens a directory node. */
export const NAR_DIRECTORY_HEAD: Readonly<Buffer> = strings("(", "type", "directory");
/** Closes a directory node or a directory entry. */
export const NAR_CLOSE: Readonly<Buffer> = CLOSE;

/** Everything of a regular file up to its contents. */
export function narFileHead(sizeBytes: number, executable: boolean): Buffer {
  const head = executable ? EXECUTABLE_FILE : PLAIN_FILE;
  const encoded = Buffer.allocUnsafe(head.length + 8);
  encoded.set(head, 0);
  encoded.writeBigUInt64LE(BigInt(sizeBytes), head.length);
  return encoded;
}

/** Returns the bytes after the contents of a regular file of this size: padding and the closing token. */
export function narFileTail(sizeBytes: number): Readonly<Buffer> {
  return FILE_TAILS[narPadding(sizeBytes)] ?? CLOSE;
}

/** A whole symlink node. */
export function narSymlink(target: Uint8Array): Buffer {
  return Buffer.concat([SYMLINK, narString(target), CLOSE]);
}

/** Opens a directory entry; its node and {@link NAR_CLOSE} follow. */
export function narEntryHead(name: Uint8Array): Buffer {
  return Buffer.concat([ENTRY, narString(name), NODE]);
}
