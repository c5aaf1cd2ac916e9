import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { isContentAddressed } from "./content-address.ts";
import { parseStorePath, type StorePath } from "./store-path.ts";

const OTHER_STORE = "/tmp/hp-self/store";
const OTHER_LIB = parseStorePath(
  `${OTHER_STORE}/szzmjpb4hx0l6qf4h4b94mfgscda33qr-lib`,
  OTHER_STORE,
);
const OWN = parseStorePath(`${OTHER_STORE}/rmmh468q7qb4l8anxfwzdfidggsbkhma-own`, OTHER_STORE);
const LIB = parseStorePath("/nix/store/72lsa8jbk86m74df2zaqyb4dq36l7245-lib");
const APP = parseStorePath("/nix/store/6kjmrxlr0rsygil4cgx149mxgyqhkv36-app");
const APP_ADDRESS = "text:sha256:02mxzv49w50xi4n2b403ja9sc1kvpf5yipsm4xm21bjdxcjf3k2p";

/** As real Nix has them, by the command that made them. */
const REAL: Readonly<Record<string, readonly [StorePath, string, readonly StorePath[]]>> = {
  "builtins.toFile": [LIB, "text:sha256:1xsh8w47cwbgnz9l5q3gg6vdzannffg32pl0x40d6k7k5m6r00iz", []],
  "builtins.toFile with a reference": [APP, APP_ADDRESS, [LIB]],
  "nix-store --add-fixed sha256": [
    parseStorePath("/nix/store/hrzh64qwa6kpxv4ik12aiyppb3r0njks-flat"),
    "fixed:sha256:00xyyr3fi8l6hb839bv3f7yb86yjv7xi1cgh1xnhipym4asvb4aq",
    [],
  ],
  "nix-store --add-fixed sha1": [
    parseStorePath("/nix/store/w6b5y6vkvz8n60ldvkgm1jllmnd1l86a-flat"),
    "fixed:sha1:iwjz551fyw0cxcjgf4l6c879zabd6wpm",
    [],
  ],
  "nix-store --add-fixed md5": [
    parseStorePath("/nix/store/7cngpdqdggi1qqh5z2cq1i9m7dj0c5w2-flat"),
    "fixed:md5:4425hx5d1mc9y39llj4k4nm55i",
    [],
  ],
  "nix-store --add-fixed --recursive sha256": [
    parseStorePath("/nix/store/rhb9m3nc5lfs3b87chr7r28lyyrrh7wf-tree"),
    "fixed:r:sha256:0fzd3xy0rg1gdxfi7wg675q1vs7hh332lz0x4ml9l3arvl37yx9d",
    [],
  ],
  "nix-store --add-fixed --recursive sha1": [
    parseStorePath("/nix/store/5vh2dxi9azpcx6za8awyhfagk99q0r78-tree"),
    "fixed:r:sha1:m26j68chp094s46n2j78zc72khczw60l",
    [],
  ],
  "nix store make-content-addressed, of a path that refers to itself": [
    OWN,
    "fixed:r:sha256:14y8x10kmbibavkv3irbf3xv0ylivnyxbgv95jynp8qaqy3d5l6b",
    [OWN, OTHER_LIB],
  ],
};

describe("isContentAddressed()", () => {
  for (const [command, [storePath, ca, references]] of Object.entries(REAL)) {
    it(`computes the path of ${command}`, () => {
      assert.equal(isContentAddressed({ storePath, ca, references }), true);
    });
  }

  it("returns false for other references, another hash, another method and other texts", () => {
    const app = { storePath: APP, references: [LIB], ca: APP_ADDRESS };
    for (const change of [
      { references: [] },
      { references: [LIB, APP] },
      { storePath: LIB },
      { ca: APP_ADDRESS.replace("02mx", "02mz") },
      { ca: APP_ADDRESS.replace("text:", "fixed:r:") },
      { ca: APP_ADDRESS.replace("text:", "fixed:") },
      { ca: "text:sha256:short" },
      { ca: "fixed:r:" },
      { ca: "" },
    ]) {
      assert.equal(isContentAddressed({ ...app, ...change }), false, JSON.stringify(change));
    }
  });
});
