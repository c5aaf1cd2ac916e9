import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { cacheUrlFault, canonicalUrl, guessCacheUrl } from "../cache-url.ts";
import { parseS3Url, readUrlOf, s3FoundFault, s3UrlFault } from "./s3-url.ts";

describe("parseS3Url()", () => {
  it("takes AWS, TLS and us-east-1 where the URL does not say", () => {
    assert.deepEqual(parseS3Url("s3://my-bucket"), {
      bucket: "my-bucket",
      region: "us-east-1",
      endpoint: undefined,
      isPlain: false,
      isPathStyle: false,
      profile: undefined,
      prefix: undefined,
      storageClass: undefined,
      requesterPays: false,
      encryption: undefined,
      encryptionKey: undefined,
    });
  });

  it("reads every parameter", () => {
    const url =
      "s3://my.bucket/?region=eu-west-1&endpoint=minio.example:9000&scheme=http&addressing-style=path&profile=my%20profile&prefix=a/b&storage-class=STANDARD_IA&requester-pays=true&sse=aws:kms&sse-kms-key-id=arn:aws:kms:eu-west-1:1:key/x";
    assert.deepEqual(parseS3Url(url), {
      bucket: "my.bucket",
      region: "eu-west-1",
      endpoint: "http://minio.example:9000",
      isPlain: true,
      isPathStyle: true,
      profile: "my profile",
      prefix: "a/b",
      storageClass: "STANDARD_IA",
      requesterPays: true,
      encryption: "aws:kms",
      encryptionKey: "arn:aws:kms:eu-west-1:1:key/x",
    });
  });

  it("addresses buckets as Nix does: in the path at an endpoint, in the host name at AWS", () => {
    const styles = [
      "",
      "?endpoint=h",
      "?endpoint=h&addressing-style=virtual",
      "?addressing-style=path",
    ];
    assert.deepEqual(
      styles.map((query) => parseS3Url(`s3://bucket${query}`).isPathStyle),
      [false, true, false, true],
    );
  });

  it("throws what cacheUrlFault() says", () => {
    assert.throws(() => parseS3Url("s3://bucket?x=1"), {
      code: "CACHE_URL_UNSUPPORTED",
      message: 'Cannot use the URL of the cache: it must not have the parameter "x"',
    });
  });
});

describe("cacheUrlFault() of an s3:// URL", () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ["s3://", /^must be s3:\/\/BUCKET/],
    ["s3://Bucket", /^must be s3:\/\/BUCKET/],
    ["s3://ab", /^must be s3:\/\/BUCKET/],
    ["s3://a..b", /^must be s3:\/\/BUCKET/],
    ["s3://127.0.0.1", /^must be s3:\/\/BUCKET/],
    ["s3://bucket/nix", /^must have \?prefix=FOLDER in place of a path$/],
    ["s3://bucket#x", /^must have %23/],
    ["s3://user:secret@bucket", /^must not contain a user name or password$/],
    ["S3://bucket", /^must have s3:\/\/ in small letters$/],
    ["s3://bucket?endpoint=https://user:secret@h", /^has a value of endpoint that must be HOST/],
    ["s3://bucket?endpoint=ftp://h", /^has a value of endpoint that must be HOST/],
    ["s3://bucket?endpoint=h/../x", /^has a value of endpoint that must be HOST/],
    ["s3://bucket?endpoint=h?x", /^has a value of endpoint that must be HOST/],
    ["s3://bucket?endpoint=https://h&scheme=http", /^must have the scheme of its endpoint$/],
    [
      "s3://bucket?region=a.evil.example/",
      /^has a value of region that must be the name of a region/,
    ],
    ["s3://bucket?region=a&region=b", /^must have the parameter region once$/],
    ["s3://bucket?scheme=ftp", /^has a value of scheme that must be https or http$/],
    ["s3://bucket?prefix=/a", /^has a value of prefix that must be letters/],
    ["s3://bucket?prefix=a/../b", /^has a value of prefix that must be letters/],
    ["s3://bucket?profile=%", /^has a value of profile that must be percent-encoded$/],
    [
      "s3://bucket?storage-class=GLACIER",
      /^has a value of storage-class that must not be an archive/,
    ],
    ["s3://bucket?sse-kms-key-id=x", /^must have sse=aws:kms with sse-kms-key-id$/],
    ["s3://my.bucket?addressing-style=virtual", /^must not have addressing-style=virtual/],
    ["s3://bucket?compression=zstd", /"compression"; set compression in \[caches\.NAME\]/],
    ["s3://bucket?secret-key=/etc/key", /"secret-key"; set signing-key-file in \[caches/],
    ["s3://bucket?priority=10", /"priority", which readers set in their substituters$/],
    ["s3://bucket?multipart-upload=true", /"multipart-upload": handpick chooses the parts/],
    ["s3://bucket?ls-compression=br", /"ls-compression": handpick compresses NARs only$/],
    ["s3://bucket?write-nar-listing=true", /"write-nar-listing": handpick writes no listings$/],
    ["s3://bucket?storageclass=X", /"storageclass"; did you mean storage-class\?$/],
  ];
  for (const [url, rule] of cases) {
    it(`refuses ${url}`, () => {
      const fault = cacheUrlFault(url) ?? "";
      assert.match(fault, rule);
      assert.doesNotMatch(fault, /secret[^-]|etc/);
    });
  }

  it("refuses by name every parameter of Nix's S3 store that it does not obey", () => {
    // Nix 2.34.
    const ofNix =
      "profile region scheme endpoint addressing-style multipart-upload multipart-chunk-size buffer-size multipart-threshold storage-class narinfo-compression ls-compression log-compression compression compression-level parallel-compression write-nar-listing index-debug-info secret-key secret-keys local-nar-cache priority store trusted want-mass-query path-info-cache-size versionId";
    const obeyed = new Set(
      "profile region scheme endpoint addressing-style storage-class".split(" "),
    );
    for (const name of ofNix.split(" ")) {
      const fault = s3UrlFault(`s3://bucket?${name}=http`) ?? "";
      const isNamed = new RegExp(`"${name}"[;:,]`).test(fault);
      assert.equal(isNamed, !obeyed.has(name), `${name}: ${fault}`);
    }
  });

  it("gives for any text a rule, or a URL that has one spelling", () => {
    const text = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.webQueryParameters().map((query) => `bucket?${query}`),
      fc.string().map((value) => `bucket?endpoint=${value}`),
      fc.string().map((value) => `bucket?prefix=${value}`),
    );
    fc.assert(
      fc.property(text, (text) => {
        const url = `s3://${text}`;
        if (cacheUrlFault(url) !== undefined) return;
        const canonical = canonicalUrl(url);
        assert.equal(cacheUrlFault(canonical), undefined);
        assert.equal(canonicalUrl(canonical), canonical);
        assert.deepEqual(parseS3Url(canonical), parseS3Url(url));
        assert.ok(URL.canParse(readUrlOf(url)));
      }),
      { numRuns: 2000 },
    );
  });
});

