import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, it } from "node:test";

import { createFakeClock } from "../../../test/fakes/clock.ts";
import type { CacheReader, NarOptions } from "../reader.ts";
import { openHttpReader } from "./http-reader.ts";

const { signal } = new AbortController();
const FILE = Buffer.from(Array.from({ length: 300_000 }, (_, index) => index % 251));

interface Rig extends AsyncDisposable {
  readonly reader: CacheReader;
  readonly asked: string[];
}

async function serve(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
  authorization?: string,
): Promise<Rig> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.url} ${request.headers.range ?? ""}`.trim());
    answer(request, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/cache/?priority=3`;
  const clock = createFakeClock();
  const patience = { offlineMs: 1_000, delaysMs: 1_000, triesMs: 5_000 };
  const reader = openHttpReader(url, { role: "cache", env: {}, authorization, clock, ...patience });
  return {
    reader,
    asked,
    async [Symbol.asyncDispose]() {
      await reader[Symbol.asyncDispose]();
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

/** Serves the file, with ranges or without. */
function file({ knowsRanges }: { readonly knowsRanges: boolean }) {
  return (request: IncomingMessage, response: ServerResponse): void => {
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
    if (!knowsRanges || first === undefined) response.end(FILE);
    else
      response
        .writeHead(206, { "content-range": `bytes ${first}-${last}/${FILE.length}` })
        .end(FILE.subarray(Number(first), Number(last) + 1));
  };
}

async function read(
  reader: CacheReader,
  url: string,
  range?: NarOptions["range"],
): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of reader.nar(url, { signal, ...(range && { range }) }))
    pieces.push(piece);
  return Buffer.concat(pieces);
}

describe("openHttpReader()", () => {
  it("reads what the cache says of itself", async () => {
    await using rig = await serve((_, response) => response.end("StoreDir: /gnu/store\n"));
    assert.deepEqual(await rig.reader.info(signal), {
      storeDir: "/gnu/store",
      priority: undefined,
    });
    await using silent = await serve((_, response) => response.writeHead(404).end());
    assert.deepEqual(await silent.reader.info(signal), {
      storeDir: undefined,
      priority: undefined,
    });
    assert.deepEqual(rig.asked, ["/cache/nix-cache-info"]);
  });

  it("reads a NAR, or a range of it where the server knows none as well", async () => {
    for (const knowsRanges of [true, false]) {
      await using rig = await serve(file({ knowsRanges }));
      assert.ok((await read(rig.reader, "nar/x.nar.zst")).equals(FILE));
      const part = await read(rig.reader, "nar/x.nar.zst", [1_000, 200_000]);
      assert.ok(part.equals(FILE.subarray(1_000, 200_001)));
      assert.equal((await read(rig.reader, "nar/x.nar.zst", [0, 0])).length, 1);
      assert.deepEqual(rig.asked, [
        "/cache/nar/x.nar.zst",
        "/cache/nar/x.nar.zst bytes=1000-200000",
        "/cache/nar/x.nar.zst bytes=0-0",
      ]);
    }
  });

  it("tells the size of a NAR, for one byte of it", async () => {
    for (const knowsRanges of [true, false]) {
      await using rig = await serve(file({ knowsRanges }));
      assert.equal(await rig.reader.narSize("nar/x.nar.zst", signal), FILE.length);
      assert.deepEqual(rig.asked, ["/cache/nar/x.nar.zst bytes=0-0"]);
    }
    await using absent = await serve((_, response) => response.writeHead(404).end());
    assert.equal(await absent.reader.narSize("nar/x", signal), undefined);
    await using empty = await serve((_, response) => {
      response.writeHead(416, { "content-range": "bytes */0" }).end();
    });
    assert.equal(await empty.reader.narSize("nar/x", signal), 0);
    await using chunked = await serve((_, response) => {
      response.write("a");
      response.end("b");
    });
    assert.equal(await chunked.reader.narSize("nar/x", signal), NaN);
    await using broken = await serve((_, response) => response.writeHead(418).end());
    await assert.rejects(broken.reader.narSize("nar/x", signal), { code: "CACHE_PROTOCOL" });
  });

  it("sends credentials to its own origin alone", async () => {
    const seen: unknown[] = [];
    const note = (request: IncomingMessage, response: ServerResponse): void => {
      seen.push(request.headers.authorization);
      response.writeHead(404).end();
    };
    await using rig = await serve(note, "Bearer t0ken");
    await using other = await serve(note);
    await rig.reader.info(signal);
    await rig.reader.narSize("nar/x", signal);
    await rig.reader.narSize(`${other.reader.url}/nar/x`, signal);
    assert.deepEqual(seen, ["Bearer t0ken", "Bearer t0ken", undefined]);
  });

  it("refuses another range than it asked for, and one that it did not ask for", async () => {
    await using rig = await serve((_, response) => {
      response.writeHead(206, { "content-range": "bytes 2-5/9" }).end("abcd");
    });
    const message = /expected a range from byte \d, received bytes 2-5\/9$/;
    for (const range of [[4, 7], undefined] as const) {
      await assert.rejects(read(rig.reader, "nar/x", range), { code: "CACHE_PROTOCOL", message });
    }
  });

  it("tells a NAR that is not there, and one that ends too early", async () => {
    await using absent = await serve((_, response) => response.writeHead(404).end("gone"));
    await assert.rejects(read(absent.reader, "nar/x"), {
      code: "CACHE_PROTOCOL",
      message: /^Cannot read a NAR of cache 127\.0\.0\.1:\d+: expected .* received 404/,
    });
    await using short = await serve((_, response) => {
      response.writeHead(200, { "content-length": FILE.length });
      response.write(FILE.subarray(0, 100_000), () => response.destroy());
    });
    await assert.rejects(read(short.reader, "nar/x"), { code: "NETWORK" });
  });

  it("may be left in the middle of a NAR", { timeout: 10_000 }, async () => {
    await using rig = await serve((_, response) => void response.write(FILE));
    for await (const piece of rig.reader.nar("nar/x", { signal })) {
      assert.ok(piece.length > 0);
      break;
    }
  });

  it("follows a narinfo to other servers of the web, and nowhere else", async () => {
    await using other = await serve(file({ knowsRanges: true }));
    await using rig = await serve((_, response) => response.writeHead(404).end());
    assert.ok((await read(rig.reader, `${other.reader.url}/nar/x`)).equals(FILE));
    for (const url of ["file:///etc/passwd", "http://me:secret@h/", "ftp://h/x"]) {
      await assert.rejects(read(rig.reader, url), { code: "CACHE_PROTOCOL" }, url);
    }
    assert.deepEqual(rig.asked, []);
  });

  it("refuses addresses that one Nix finds elsewhere than another", async () => {
    await using rig = await serve(file({ knowsRanges: true }));
    const { port } = new URL(rig.reader.url);
    for (const url of ["/x", `//127.0.0.1:${port}/x`, "http:x", "nar\\x", "\\x", "mailto:x"]) {
      await assert.rejects(read(rig.reader, url), { code: "CACHE_PROTOCOL" }, url);
      await assert.rejects(rig.reader.narSize(url, signal), { code: "CACHE_PROTOCOL" }, url);
    }
    assert.deepEqual(rig.asked, []);
    assert.ok((await read(rig.reader, "nar/x?a:b//c")).equals(FILE));
  });
});
