import { open } from "node:fs/promises";

/**
 * Reads a small UTF-8 text file, pipes such as `/dev/fd/63` included.
 *
 * @throws {RangeError} If it is larger than `maxBytes`.
 * @throws {TypeError} If it is not UTF-8.
 * @throws The error of the file system if it cannot be opened or read.
 */
export async function readBounded(path: string, maxBytes: number): Promise<string> {
  await using file = await open(path, "r");
  const buffer = Buffer.alloc(maxBytes + 1);
  let length = 0;
  for (;;) {
    const { bytesRead } = await file.read(buffer, length, buffer.length - length);
    if (bytesRead === 0) break;
    length += bytesRead;
    if (length > maxBytes) throw new RangeError(`larger than ${maxBytes} bytes`);
  }
  return new TextDecoder("utf-8", { fatal: true }).decode(buffer.subarray(0, length));
}

/** Says in a few words why reading failed. */
export function readFailure(error: unknown): string {
  switch (errorCode(error)) {
    case "ENOENT":
    case "ENOTDIR":
      return "it does not exist";
    case "EACCES":
    case "EPERM":
      return "permission denied";
    case "EISDIR":
      return "it is a folder";
    case "ERR_ENCODING_INVALID_ENCODED_DATA":
      return "it is not UTF-8 text";
    default:
      return error instanceof Error ? error.message : "unknown failure";
  }
}

/** Whether reading failed because there is no such file. */
export function isAbsent(error: unknown): boolean {
  return errorCode(error) === "ENOENT" || errorCode(error) === "ENOTDIR";
}

function errorCode(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