describe("canonicalUrl() of an s3:// URL", () => {
  it("orders parameters, and leaves defaults and trailing slashes out", () => {
    for (const [url, canonical] of [
      ["s3://bucket/?region=us-east-1&scheme=https&addressing-style=auto", "s3://bucket"],
      ["s3://bucket?profile=x&region=auto", "s3://bucket?region=auto&profile=x"],
      ["s3://bucket?endpoint=http://h:9000/", "s3://bucket?endpoint=h:9000&scheme=http"],
      ["s3://bucket?endpoint=https%3A%2F%2Fh", "s3://bucket?endpoint=h"],
      ["s3://bucket?endpoint=h:1/", "s3://bucket?endpoint=h:1"],
      ["s3://bucket?endpoint=https://h/storage/s3", "s3://bucket?endpoint=https://h/storage/s3"],
      ["s3://bucket?profile=a%20b&", "s3://bucket?profile=a%20b"],
    ] as const) {
      assert.equal(canonicalUrl(url), canonical);
    }
  });
});

describe("readUrlOf()", () => {
  it("has what readers need and not what only we do", () => {
    for (const [url, readUrl] of [
      ["s3://bucket?region=eu-west-1&profile=x&storage-class=X", "s3://bucket?region=eu-west-1"],
      ["s3://bucket?endpoint=h&scheme=http", "s3://bucket?endpoint=h&scheme=http"],
      ["s3://bucket?prefix=nix", "https://bucket.s3.us-east-1.amazonaws.com/nix"],
      ["s3://my.bucket?prefix=nix", "https://s3.us-east-1.amazonaws.com/my.bucket/nix"],
      ["s3://bucket?prefix=nix&endpoint=h:1&scheme=http", "http://h:1/bucket/nix"],
      [
        "s3://bucket?prefix=nix&endpoint=https://h/x&addressing-style=virtual",
        "https://bucket.h/x/nix",
      ],
    ] as const) {
      assert.equal(readUrlOf(url), readUrl);
    }
  });
});

describe("s3FoundFault()", () => {
  it("tells a profile and plain http, which only a believed file may say", () => {
    assert.match(s3FoundFault("s3://bucket?profile=work") ?? "", /your profile "work"/);
    assert.match(s3FoundFault("s3://bucket?scheme=http") ?? "", /without TLS/);
    assert.equal(s3FoundFault("s3://bucket?region=eu-west-1"), undefined);
  });
});

describe("guessCacheUrl() of the ARN of a bucket", () => {
  it("gives its URL", () => {
    assert.equal(guessCacheUrl("arn:aws:s3:::my-bucket"), "s3://my-bucket");
    assert.equal(guessCacheUrl("arn:aws:s3:::..."), undefined);
  });
});
