import assert from "node:assert/strict";
import { mkdtempDisposable, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";

import { TLS_CERTIFICATE } from "../../test/fakes/tls.ts";
import { authorityHint } from "./certificate-files.ts";

describe("authorityHint()", () => {
  it("names the file that is of no use, and why", async () => {
    await using folder = await mkdtempDisposable(join(tmpdir(), "handpick-ca-"));
    const der = Buffer.from(TLS_CERTIFICATE.replaceAll(/-----.*-----/g, ""), "base64");
    const half = TLS_CERTIFICATE.slice(0, TLS_CERTIFICATE.length / 2);
    for (const [name, content, fault] of [
      ["empty.pem", "\n", /is empty\.$/],
      ["der.crt", der, /holds no certificate in PEM/],
      ["page.pem", "<html>", /holds no certificate in PEM/],
      ["half.pem", `${TLS_CERTIFICATE}${half}`, /its certificate 2 cannot be read/],
      ["other.pem", TLS_CERTIFICATE.replace(/MII.*/, "AAAA"), /its certificate 1 cannot be read/],
    ] as const) {
      const file = join(folder.path, name);
      await writeFile(file, content);
      for (const variable of ["NIX_SSL_CERT_FILE", "SSL_CERT_FILE"]) {
        const hint = authorityHint({ [variable]: file });
        assert.match(hint, fault, name);
        assert.ok(hint.startsWith(`Correct ${variable}: the file "${file}"`), hint);
      }
    }
    assert.match(authorityHint({ SSL_CERT_FILE: "/no-cert-file.crt" }), /does not exist\.$/);
    assert.match(authorityHint({ SSL_CERT_FILE: folder.path }), /cannot be read\.$/);
  });

  it("says where the authority belongs if the file is a good one, or none is named", async () => {
    await using folder = await mkdtempDisposable(join(tmpdir(), "handpick-ca-"));
    const file = join(folder.path, "ca.pem");
    await writeFile(file, `# ours\n${TLS_CERTIFICATE}\n${TLS_CERTIFICATE}`);
    const hint = authorityHint({ NIX_SSL_CERT_FILE: file, SSL_CERT_FILE: "" });
    assert.equal(
      hint,
      `Add the authority of this certificate to the file "${file}" (NIX_SSL_CERT_FILE).`,
    );
    assert.match(authorityHint({}), /^Set NIX_SSL_CERT_FILE to a file/);
  });
});
