import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib";

import { serve } from "../../test/http-rig.ts";
import { HandpickError } from "../error.ts";

const text = "StorePath: /nix/store/…\n".repeat(100);

const CODINGS: Readonly<Record<string, (body: string) => Uint8Array>> = {
  gzip: gzipSync,
  "x-gzip": gzipSync,
  " GZIP": gzipSync,
  deflate: deflateSync,
  br: brotliCompressSync,
  zstd: zstdCompressSync,
  identity: (body) => Buffer.from(body),
};

describe("HttpClient.request() of a compressed answer", () => {
  for (const [coding, encode] of Object.entries(CODINGS)) {
    it(`reads one of Content-Encoding ${coding}, whatever its status`, async () => {
      await using rig = await serve((incoming, response) => {
        const status = Number(incoming.url?.slice(1));
        response.writeHead(status, { "content-encoding": coding }).end(encode(text));
      });
      for (const status of [200, 404]) {
        const { body } = await rig.get(`/${status}`);
        assert.equal(body.toString(), text);
      }
    });
  }

  const refused = async (coding: string, body: Uint8Array): Promise<HandpickError> => {
    await using rig = await serve((_incoming, response) => {
      response.writeHead(200, { "content-encoding": coding }).end(body);
    });
    const error: unknown = await rig
      .get("/", { maxBytes: 1000 })
      .catch((thrown: unknown) => thrown);
    assert.ok(error instanceof HandpickError);
    assert.equal(error.code, "CACHE_PROTOCOL");
    return error;
  };

  it("refuses one that becomes longer than an answer may be", async () => {
    const { message } = await refused("gzip", gzipSync(Buffer.alloc(100_000)));
    assert.match(
      message,
      /expected an answer of Content-Encoding gzip, received more than 1000 bytes/,
    );
  });

  it("refuses one that is not compressed as it says", async () => {
    for (const coding of ["gzip", "deflate", "br", "zstd"]) {
      const { message } = await refused(coding, Buffer.from("plain"));
      assert.match(message, /received something else/);
    }
    assert.match(
      (await refused("compress", Buffer.from("x"))).message,
      /Content-Encoding "?compress/,
    );
  });
});
